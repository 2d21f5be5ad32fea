// The curves of a meter: any span of any quantity, beside another, with outages, limits and switching.
import { Against } from "./against.js";
import { download, save, TYPES } from "./files.js";
import { get, now } from "./live.js";
import { bars, colour, CURVES, erase, FROM_ZERO, level, line, mark, picture, plot, shade, steps, WITH_ZERO } from "./plot.js";
import { renewer } from "./renew.js";
import { cell, key, row } from "./rows.js";
import { energy, load, push, resolutionOf, wanted } from "./series.js";
import { begin, between, dateOf, DAY, HOUR, later, midnightOf, moment, spanOf, title } from "./spans.js";
import { RELAY, scale, shown, unitShown, withUnit } from "./words.js";

const ENERGY_MS = 10000, ALL_MS = 10 * 60000;
const SHORTEST = 60000, LONGEST = 20 * 366 * DAY;
const WH = { unit: "Wh", decimals: 0 };
const MOST_SWITCHED = 200;

const $ = (id) => document.getElementById(id);
const say = (id, text) => { $(id).textContent = text; };

const known = (values) => values.filter((value) => value !== null && value !== undefined);

function inWords({ values, low: lows, high: highs }, { unit, decimals }) {
  const told = known(values);
  if (!told.length) return "Nothing is stored of this time.";
  const low = known(lows ?? values).reduce((least, value) => Math.min(least, value));
  const high = known(highs ?? values).reduce((most, value) => Math.max(most, value));
  const mean = told.reduce((sum, value) => sum + value, 0) / told.length;
  return `Between ${shown(low, decimals, unit)} and ${withUnit(high, decimals, unit)}, ${withUnit(mean, decimals, unit)} in the mean.`;
}

