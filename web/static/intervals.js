// What is shown of a load profile: values and marks of a quantity, runs, sums, demand, tariffs, the carpet's cells.
import { HOUR, MINUTE } from "./zoned.js";

export const MARKS = ["measured", "interpolated", "estimated", "missing"];
/** Letters of marks, where there is no place for the word. */
export const LETTERS = { measured: "", interpolated: "i", estimated: "e", missing: "×" };

/**
 * The intervals of a quantity: begin, end, mean power or voltage, lowest and highest, energy of a register, mark, version.
 * Where the answer has none between two others, they are missing.
 */
export function shownOf(intervals, { name, register }) {
  const found = [];
  for (const one of intervals) {
    const start = Date.parse(one.start), end = Date.parse(one.end), last = found.at(-1);
    if (last) for (let at = last.end, span = last.end - last.start; at < start; at += span) found.push({ ...NONE, start: at, end: Math.min(start, at + span) });
    found.push({ start, end, version: one.version, ...(register ? ofRegister(one, name, end - start) : ofMeasured(one, name)) });
  }
  return found;
}

const NONE = { value: null, low: null, high: null, energy: null, mark: "missing", version: 0 };

function ofRegister(one, name, span) {
  const energy = one[name] ?? null;
  return { value: energy === null ? null : energy * HOUR / span, low: null, high: null, energy, mark: one[`${name}_mark`] ?? "missing" };
}

function ofMeasured(one, name) {
  const [value, low, high] = ["mean", "min", "max"].map((what) => one[`${name}_${what}`] ?? null);
  return { value, low, high, energy: null, mark: value === null ? "missing" : "measured" };
}

/** Which of the quantities the intervals have. */
export const having = (intervals, drawn) => drawn.filter(({ name, register }) => intervals.some((one) => (register ? `${name}_mark` : `${name}_mean`) in one));

/** What steps are drawn through: the begin of each interval, and the end of one that has no known neighbour after it. */
export function pointsOf(shown) {
  return shown.flatMap((one, place) => {
    const next = shown[place + 1], last = one.value !== null && (!next || next.value === null);
    return [{ at: one.start, one }, ...(last ? [{ at: next ? one.end - 1 : one.end, one }] : [])];
  });
}

/** Neighbours of one mark that is not "measured", together. */
export function runs(shown) {
  const found = [];
  for (const { start, end, mark } of shown) {
    const last = found.at(-1);
    if (mark === "measured") continue;
    if (last && last.mark === mark && last.end === start) last.end = end;
    else found.push({ mark, start, end });
  }
  return found;
}

/** How many intervals have which mark. */
export function counts(shown) {
  const found = Object.fromEntries(MARKS.map((mark) => [mark, 0]));
  for (const { mark } of shown) found[mark] += 1;
  return found;
}

/** The same in words. */
export const listed = (many) => MARKS.filter((mark) => many[mark]).map((mark) => `${many[mark]} ${mark}`).join(", ");

/** Energy of all, null if nothing is known; and the interval of the largest mean power, the earliest of equal ones. */
export function summed(shown) {
  const known = shown.filter(({ value }) => value !== null);
  const energy = known.some((one) => one.energy !== null) ? known.reduce((sum, one) => sum + (one.energy ?? 0), 0) : null;
  return { energy, most: known.reduce((most, one) => (most && most.value >= one.value ? most : one), null) };
}

/** From when to when which tariff is in force, until `end`. */
export function bands(changes, end) {
  return changes.map(({ at, tariff, name }, place) => ({
    start: Date.parse(at), end: place + 1 < changes.length ? Date.parse(changes[place + 1].at) : end, tariff, name,
  }));
}

/** The band in which `ms` is; `found` are by time. */
export function bandAt(found, ms) {
  let low = 0, high = found.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (found[middle].start <= ms) low = middle + 1;
    else high = middle;
  }
  const band = found[low - 1];
  return band && ms < band.end ? band : undefined;
}

/**
 * Places in a month's carpet: the number of the day, the minute that the clock shows, and which of `of` intervals with
 * this minute it is (an hour that the clock shows twice). `days` are begins of days.
 */
export function carpet(shown, span, calendar) {
  const days = [];
  for (let at = span.start; at < span.end; at = calendar.span("day", at).end) days.push(at);
  const cells = [], places = new Map();
  let day = 0;
  for (const one of shown) {
    if (one.start < span.start || one.start >= span.end) continue;
    while (day + 1 < days.length && one.start >= days[day + 1]) day += 1;
    const minute = calendar.minute(one.start), key = `${day} ${minute}`;
    const cell = { ...one, day, minute, minutes: (one.end - one.start) / MINUTE };
    if (places.has(key)) places.get(key).push(cell);
    else places.set(key, [cell]);
    cells.push(cell);
  }
  for (const same of places.values()) same.forEach((cell, turn) => Object.assign(cell, { turn, of: same.length }));
  return { days, cells };
}

/** Between two colours of CSS (#rrggbb), or three. */
export function mixed(colours, share) {
  const at = Math.min(0.9999, Math.max(0, share)) * (colours.length - 1), place = Math.floor(at), part = at - place;
  const [from, to] = [colours[place], colours[place + 1]].map((one) => [1, 3, 5].map((digit) => parseInt(one.slice(digit, digit + 2), 16)));
  return `rgb(${from.map((value, one) => Math.round(value + part * (to[one] - value))).join(" ")})`;
}
