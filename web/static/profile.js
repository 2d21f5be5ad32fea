// The load profile of a meter: curve and table of a day, week or month, the month as a carpet, registers.
import { Carpet, hatch, tableOf } from "./carpet.js";
import { download } from "./files.js";
import { bandAt, bands, carpet, counts, having, listed, MARKS, pointsOf, runs, shownOf, summed } from "./intervals.js";
import { get, listen, now } from "./live.js";
import { colour, erase, line, plot, shade, steps } from "./plot.js";
import { Registers } from "./registers.js";
import { renew, renewer } from "./renew.js";
import { cell, head, key, row } from "./rows.js";
import { scale, shown, unitShown, withUnit } from "./words.js";
import { calendarOf } from "./zoned.js";

const AGAIN_MS = 10 * 60000;
const STRIP = 10, LABEL = 24; // pixels: of the marks below the curve; a band of less has no label
const NOTHING = { intervals: [], changes: [] };

const $ = (id) => document.getElementById(id);
const say = (id, text) => { $(id).textContent = text; };
const root = $("profile"), id = root.dataset.meter;
const drawn = JSON.parse(root.dataset.drawn), tariffs = JSON.parse(root.dataset.tariffs);
const calendar = calendarOf(root.dataset.zone);
const registers = new Registers(id, calendar, tariffs);
const given = new URLSearchParams(location.search);
let span, month, asked = 0, held = NOTHING, inMonth = NOTHING, intervals = [], found = [];

const queryOf = (wanted) => new URLSearchParams(calendar.query(wanted));

async function fetched(wanted) {
  const [profile, { changes }] = await Promise.all([
    get(`meters/${id}/profile?${queryOf(wanted)}`), tariffs.length ? get(`tariffs?${queryOf(wanted)}`) : NOTHING,
  ]);
  return { intervals: profile.intervals, changes };
}

/** Show another day, week or month. */
function turn(to) {
  span = to;
  $("span").value = span.kind;
  $("date").value = calendar.date(span.start);
  history.replaceState(null, "", `?${new URLSearchParams({ span: span.kind, date: $("date").value })}`);
  load();
}

async function load() {
  const mine = ++asked;
  $("curve").className = "old";
  try {
    const wanted = calendar.span("month", span.start);
    const [of, all] = await Promise.all([span.end > wanted.end ? fetched(span) : null, fetched(wanted)]);
    if (mine !== asked) return; // another one was chosen meanwhile
    [month, inMonth, held] = [wanted, all, of ?? all];
    choices();
    show();
    registers.load(month).catch((error) => say("registers-words", `This could not be loaded: ${error.message}`));
  } catch (error) {
    if (mine === asked) say("curve-words", `This could not be loaded: ${error.message}`);
  }
}

/** The quantities that there are; what was chosen stays. */
function choices() {
  const before = $("quantity").value, there = having([...inMonth.intervals, ...held.intervals], drawn);
  $("quantity").replaceChildren(...there.map(({ name, label }) => new Option(label, name, false, name === before)));
}

function show() {
  const quantity = chosen(), all = shownOf(inMonth.intervals, quantity);
  intervals = (held === inMonth ? all : shownOf(held.intervals, quantity)).filter(({ start }) => span.start <= start && start < span.end);
  found = bands(held.changes, Math.max(span.end, month.end));
  say("curve-title", `${quantity.label}, ${titleOf(span)}, ${unitShown(quantity.unit)}`);
  write(quantity);
  draw(quantity);
  if ($("rows").open) table(quantity);
  say("carpet-title", `${quantity.label}, ${calendar.month(month.start)}, ${unitShown(quantity.unit)}`);
  say("carpet-at", all.length ? "" : "Nothing is stored of this month.");
  map.show(carpet(all, month, calendar), calendar);
  if ($("carpet-rows").open) mapTable(quantity);
  carpetKeys(all, quantity);
}

const titleOf = ({ kind, start }) => ({
  day: () => calendar.weekday(start), week: () => `week from ${calendar.weekday(start)}`, month: () => calendar.month(start),
}[kind]());

const hours = ({ start, end }) => (end - start) / 3600000;

