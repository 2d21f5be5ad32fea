// What a curve is compared with: the time before, another meter, or all the meters of the feeder together.
import { get, now } from "./live.js";
import { renewer } from "./renew.js";
import { load, push } from "./series.js";
import { between, DAY, HOUR, later } from "./spans.js";

const SOON_MS = 250, MOST = 20;
const LONGEST_SUM = 32 * DAY; // of what the server sums up at once

const $ = (id) => document.getElementById(id);
const say = (text) => { $("against-note").textContent = text; };

/** Mean power of each hour of all the meters of a feeder; the hour that runs is not summed up yet. */
async function summed(feeder, { start, end }) {
  const from = Math.floor(start / HOUR) * HOUR;
  const query = new URLSearchParams({ feeder, start: new Date(from).toISOString(), end: new Date(end).toISOString() });
  const { columns } = await get(`energy/hours?${query}`), { meters } = columns;
  const series = { times: [], curves: [{ name: "power", values: [] }], gaps: [], interval: HOUR, factor: 1.5, rolled: true };
  columns.start.forEach((at, place) => push(series, at, [columns.power[place]]));
  if (meters.length) push(series, columns.start.at(-1) + HOUR, [columns.power.at(-1)]); // where the last hour ends
  const [least, most] = meters.length ? [Math.min(...meters), Math.max(...meters)] : [0, 0];
  return [series, `${least === most ? "" : `${least} to `}${most} ${most === 1 ? "meter" : "meters"}`];
}

export class Against {
  /** Of the meter `id`; `changed` is called when something else is chosen. */
  constructor(id, changed) {
    Object.assign(this, { id, changed, other: undefined, offered: new Map(), asked: 0 });
    const soon = renewer(SOON_MS, () => this.find().catch(() => {})); // asked again when it is chosen
    $("against").addEventListener("change", ({ target }) => {
      $("which").hidden = target.value !== "meter";
      say("");
      if (target.value === "meter") soon();
      changed();
    });
    $("other").addEventListener("input", soon);
    $("other").addEventListener("change", () => this.choose().catch((error) => say(error.message)));
  }

  /** The first meters that have what is written are offered, those of one name by their ids; how many there are. */
  async find() {
    const query = new URLSearchParams({ search: $("other").value.trim(), limit: MOST });
    const { meters, total } = await get(`meters?${query}`), others = meters.filter(({ meter_id }) => meter_id !== this.id);
    const names = others.map(({ name }) => name), unique = (name) => name && names.indexOf(name) === names.lastIndexOf(name);
    this.offered = new Map(others.map((one) => [unique(one.name) ? one.name : one.meter_id, one]));
    $("found").replaceChildren(...[...this.offered].map(([value, { name, address_code, meter_id }]) => {
      const option = document.createElement("option");
      return Object.assign(option, { value, label: [name, address_code, meter_id].filter(Boolean).join(" · ") });
    }));
    return total - (meters.length - others.length);
  }

  /** Take the meter that is written: one that is offered, or the only one that has it. */
  async choose() {
    const text = $("other").value.trim(), asked = ++this.asked, before = this.other;
    const found = !text || this.offered.has(text) ? 0 : await this.find();
    if (asked !== this.asked) return; // another one is written meanwhile
    this.other = text ? this.offered.get(text) ?? (found === 1 ? [...this.offered.values()][0] : undefined) : undefined;
    say(this.other || !text ? "" : found ? `${found} meters are found: choose one of the list.` : "No other meter is found.");
    if (this.other !== before) this.changed();
  }

  /** What is to be drawn beside the curve of `quantity`: undefined for nothing, or `note` says why there is none. */
  async load(quantity, span) {
    try {
      return await this.fetched(quantity, span);
    } catch (error) {
      return { note: `What it is compared with could not be loaded: ${error.message}` };
    }
  }

  async fetched({ names }, span) {
    const { value, selectedOptions: [option] } = $("against"), told = { ...span, end: Math.min(span.end, now()) };
    if (value === "before") {
      const past = later(span.kind === "last" ? between(span.start, span.end) : span, -1);
      const label = span.kind === "day" || span.kind === "last" ? "the day before" : "the time before";
      return { label, series: await load(this.id, names, past), shift: span.start - past.start };
    }
    if (value === "meter") return this.other && { label: this.other.name || this.other.meter_id, series: await load(this.other.meter_id, names, told), shift: 0 };
    if (value !== "feeder") return undefined;
    if (names.join() !== "power" || span.end - span.start > LONGEST_SUM) return { note: "Of a feeder there is only the power, of up to 32 days." };
    const [series, meters] = await summed(option.dataset.feeder, told);
    return { label: `${option.label}, sum of ${meters}`, series, shift: 0, apart: true };
  }
}
