// Pure functions of the load profile's page: days of a named zone, intervals, tariffs, the carpet.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bandAt, bands, carpet, counts, having, mixed, pointsOf, runs, shownOf, summed } from "../../web/static/intervals.js";
import { calendarOf, HOUR, MINUTE } from "../../web/static/zoned.js";

const zurich = calendarOf("Europe/Zurich");
const at = Date.parse, iso = (ms) => new Date(ms).toISOString();
const IMPORT = { name: "energy_import", register: true };

/** Intervals of a quarter of an hour of 100 Wh, with what `more` says of each. */
function quarters(start, end, more = () => ({})) {
  const found = [];
  for (let ms = start; ms < end; ms += 15 * MINUTE) {
    found.push({ start: iso(ms), end: iso(ms + 15 * MINUTE), energy_import: 100, energy_import_mark: "measured", version: 1, ...more(ms) });
  }
  return found;
}

test("days of 23 and 25 hours", () => {
  const hours = (date) => { const { start, end } = zurich.span("day", zurich.of(date)); return (end - start) / HOUR; };
  assert.deepEqual(["2026-03-28", "2026-03-29", "2026-03-30", "2026-10-24", "2026-10-25", "2026-10-26"].map(hours), [24, 23, 24, 24, 25, 24]);
  assert.equal(iso(zurich.of("2026-10-25")), "2026-10-24T22:00:00.000Z");
  assert.equal(iso(zurich.of("2026-10-26")), "2026-10-25T23:00:00.000Z");
  assert.ok(Number.isNaN(zurich.of("2026-1")));
});

test("a midnight that the clock does not show, or shows twice", () => {
  const havana = calendarOf("America/Havana"); // 0:00 becomes 1:00 on 2026-03-08, 1:00 becomes 0:00 on 2026-11-01
  assert.equal(iso(havana.of("2026-03-08")), "2026-03-08T05:00:00.000Z");
  assert.equal(iso(havana.of("2026-11-01")), "2026-11-01T04:00:00.000Z");
  assert.equal(havana.span("day", havana.of("2026-11-01")).end - havana.of("2026-11-01"), 25 * HOUR);
  assert.equal(havana.span("day", havana.of("2026-03-08")).end - havana.of("2026-03-08"), 23 * HOUR);
});

test("weeks and months, also of zones with odd hours", () => {
  const week = zurich.span("week", at("2026-10-25T12:00Z"));
  assert.deepEqual([week.start, week.end].map(iso), ["2026-10-18T22:00:00.000Z", "2026-10-25T23:00:00.000Z"]);
  const before = zurich.span("month", at("2026-01-15T12:00Z"), -1);
  assert.deepEqual([before.start, before.end].map(iso), ["2025-11-30T23:00:00.000Z", "2025-12-31T23:00:00.000Z"]);
  assert.equal(iso(calendarOf("Asia/Kathmandu").of("2026-11-23")), "2026-11-22T18:15:00.000Z");
  assert.equal(calendarOf("Asia/Kathmandu").date(at("2026-11-22T18:15:00Z")), "2026-11-23");
});

test("names of weeks", () => {
  const names = ["2026-01-01", "2026-12-31", "2027-01-03", "2027-01-04", "2024-12-30"].map((date) => zurich.week(zurich.of(date)));
  assert.deepEqual(names, ["2026-W01", "2026-W53", "2026-W53", "2027-W01", "2025-W01"]);
});

test("energy becomes power; what is absent is missing", () => {
  const start = at("2026-11-23T00:00Z");
  const told = [...quarters(start, start + HOUR), ...quarters(start + 2 * HOUR, start + 3 * HOUR)];
  const shown = shownOf(told, IMPORT);
  assert.equal(shown.length, 12);
  assert.deepEqual(shown.slice(3, 5).map(({ value, mark }) => [value, mark]), [[400, "measured"], [null, "missing"]]);
  assert.deepEqual(counts(shown), { measured: 8, interpolated: 0, estimated: 0, missing: 4 });
  assert.deepEqual(runs(shown), [{ mark: "missing", start: start + HOUR, end: start + 2 * HOUR }]);
  assert.equal(summed(shown).energy, 800);
  assert.deepEqual(having(told, [IMPORT, { name: "energy_export", register: true }, { name: "power" }]), [IMPORT]);
});