function write(quantity) {
  const many = counts(intervals), { energy, most } = summed(intervals), { decimals, unit } = quantity;
  const words = intervals.length ? [`${intervals.length} intervals: ${listed(many)}.`] : ["Nothing is stored of this time."];
  if (span.kind === "day" && hours(span) !== 24) words.push(`This day has ${hours(span)} hours: the clocks change.`);
  say("curve-words", words.join(" "));
  say("sum", energy === null ? "–" : withUnit(energy, 0, `${unit}h`));
  const time = document.createElement("small"), demand = quantity.register ? most : null;
  time.textContent = demand ? `${when(demand)}${demand.mark === "measured" ? "" : `, ${demand.mark}`}` : "";
  $("demand").replaceChildren(demand ? withUnit(demand.value, decimals, unit) : "–", time);
  const named = tariffs.filter(({ tariff }) => found.some((one) => one.tariff === tariff && one.start < span.end && one.end > span.start));
  $("curve-keys").replaceChildren(
    ...markKeys(many), ...named.map(({ tariff, name }) => key(name ? `${tariff} ${name}` : tariff, `--${tariff.toLowerCase()}`)),
  );
}

const markKeys = (many) => MARKS.slice(1).filter((mark) => many[mark]).map((mark) => key(mark, `--${mark}`));

function carpetKeys(all, { decimals, unit }) {
  const range = map.cells.length ? [key(`${shown(map.least, decimals, unit)} to ${withUnit(map.most, decimals, unit)}`, "--heat")] : [];
  $("carpet-keys").replaceChildren(...range, ...markKeys(counts(all)));
}

/** A time; with its zone on a day on which an hour may be shown twice. */
const when = ({ start }) => {
  const day = calendar.span("day", start);
  return calendar.changes(day.start, day.end) ? calendar.exactly(start) : calendar.moment(start);
};

function draw(quantity) {
  $("curve").className = "";
  if (!intervals.length) return erase($("curve"));
  const part = 1 / scale(quantity.unit), points = pointsOf(intervals);
  const scaled = (name) => points.map(({ one }) => (one[name] === null ? null : one[name] * part)), times = points.map(({ at }) => at);
  const band = intervals.some(({ low }) => low !== null);
  plot($("curve"), [times, scaled("value"), ...(band ? [scaled("high"), scaled("low")] : [])], {
    tzDate: (at) => uPlot.tzDate(new Date(at), calendar.name),
    axes: [{ values: (_, splits) => splits.map((at) => (calendar.clock(at) === "00:00" ? calendar.day(at) : calendar.clock(at))) }, {}],
    series: [steps("--curve"), ...(band ? [line("--band", steps("--band")), line("--band", steps("--band"))] : [])],
    ...(band ? { bands: [{ series: [2, 3], fill: `${colour("--band")}55` }] } : {}),
    scales: { x: { range: () => [span.start, span.end] } },
    cursor: { drag: { x: false, y: false } },
    hooks: { drawClear: [behind], draw: [strip], setCursor: [({ cursor: { idx } }) => point(points[idx]?.one, quantity)] },
  });
}

/** Tariffs behind the curve, each with its name where there is room. */
function behind(drawing) {
  for (const { tariff } of tariffs) shade(drawing, found.filter((one) => one.tariff === tariff).map(({ start, end }) => [start, end]), `--${tariff.toLowerCase()}`);
  const { ctx, bbox } = drawing;
  ctx.save();
  ctx.fillStyle = colour("--ink");
  ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  for (const { tariff, start, end } of found) {
    const [left, right] = [Math.max(start, span.start), Math.min(end, span.end)].map((at) => drawing.valToPos(at, "x", true));
    if (right - left > LABEL * devicePixelRatio) ctx.fillText(tariff, left + 3 * devicePixelRatio, bbox.top + 12 * devicePixelRatio);
  }
  ctx.restore();
}

