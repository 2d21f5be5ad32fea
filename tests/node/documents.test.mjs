// Documents of the API as rows of the page Supply.
import assert from "node:assert/strict";
import { test } from "node:test";
import { accountFacts, columnsOf, qualityFacts } from "../../web/static/documents.js";

const write = { moment: (ms) => new Date(ms).toISOString().slice(0, 16), wh: (value) => `${value} Wh` };
const told = (columns, one) => Object.fromEntries(columns.map(([label, text]) => [label, text(one)]));
const ACCOUNT = {
  meter_id: "m1", name: "", state: "low", balance: "-1.25", currency: "EUR", days_left: null, prepaid: true, lifeline: false, waiting: 0,
  booked_until: "2026-11-23T00:00:00.000Z", exhausted_since: null, warned_at: null, cut_at: null,
};

test("an account: zero is told, what is not known is a dash", () => {
  const row = told(columnsOf(write).accounts, ACCOUNT);
  assert.deepEqual(row, {
    House: "m1", State: "low", Balance: "-1.25\u00a0EUR", "Days left": "–", "Never cut": "no", "Intervals that wait": "0",
    "Booked until": "2026-11-23T00:00", "Cut since": "–",
  });
  const facts = Object.fromEntries(accountFacts({ ...ACCOUNT, days_left: 0 }, write));
  assert.deepEqual([facts.Paid, facts["Lasts for"], facts["Cut since"]], ["before", "0 days", undefined]);
});

test("a feeder: a loss of nothing is not an unknown one", () => {
  const { balance } = columnsOf(write);
  const row = told(balance, { period: "2026-11-23", energy_supplied: 10, energy_used: 10, loss: 0, loss_percent: 0, balanced: 96, intervals: 96 });
  assert.deepEqual([row.Loss, row["Loss, %"], row.Other, row["Balanced intervals"]], ["0 Wh", "0.0\u00a0%", "–", "96 of 96"]);
});

test("an outage that is not over", () => {
  const row = told(columnsOf(write).outages, { feeder: "A", start: "2026-11-23T00:00Z", end: null, minutes: null, sure: "high", reason: "silent", meters: ["a", "b"] });
  assert.deepEqual([row.End, row.Length, row.Meters], ["not over", "–", "2"]);
});

test("the quality of a week without a reading is nothing", () => {
  assert.deepEqual(qualityFacts({ readings: 0, voltage_judgement: "not known" }), []);
  assert.deepEqual(qualityFacts({ readings: 7, within_10: 99.5, voltage_lowest: null, sags: 0 }), [["Voltage within 10 %", "99.50\u00a0%"], ["Sags", "0"], ["Readings", "7"]]);
});

test("a sag is told in percent of the nominal voltage", () => {
  const facts = qualityFacts({ readings: 7, sags: 1, sag_lowest: 4.8, voltage_lowest: 229.7 });
  assert.deepEqual(facts.slice(0, 3), [["Lowest mean", "229.7\u00a0V"], ["Sags", "1"], ["Lowest sag", "4.8\u00a0% of the nominal voltage"]]);
});
