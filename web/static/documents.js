// Documents of the API as rows: label and text of each column. Of accounts, ledgers, feeders, outages, quality.

const NONE = "–";
const known = (value) => value !== null && value !== undefined && value !== "";
/** A column: its label, and the text of a row. */
const column = (label, name, write = String) => [label, (one) => (known(one[name]) ? write(one[name]) : NONE)];
const yes = (value) => (value ? "yes" : "no");
const percent = (value) => `${Number(value).toFixed(1)}\u00a0%`;
const minutes = (value) => `${Number(value).toFixed(1)}\u00a0min`;
const named = (one) => one.name || one.meter_id;

/** The columns of each table; `moment` writes a time, `wh` an energy. */
export function columnsOf({ moment, wh }) {
  const at = (ts) => moment(Date.parse(ts));
  return {
    accounts: [
      ["House", named], column("State", "state"), ["Balance", (one) => `${one.balance}\u00a0${one.currency}`],
      column("Days left", "days_left"), column("Never cut", "lifeline", yes), column("Intervals that wait", "waiting"),
      column("Booked until", "booked_until", at), column("Cut since", "cut_at", at),
    ],
    ledger: [
      column("When", "at", at), column("What", "kind"), column("Amount", "amount"), column("Belongs to", "value_at", at),
      column("Reference", "reference"), column("Reason", "reason"), column("By", "who"),
    ],
    balance: [
      column("Day", "period"), column("Supplied", "energy_supplied", wh), column("Used", "energy_used", wh), column("Loss", "loss", wh),
      column("Loss, %", "loss_percent", percent), column("Of the lines", "loss_technical", wh), column("Other", "loss_other", wh),
      column("Coverage", "coverage", percent), ["Balanced intervals", (one) => `${one.balanced ?? NONE} of ${one.intervals ?? NONE}`],
    ],
    suspicions: [
      ["House", named], column("Feeder", "feeder"), column("Rule", "rule"), column("Since", "since", at), column("Reason", "reason"),
      column("It can also be", "otherwise"), column("Intervals", "intervals"),
    ],
    reliability: [
      column("Feeder", "feeder"), column("Meters", "customers"), column("Outages", "outages"), column("Short ones", "momentary"),
      column("SAIDI", "saidi", minutes), column("SAIFI", "saifi", (value) => Number(value).toFixed(2)), column("CAIDI", "caidi", minutes),
      column("Doubtful", "doubtful"),
    ],
    outages: [
      column("Feeder", "feeder"), column("Begin", "start", at), ["End", (one) => (one.end ? at(one.end) : "not over")],
      column("Length", "minutes", minutes), column("How sure", "sure"), column("Reason", "reason"), ["Meters", (one) => String(one.meters.length)],
    ],
  };
}

/** What is known of an account, as labels and texts. */
export function accountFacts(one, { moment }) {
  const at = (ts) => moment(Date.parse(ts));
  const facts = [["State", one.state], ["Balance", `${one.balance}\u00a0${one.currency}`], ["Lasts for", known(one.days_left) ? `${one.days_left} days` : NONE]];
  facts.push(["Paid", one.prepaid ? "before" : "at the month's end"], ["Never cut", yes(one.lifeline)], ["Intervals that wait for a person", String(one.waiting)]);
  for (const [label, name] of [["Booked until", "booked_until"], ["Exhausted since", "exhausted_since"], ["Warned", "warned_at"], ["Cut since", "cut_at"]]) {
    if (one[name]) facts.push([label, at(one[name])]);
  }
  return facts;
}

const QUALITY = {
  voltage_judgement: ["Voltage", String], within_10: ["Voltage within 10 %", share], within_extremes: ["Within +10 and −15 %", share],
  voltage_lowest: ["Lowest mean", volts], voltage_highest: ["Highest mean", volts], frequency_judgement: ["Frequency", String],
  frequency_within_1: ["Frequency within 1 %", share], unbalance_judgement: ["Unbalance", String], unbalance_95: ["95 % of unbalance below", percent],
  unbalance_by: ["Unbalance by", String], sags: ["Sags", String], sag_lowest: ["Lowest sag", ofNominal], swells: ["Swells", String],
  swell_highest: ["Highest swell", ofNominal], interruptions: ["Interruptions", String], coverage: ["Coverage", share], readings: ["Readings", String],
};
function share(value) { return `${Number(value).toFixed(2)}\u00a0%`; }
function ofNominal(value) { return `${Number(value).toFixed(1)}\u00a0% of the nominal voltage`; }
function volts(value) { return `${Number(value).toFixed(1)}\u00a0V`; }

/** What is known of the quality of supply in a week; empty without a reading. */
export function qualityFacts(quality) {
  if (!quality.readings) return [];
  return Object.entries(QUALITY).filter(([name]) => known(quality[name])).map(([name, [label, write]]) => [label, write(quality[name])]);
}