function lasting(ms) {
  const minutes = Math.round(ms / 60000);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export class Curves {
  constructor(id) {
    this.id = id;
    this.span = spanOf("last", now());
    this.asked = this.askedEnergy = 0;
    this.counted = ""; // day and Wh that the meter last told
    // what fails is tried at the next step again
    this.energySoon = renewer(ENERGY_MS, () => (this.drawn && this.series ? this.loadEnergy() : this.load()).catch(() => {}));
    this.allSoon = renewer(ALL_MS, () => this.load());
    this.against = new Against(id, () => this.load());
    this.listen();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.load());
    document.readyState === "complete" ? this.load() : addEventListener("load", () => this.load());
  }

  listen() {
    const on = (id, kind, action) => $(id).addEventListener(kind, action);
    const turn = (span) => this.turn(span);
    const here = () => (this.span.kind === "last" || this.span.end > now() ? now() : (this.span.start + this.span.end) / 2);
    on("quantity", "change", () => this.load());
    on("span", "change", ({ target: { value } }) => {
      turn(value === "range" ? between(this.span.start, this.span.end) : spanOf(value, value === "last" ? now() : here()));
    });
    for (const id of ["from", "to"]) on(id, "change", () => {
      const [start, end] = [midnightOf($("from").value), midnightOf($("to").value)];
      if (start <= end && end - start < LONGEST) turn(between(start, spanOf("day", end).end));
    });
    on("earlier", "click", () => turn(later(this.span, -1)));
    on("later", "click", () => turn(later(this.span, 1)));
    on("closer", "click", () => this.zoom(0.5));
    on("wider", "click", () => this.zoom(2));
    for (const kind in TYPES) on(kind, "click", () => this.table(kind));
    on("png", "click", async () => save(await picture(this.drawn, $("curve-title").textContent), `${this.id}.png`));
  }

  zoom(factor) {
    const middle = (this.span.start + this.span.end) / 2;
    const length = Math.min(LONGEST, Math.max(SHORTEST, factor * (this.span.end - this.span.start)));
    this.turn(between(middle - length / 2, middle + length / 2));
  }

  /** Show another span. */
  turn(span) {
    this.span = span;
    $("span").value = span.kind;
    $("dates").hidden = span.kind !== "range";
    $("from").value = dateOf(span.start);
    $("to").value = dateOf(span.end - 1);
    this.load();
  }

  /** What is chosen; undefined where nothing is measured. */
  get quantity() {
    const option = $("quantity").selectedOptions[0];
    if (!option) return undefined;
    const { unit, decimals, low, high } = option.dataset;
    return { names: option.value.split(","), label: option.label, unit, decimals: Number(decimals), limits: low ? [low, high].map(Number) : [] };
  }

  async load() {
    if (this.span.kind === "last") this.span = spanOf("last", now());
    const [curve] = await Promise.allSettled([this.loadCurve(), this.loadEnergy()]);
    if (curve.reason) say("curve-words", `This could not be loaded: ${curve.reason.message}`);
  }

  async loadCurve() {
    const quantity = this.quantity, span = this.span, asked = ++this.asked;
    if (!quantity) return;
    this.series = undefined; // what is drawn is not of it, and no reading is added
    $("curve").className = "old";
    const [series, compared, switched] = await Promise.all([
      load(this.id, quantity.names, { ...span, end: Math.min(span.end, now()) }), this.against.load(quantity, span), this.switched(span),
    ]);
    if (asked !== this.asked) return; // another one was chosen meanwhile
    Object.assign(this, { series, compared: compared?.series && compared, marks: switched.map(({ at, word }) => [at, word]) });
    say("curve-title", `${quantity.label} ${title(span)}${quantity.unit ? `, ${unitShown(quantity.unit)}` : ""}`);
    this.write(quantity, switched, compared?.note);
    this.draw(quantity);
  }

  /** Who switched it when. */
  async switched({ start, end }) {
    const query = new URLSearchParams({
      meter_id: this.id, start: new Date(start).toISOString(), end: new Date(end).toISOString(), last: MOST_SWITCHED,
    });
    const { commands } = await get(`commands?${query}`);
    const moved = commands.filter(({ what, outcome }) => RELAY[what] && outcome === "done").reverse();
    return moved.map(({ received_at, what, origin }) => ({ at: Date.parse(received_at), word: RELAY[what], origin }));
  }

  write(quantity, switched, note) {
    const { series, compared } = this, gone = series.gaps.reduce((sum, [from, to]) => sum + to - from, 0);
    const words = series.curves.map((curve) => {
      const named = series.curves.length > 1 ? `${curve.name.split("_").at(-1).toUpperCase()}: ` : "";
      return named + inWords(curve, quantity);
    });
    if (series.gaps.length) words.push(`${series.gaps.length} ${series.gaps.length === 1 ? "time" : "times"} without readings, ${lasting(gone)} together.`);
    if (series.doubtful.length) words.push(series.resolution === "raw"
      ? `The meter's clock may have been wrong at ${series.doubtful.length} readings.` : "Some of its energy is doubtful.");
    if (quantity.limits.length) words.push(`Limits: ${quantity.limits.map((one) => shown(one, 0)).join(" and ")} ${quantity.unit}.`);
    if (compared) words.push(`Beside it ${this.besides}: ${inWords(compared.series.curves[0], quantity)}`);
    if (note) words.push(note);
    say("curve-words", words.join(" "));
    const keys = series.curves.length > 1 ? series.curves.map(({ name }, place) => [name.split("_").at(-1).toUpperCase(), CURVES[place]]) : [];
    if (series.curves.length === 1 && series.curves[0].low) keys.push(["mean", CURVES[0]], ["lowest to highest", "--band"]);
    if (compared && !keys.length) keys.push(["this meter", CURVES[0]]);
    if (compared) keys.push([`${this.besides}${compared.apart ? ", on the scale at the right" : ""}`, "--before"]);
    if (series.gaps.length) keys.push(["no readings", "--outage"]);
    $("curve-keys").replaceChildren(...keys.map(([text, name]) => key(text, name)));
    $("switchings").replaceChildren(...switched.map(({ at, word, origin }) => {
      const item = document.createElement("li");
      item.textContent = `${moment(at)}: switched ${word}${origin ? ` by ${origin}` : ""}`;
      return item;
    }));
  }

  /** What is drawn beside the curve; of three phases the first one. */
  get besides() {
    return `${this.series.curves.length > 1 ? "L1 of " : ""}${this.compared.label}`;
  }

  /** Times, and what is drawn over them: each curve; of a single one its band; the one beside it. */
  get data() {
    const { series, compared, quantity } = this, part = 1 / scale(quantity.unit);
    const scaled = (values) => values.map((value) => (value === null || value === undefined ? null : value * part));
    const own = [series.times, ...series.curves.map(({ values }) => scaled(values))];
    const band = series.curves.length === 1 && series.curves[0].low ? [scaled(series.curves[0].high), scaled(series.curves[0].low)] : [];
    if (!compared) return [...own, ...band];
    const beside = [compared.series.times.map((at) => at + compared.shift), scaled(compared.series.curves[0].values)];
    return uPlot.join([[...own, ...band], beside]);
  }

  draw(quantity) {
    $("curve").className = "";
    if (!this.series.times.length && !this.compared?.series.times.length) {
      this.drawn = undefined;
      return erase($("curve"));
    }
    const { series } = this, single = series.curves.length === 1, band = single && series.curves[0].low;
    const few = series.times.length < 3 ? { points: { show: true } } : {};
    const lines = series.curves.map((_, place) => line(CURVES[place], few));
    if (band) lines.push(line("--band"), line("--band"));
    const apart = this.compared?.apart, dash = [5, 4];
    if (this.compared) lines.push(apart ? steps("--before", { dash, scale: "sum" }) : line("--before", { dash }));
    const limits = quantity.limits;
    this.drawn = plot($("curve"), this.data, {
      series: lines,
      ...(apart ? { axes: [{}, {}, { scale: "sum", stroke: colour("--before") }] } : {}),
      ...(band ? { bands: [{ series: [2, 3], fill: `${colour("--band")}55` }] } : {}),
      scales: {
        x: { range: () => [this.span.start, this.span.end] },
        ...(apart ? { sum: WITH_ZERO } : {}),
        ...(limits.length ? { y: { range: (_, low, high) => [Math.min(low, limits[0] - 3), Math.max(high, limits[1] + 3)] } } : {}),
      },
      cursor: { drag: { x: true, y: false, setScale: false } },
      hooks: {
        drawClear: [(drawn) => shade(drawn, this.series.gaps, "--outage")],
        draw: [(drawn) => { level(drawn, limits, "--bad"); mark(drawn, this.marks, "--mark"); }],
        setCursor: [(drawn) => this.at(drawn, quantity)],
        setSelect: [({ select, posToVal }) => this.turn(between(posToVal(select.left, "x"), posToVal(select.left + select.width, "x")))],
      },
    });
  }

  /** What is under the pointer. */
  at({ cursor: { idx }, data }, { unit, decimals }) {
    if (idx === null || idx === undefined) return;
    const own = data.slice(1, 1 + this.series.curves.length), beside = this.compared ? [data.at(-1)] : [];
    const of = (values) => { // at a time of the other curve it has no point: that before
      let place = idx;
      while (place > 0 && values[place] === undefined) place -= 1;
      const value = values[place];
      return value === null || value === undefined ? "–" : withUnit(value * scale(unit), decimals, unit);
    };
    say("curve-at", [`${moment(data[0][idx])}: ${own.map(of).join(", ")}`, ...beside.map((values) => `${this.besides}: ${of(values)}`)].join("; "));
  }

  /** Bars of hours, days or months, each above its own. */
  async loadEnergy() {
    const span = this.span, midnight = begin("day", now()), days = (span.end - span.start) / DAY, asked = ++this.askedEnergy;
    const kind = days <= 2.1 ? "hour" : days <= 93 ? "day" : "month";
    const [[starts, used], today] = await Promise.all([
      energy(this.id, span, kind), get(`meters/${this.id}/today?start=${new Date(midnight).toISOString()}`),
    ]);
    if (asked !== this.askedEnergy) return; // of another span, or a newer one
    say("today", shown(today.energy_used, WH.decimals, WH.unit));
    const rows = starts.map((start, place) => [start, used[place]]).filter(([start]) => kind !== "day" || start < midnight);
    const running = kind === "day" && span.end > midnight && today.energy_used !== null;
    if (running) rows.push([midnight, today.energy_used]);
    say("energy-title", `Energy of each ${kind} ${title(span)}, kWh`);
    const sum = rows.reduce((all, [, wh]) => all + (wh ?? 0), 0);
    say("energy-words", rows.length ? `Together ${withUnit(sum, 0, "Wh")}.` : `No ${kind} is over yet.`);
    $("energies").replaceChildren(...rows.map(([start, wh]) => energyRow(start, wh, kind, running && start === midnight)).reverse());
    if (!rows.length) return erase($("energy"));
    const width = { hour: HOUR, day: DAY, month: 31 * DAY }[kind];
    plot($("energy"), [rows.map(([start]) => start), rows.map(([, wh]) => (wh === null ? null : wh / 1000))], {
      series: [bars("--curve")],
      scales: { x: { range: () => [Math.min(span.start, rows[0][0]) - width / 2, Math.max(rows.at(-1)[0] + width / 2, Math.min(span.end, now()))] }, y: FROM_ZERO },
    });
  }

  /** A reading has come. */
  add(meter) {
    if (!meter.ts) return;
    const at = Date.parse(meter.ts), counted = `${begin("day", at)} ${meter.energy}`;
    this.allSoon();
    if (counted !== this.counted) this.energySoon();
    this.counted = counted;
    const { series, span } = this, values = this.quantity?.names.map((name) => meter[name] ?? null);
    if (!this.drawn || series?.resolution !== "raw" || at <= series.times.at(-1)) return;
    if (span.kind === "last") this.span = spanOf("last", Math.max(now(), at));
    else if (at >= span.end || at < span.start) return;
    series.gaps = series.gaps.filter(([from]) => from !== series.times.at(-1)); // one that is open is over, or longer
    series.interval = Math.max(series.interval, 1000 * meter.interval);
    push(series, at, values);
    while (series.times[0] < this.span.start) for (const one of [series.times, ...series.curves.map(({ values }) => values)]) one.shift();
    this.drawn.setData(this.data);
  }

  /** What is seen as a table. */
  table(kind) {
    const query = wanted(this.quantity?.names ?? [], this.span, resolutionOf(this.span));
    download(`meters/${this.id}/readings?${query}`, kind, `${this.id}-${dateOf(this.span.start)}`, (text) => say("exported", text));
  }
}

/** The row of an hour, day or month. */
function energyRow(start, wh, kind, running) {
  const options = { hour: { dateStyle: "medium", timeStyle: "short" }, day: { dateStyle: "medium" }, month: { month: "long", year: "numeric" } }[kind];
  const when = new Date(start).toLocaleString(undefined, options) + (running ? ", until now" : "");
  return row(when, cell("", withUnit(wh, WH.decimals, WH.unit), "number"));
}
