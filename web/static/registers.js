// Registers, energy, demand and tariffs of a meter's days or months, as a table.
import { listed } from "./intervals.js";
import { get } from "./live.js";
import { cell, head, row } from "./rows.js";
import { withUnit } from "./words.js";

const MONTHS = 12;
const REMARKS = { "no-start": "no register at begin", "no-end": "no register at end", reset: "counter was reset or replaced", doubtful: "without doubtful steps of the counter" };
const remarks = (marks) => (marks ?? "").split(" ").filter(Boolean).map((mark) => REMARKS[mark] ?? mark).join(", ") || "–";
const $ = (id) => document.getElementById(id);

export class Registers {
  constructor(id, calendar, tariffs) {
    Object.assign(this, { id, calendar, asked: 0, month: null });
    const wh = (name) => (one) => (one[name] === null || one[name] === undefined ? "–" : withUnit(one[name], 0, "Wh"));
    const tariff = (kind, words) => tariffs.map(({ tariff: number, name }) => [`${words}${number}${name ? ` ${name}` : ""}`, wh(`${kind}_${number.toLowerCase()}`)]);
    this.columns = [
      ["Energy", wh("energy_used")], ["Register at begin", wh("register_start")], ["Register at end", wh("register_end")],
      ["Exported", wh("energy_export")], ["Export at begin", wh("export_start")], ["Export at end", wh("export_end")],
      ["Maximum demand", (one) => this.demand(one)],
      ...tariff("energy", ""), ...tariff("export", "Export "),
      ["Intervals", (one) => listed(one) || "–"],
      ["Remarks", (one) => remarks(one.marks)],
    ];
    $("by").addEventListener("change", () => this.load(this.month));
  }

  demand({ demand_max: most, demand_at: at, demand_mark: mark }) {
    if (most === null || most === undefined) return "–";
    return `${withUnit(most, 0, "W")}, ${this.calendar.moment(Date.parse(at))}${mark === "measured" ? "" : `, ${mark}`}`;
  }

  /** Of the days of a month, or of the months until its end. */
  get query() {
    const by = $("by").value, start = by === "day" ? this.month.start : this.calendar.span("month", this.month.start, 1 - MONTHS).start;
    return new URLSearchParams({ ...this.calendar.query({ start, end: this.month.end }), by });
  }

  async load(month) {
    this.month = month;
    const mine = ++this.asked, { periods, complaint } = await get(`meters/${this.id}/periods?${this.query}`);
    if (mine !== this.asked) return; // another one was chosen meanwhile
    const there = this.columns.filter(([, write]) => periods.some((one) => write(one) !== "–"));
    const table = $("registers");
    table.tHead.replaceChildren(...(periods.length ? [head(["Time", ...there.map(([label]) => label)])] : []));
    table.tBodies[0].replaceChildren(...periods.map((one) => row(one.period, ...there.map(([label, write]) => cell(label, write(one))))).reverse());
    $("registers-words").textContent = [complaint ?? "", periods.length ? "" : `No ${$("by").value} of this time is over, or nothing is known of it.`].join(" ").trim();
  }
}
