// Spans of the viewer's calendar: days, weeks, months and years begin where they do in the viewer's zone.

export const HOUR = 3600000, DAY = 24 * HOUR;

const BEGINS = {
  day: (at) => new Date(at.getFullYear(), at.getMonth(), at.getDate()),
  week: (at) => new Date(at.getFullYear(), at.getMonth(), at.getDate() - ((at.getDay() + 6) % 7)),
  month: (at) => new Date(at.getFullYear(), at.getMonth(), 1),
  year: (at) => new Date(at.getFullYear(), 0, 1),
};
const STEPS = {
  day: (at, by) => new Date(at.getFullYear(), at.getMonth(), at.getDate() + by),
  week: (at, by) => new Date(at.getFullYear(), at.getMonth(), at.getDate() + 7 * by),
  month: (at, by) => new Date(at.getFullYear(), at.getMonth() + by, 1),
  year: (at, by) => new Date(at.getFullYear() + by, 0, 1),
};

/** Where the day, week, month or year begins that `ms` is in. */
export const begin = (kind, ms) => BEGINS[kind](new Date(ms)).getTime();

/** The day, week, month or year that `ms` is in; `last`: the 24 hours before it. */
export function spanOf(kind, ms) {
  if (kind === "last") return { kind, start: ms - DAY, end: ms };
  const start = BEGINS[kind](new Date(ms));
  return { kind, start: start.getTime(), end: STEPS[kind](start, 1).getTime() };
}

/** From one moment to another. */
export const between = (start, end) => ({ kind: "range", start: Math.round(start), end: Math.round(end) });

/** The span `by` such spans later; earlier below zero. */
export function later({ kind, start, end }, by) {
  if (!STEPS[kind]) return between(start + by * (end - start), end + by * (end - start));
  return spanOf(kind, STEPS[kind](new Date(start), by).getTime());
}

/** A moment as the viewer writes it, to the minute. */
export const moment = (ms) => new Date(ms).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

/** What a span is called. */
export function title({ kind, start, end }) {
  const write = (ms, options) => new Date(ms).toLocaleDateString(undefined, options);
  if (kind === "last") return "of the last 24 hours";
  if (kind === "day") return `of ${write(start, { weekday: "short", day: "numeric", month: "long", year: "numeric" })}`;
  if (kind === "month") return `of ${write(start, { month: "long", year: "numeric" })}`;
  if (kind === "year") return `of ${new Date(start).getFullYear()}`;
  if (kind === "week") return `of the week from ${write(start, { dateStyle: "medium" })}`;
  return `from ${moment(start)} to ${moment(end)}`;
}

/** The date of `ms` as an input of dates has it, and back to its midnight. */
export function dateOf(ms) {
  const at = new Date(ms), two = (number) => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}
export const midnightOf = (date) => new Date(`${date}T00:00`).getTime();

/** Hours by the day or month that they begin in: its begin → their places. */
export function grouped(hours, kind) {
  const groups = new Map();
  hours.forEach((hour, place) => {
    const at = begin(kind, hour);
    if (groups.has(at)) groups.get(at).push(place);
    else groups.set(at, [place]);
  });
  return groups;
}