test("a step ends with its interval, also beside one that is missing", () => {
  const shown = [{ start: 0, end: 10, value: 1 }, { start: 10, end: 20, value: null }, { start: 20, end: 30, value: 2 }, { start: 30, end: 40, value: 3 }];
  assert.deepEqual(pointsOf(shown).map(({ at: time, one }) => [time, one.value]), [[0, 1], [9, 1], [10, null], [20, 2], [30, 3], [40, 3]]);
});

test("a part that is known counts although the interval is marked as missing", () => {
  const start = at("2026-11-23T00:00Z");
  const shown = shownOf(quarters(start, start + HOUR, (ms) => (ms === start ? { energy_import_mark: "missing", energy_import: 30 } : {})), IMPORT);
  assert.deepEqual([shown[0].value, shown[0].mark, summed(shown).energy], [120, "missing", 330]);
});

test("the maximum is the earliest of equal ones; of nothing there is none", () => {
  const start = at("2026-11-23T00:00Z");
  const shown = shownOf(quarters(start, start + HOUR, (ms) => ({ energy_import: ms >= start + 30 * MINUTE ? 200 : 100 })), IMPORT);
  assert.equal(summed(shown).most.start, start + 30 * MINUTE);
  assert.deepEqual(summed([]), { energy: null, most: null });
});

test("a measured quantity has no energy", () => {
  const [one, other] = shownOf([
    { start: "2026-11-23T00:00Z", end: "2026-11-23T00:15Z", power_mean: 20, power_min: -1, power_max: 30, version: 1 },
    { start: "2026-11-23T00:15Z", end: "2026-11-23T00:30Z", power_mean: null, version: 2 },
  ], { name: "power", register: false });
  assert.deepEqual([one.value, one.low, one.high, one.energy, one.mark], [20, -1, 30, null, "measured"]);
  assert.deepEqual([other.value, other.mark, other.version], [null, "missing", 2]);
});

test("tariffs until the next one begins", () => {
  const found = bands([{ at: "2026-11-23T05:00Z", tariff: "T1", name: "High" }, { at: "2026-11-23T21:00Z", tariff: "T2", name: "" }], at("2026-11-24T00:00Z"));
  const tariff = (ts) => bandAt(found, at(ts))?.tariff;
  assert.deepEqual(["04:59", "05:00", "20:59", "21:00", "23:59"].map((clock) => tariff(`2026-11-23T${clock}Z`)), [undefined, "T1", "T1", "T2", "T2"]);
  assert.equal(tariff("2026-11-24T00:00Z"), undefined);
});

test("the carpet of a month with a day of 25 hours has the second hour beside the first", () => {
  const month = zurich.span("month", at("2026-10-15T00:00Z"));
  const { days, cells } = carpet(shownOf(quarters(month.start, month.end), IMPORT), month, zurich);
  assert.equal(days.length, 31);
  assert.equal(cells.length, 31 * 96 + 4);
  const long = cells.filter(({ day }) => day === 24);
  assert.equal(long.length, 100);
  const twice = long.filter(({ minute }) => minute === 120);
  assert.deepEqual(twice.map(({ turn, of, start }) => [turn, of, iso(start)]), [[0, 2, "2026-10-25T00:00:00.000Z"], [1, 2, "2026-10-25T01:00:00.000Z"]]);
  assert.ok(cells.filter(({ day }) => day !== 24).every(({ of }) => of === 1));
});

test("the carpet of a day of 23 hours has no cell in the hour that does not exist", () => {
  const month = zurich.span("month", at("2026-03-15T00:00Z"));
  const { cells } = carpet(shownOf(quarters(month.start, month.end), IMPORT), month, zurich);
  const short = cells.filter(({ day }) => day === 28);
  assert.equal(short.length, 92);
  assert.deepEqual(short.filter(({ minute }) => minute >= 105 && minute < 195).map(({ minute }) => minute), [105, 180]);
});

test("colours between three", () => {
  const colours = ["#000000", "#808080", "#ff0000"];
  assert.deepEqual([0, 0.25, 0.5].map((share) => mixed(colours, share)), ["rgb(0 0 0)", "rgb(64 64 64)", "rgb(128 128 128)"]);
  assert.equal(mixed(colours, 1), mixed(colours, 2));
});
