// The curves of a meter's quantities, from its readings and roll-ups; each also in words, and the energy as a table.
import { ask, serverTime, shown } from "./live.js";
import { renewer } from "./renew.js";

const HOUR = 3600000, DAY = 24 * HOUR;
const ENERGY_MS = 10000, ALL_MS = 10 * 60000;
const AXIS = 60, DIGIT = 7, TICK = 18; // pixels
const USED = { unit: "Wh", decimals: 0 }; // energy_used, of each day
const MOST_POINTS = 4000; // more than a screen has pixels: thinned to the extremes of each slot

async function get(path) {
  const answer = await ask(`/api/v1/meters/${path}`, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error((await answer.json()).detail);
  return answer.json();
}

/** Of the last `ms`, by the server's clock. */
async function columns(id, ms, resolution) {
  const query = new URLSearchParams({ start: serverTime(-ms), resolution, layout: "columns" });
  return (await get(`${id}/readings?${query}`)).columns;
}

/** At most MOST_POINTS of [times], [values]: of each slot its lowest and its highest. */
function thinned(times, values) {
  if (times.length <= MOST_POINTS) return [times, values];
  const kept = [[], []], step = Math.ceil((2 * times.length) / MOST_POINTS);
  for (let from = 0; from < times.length; from += step) {
    let low = from, high = from;
    for (let at = from; at < Math.min(from + step, times.length); at += 1) {
      if (values[at] < values[low]) low = at;
      if (values[at] > values[high]) high = at;
    }
    for (const at of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) {
      kept[0].push(times[at]);
      kept[1].push(values[at]);
    }
  }
  return kept;
}

/** Add a point; null before it when the last one is far away, so that no line bridges an outage. */
function push(curve, at, value, interval) {
  const before = curve[0].at(-1);
  if (at - before > 5 * interval) {
    curve[0].push(before + interval);
    curve[1].push(null);
  }
  curve[0].push(at);
  curve[1].push(value);
}

function withGaps(times, values, interval) {
  const curve = [[], []];
  times.forEach((at, place) => push(curve, at, values[place], interval));
  return curve;
}

function inWords(values, { unit, decimals }) {
  const known = values.filter((value) => value !== null);
  if (!known.length) return "Nothing is stored yet.";
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  const low = known.reduce((least, value) => Math.min(least, value));
  const high = known.reduce((most, value) => Math.max(most, value));
  const withUnit = (value) => `${shown(value, decimals)} ${unit}`.trim();
  return `Between ${shown(low, decimals)} and ${withUnit(high)}, ${withUnit(mean)} in the mean.`;
}

/** As wide as the longest label. */
function wide(_, labels) {
  const lengths = (labels ?? []).map((label) => label?.length ?? 0);
  return Math.max(AXIS, TICK + DIGIT * Math.max(0, ...lengths));
}

/** Days are those of UTC, each bar above its own. */
const DAYS = {
  tzDate: (ts) => uPlot.tzDate(new Date(ts), "Etc/UTC"),
  scales: {
    x: { range: ({ data: [days] }) => [days[0] - DAY / 2, days.at(-1) + DAY / 2] },
    y: { range: (_, __, most) => [0, most || 1] },
  },
};

function draw(element, data, unit, bars) {
  const style = getComputedStyle(document.documentElement);
  const axis = { stroke: style.getPropertyValue("--faint"), grid: { stroke: style.getPropertyValue("--line"), width: 1 } };
  const curve = style.getPropertyValue("--curve");
  const series = { label: unit, stroke: curve, width: 1.5, points: { show: data[0].length < 3 }, spanGaps: false };
  if (bars) Object.assign(series, { paths: uPlot.paths.bars({ size: [0.7, 40] }), fill: curve });
  element.replaceChildren();
  return new uPlot({
    width: Math.max(260, element.clientWidth), height: 220, ms: 1, legend: { show: false },
    axes: [bars ? { ...axis, incrs: [1, 2, 5, 10].map((days) => days * DAY) } : axis, { ...axis, size: wide }],
    series: [{}, series], ...(bars ? DAYS : {}),
  }, data, element);
}

export class Curves {
  constructor(id) {
    this.id = id;
    this.day = [[], []];
    this.plots = {};
    this.counted = ""; // day and Wh that the meter last told
    // what fails is tried at the next step again
    this.energySoon = renewer(ENERGY_MS, () => (this.plots.day ? this.loadEnergy() : this.load()).catch(() => {}));
    this.allSoon = renewer(ALL_MS, () => this.load());
    this.choice = document.getElementById("quantity");
    this.choice.addEventListener("change", () => this.change());
    addEventListener("resize", () => this.resize());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.load());
    document.readyState === "complete" ? this.load() : addEventListener("load", () => this.load());
  }

  /** The one whose curves are shown; undefined where none is measured. */
  get quantity() {
    const option = this.choice.selectedOptions[0];
    return option && { name: option.value, label: option.label, unit: option.dataset.unit, decimals: Number(option.dataset.decimals) };
  }

  async load() {
    await Promise.allSettled([this.loadDay(), this.loadMonth(), this.loadEnergy()]);
  }

  async loadDay() {
    const quantity = this.quantity;
    if (!quantity) return;
    const told = await columns(this.id, DAY, "raw");
    if (quantity.name !== this.quantity?.name) return; // another one was chosen meanwhile
    const gaps = told.ts.slice(1).map((at, place) => at - told.ts[place]).sort((one, other) => one - other);
    const interval = gaps[Math.floor(gaps.length / 2)] ?? 1000;
    this.interval = interval * Math.max(1, told.ts.length / MOST_POINTS);
    const values = told[quantity.name] ?? told.ts.map(() => null);
    this.day = withGaps(...thinned(told.ts, values), this.interval);
    this.title("day", `${quantity.label} of the last 24 hours`, quantity.unit);
    this.show("day", this.day, quantity.unit, inWords(values, quantity));
  }

  async loadMonth() {
    const quantity = this.quantity;
    if (!quantity) return;
    const told = await columns(this.id, 31 * DAY, "hour"), means = told[`${quantity.name}_mean`] ?? told.start.map(() => null);
    if (quantity.name !== this.quantity?.name) return;
    this.title("month", `Mean ${quantity.label.toLowerCase()} of each hour, 31 days`, quantity.unit);
    this.show("month", withGaps(told.start, means, HOUR), quantity.unit, inWords(means, quantity));
  }

  /** Another quantity: what is drawn is not its, and no reading is added to it. */
  async change() {
    for (const name of ["day", "month"]) this.show(name, [[], []], "", "");
    await Promise.allSettled([this.loadDay(), this.loadMonth()]);
  }

  title(name, text, unit) {
    document.getElementById(`${name}-title`).textContent = unit ? `${text}, ${unit}` : text;
  }

  async loadEnergy() {
    const [told, today] = await Promise.all([columns(this.id, 31 * DAY, "day"), get(`${this.id}/today`)]);
    const midnight = Date.parse(today.start);
    const days = told.start.map((start, place) => [start, told.energy_used[place]]).filter(([start]) => start < midnight);
    const before = days.map(([, used]) => used);
    const words = before.length ? inWords(before, USED) : "No day is over yet.";
    if (today.energy_used !== null) days.push([midnight, today.energy_used]);
    this.show("energy", [days.map(([start]) => start), days.map(([, used]) => used)], USED.unit, words, true);
    document.getElementById("today").textContent = shown(today.energy_used, USED.decimals);
    const rows = days.map(([start, used]) => {
      const row = document.createElement("tr"), day = document.createElement("th"), energy = document.createElement("td");
      day.scope = "row";
      day.textContent = new Date(start).toISOString().slice(0, 10) + (start === midnight ? ", until now" : "");
      energy.className = "number";
      energy.textContent = `${shown(used, USED.decimals)} ${USED.unit}`;
      row.append(day, energy);
      return row;
    });
    document.getElementById("days").replaceChildren(...rows.reverse());
  }

  show(name, data, unit, words, bars = false) {
    document.getElementById(`${name}-words`).textContent = words;
    this.plots[name]?.destroy();
    this.plots[name] = data[0].length ? draw(document.getElementById(name), data, unit, bars) : undefined;
  }

  /** A reading has come. */
  add(meter) {
    if (!meter.ts) return;
    const at = Date.parse(meter.ts), counted = `${meter.ts.slice(0, 10)} ${meter.energy}`;
    this.allSoon();
    if (counted !== this.counted) this.energySoon();
    this.counted = counted;
    const value = meter[this.quantity?.name];
    if (!this.plots.day || value === undefined || at <= this.day[0].at(-1)) return;
    push(this.day, at, value, Math.max(this.interval, 1000 * meter.interval));
    while (this.day[0][0] < at - DAY) this.day.forEach((column) => column.shift());
    this.plots.day.setData(this.day);
  }

  resize() {
    for (const [name, plot] of Object.entries(this.plots)) {
      plot?.setSize({ width: Math.max(260, document.getElementById(name).clientWidth), height: 220 });
    }
  }
}