/** Below the curve: where it is not measured. */
function strip(drawing) {
  const { ctx, bbox } = drawing, height = STRIP * devicePixelRatio, top = bbox.top + bbox.height - height;
  ctx.save();
  ctx.setLineDash([]);
  for (const { mark, start, end } of runs(intervals)) {
    const [left, right] = [start, end].map((at) => drawing.valToPos(at, "x", true));
    ctx.fillStyle = colour(mark === "missing" ? "--outage" : "--ground");
    ctx.fillRect(left, top, right - left, height);
    ctx.strokeStyle = ctx.fillStyle = colour(mark === "missing" ? "--bad" : "--ink");
    ctx.strokeRect(left, top, right - left, height);
    hatch(ctx, mark, left, top, right - left, height);
    if (mark === "missing") for (let at = left + 4; at < right; at += 8) ctx.fillRect(at, top + height / 2 - 1, 2, 2);
  }
  ctx.restore();
}

const inWords = (one, { decimals, unit }) => `${when(one)}: ${one.value === null ? "" : `${withUnit(one.value, decimals, unit)}, `}${one.mark}`;

function point(one, quantity) {
  if (one) say("curve-at", [inWords(one, quantity), bandAt(found, one.start)?.tariff].filter(Boolean).join(", "));
}

function table(quantity) {
  const { decimals, unit } = quantity, body = $("rows").querySelector("tbody");
  body.replaceChildren(...intervals.map((one) => row(
    when(one),
    cell("Energy", one.energy === null ? "–" : withUnit(one.energy, 0, `${unit}h`), "number"),
    cell("Mean", withUnit(one.value, decimals, unit), "number"),
    cell("Lowest to highest", one.low === null ? "–" : `${shown(one.low, decimals, unit)} to ${withUnit(one.high, decimals, unit)}`, "number"),
    cell("Mark", one.mark, "mark"),
    cell("Tariff", bandAt(found, one.start)?.tariff ?? "–"),
    cell("Version", one.version || "–", "number"),
  )));
}

function mapTable({ decimals, unit }) {
  const box = $("carpet-rows");
  box.querySelector("thead").replaceChildren(head(["Time", ...map.days.map((day) => calendar.day(day))]));
  box.querySelector("tbody").replaceChildren(...tableOf(map, (value) => shown(value, decimals, unit))
    .map(([clock, ...values]) => row(clock, ...values.map((text) => cell("", text, "number")))));
}

const chosen = () => drawn.find(({ name }) => name === $("quantity").value) ?? drawn[0];
const map = new Carpet($("carpet"), {
  told: (one) => say("carpet-at", inWords(one, chosen())),
  opened: (one) => { turn(calendar.span("day", one.start)); $("curve-title").scrollIntoView(); },
});

/** What is seen as a file. */
function file({ save: what, kind }) {
  const query = what === "profile" ? queryOf(span) : registers.query;
  return download(`meters/${id}/${what}?${query}`, kind, `${id}-${what}-${calendar.date(span.start)}`, (text) => say("saved", text));
}

const on = (element, kind, action) => $(element).addEventListener(kind, action);
on("quantity", "change", show);
on("span", "change", ({ target: { value } }) => turn(calendar.span(value, Math.min(span.start, now()))));
on("date", "change", ({ target: { value } }) => { const at = calendar.of(value); if (at) turn(calendar.span(span.kind, at)); });
on("earlier", "click", () => turn(calendar.span(span.kind, span.start, -1)));
on("later", "click", () => turn(calendar.span(span.kind, span.start, 1)));
on("rows", "toggle", () => { if ($("rows").open) table(chosen()); });
on("carpet-rows", "toggle", () => { if ($("carpet-rows").open) mapTable(chosen()); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(chosen()));
for (const button of document.querySelectorAll("[data-save]")) button.addEventListener("click", () => file(button.dataset));

const soon = renewer(AGAIN_MS, load);
listen(() => [["meter", id]], {
  meter() { if (span.start <= now() && now() < span.end) soon(); },
  async reset() {
    const since = await renew();
    load();
    return since;
  },
});
say("zone", root.dataset.zone || `your zone, ${calendar.name}`);
const kind = ["day", "week", "month"].includes(given.get("span")) ? given.get("span") : "day";
const first = () => turn(calendar.span(kind, calendar.of(given.get("date") ?? "") || now()));
document.readyState === "complete" ? first() : addEventListener("load", first);
