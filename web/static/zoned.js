// Days, weeks and months of a named time zone: a day has 23 or 25 hours where the clock changes.

export const MINUTE = 60000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const QUARTER = 15 * MINUTE;

/** The calendar of an IANA zone; an empty name is the viewer's. */
export function calendarOf(name) {
  const timeZone = name || Intl.DateTimeFormat().resolvedOptions().timeZone;
  const fields = Object.fromEntries(["year", "month", "day", "hour", "minute", "second"].map((field) => [field, "numeric"]));
  const format = new Intl.DateTimeFormat("en-GB", { timeZone, hourCycle: "h23", calendar: "iso8601", ...fields });
  const offsets = new Map(); // of each quarter of an hour: clocks change where one begins
  function offset(ms) {
    const at = Math.floor(ms / QUARTER) * QUARTER;
    if (!offsets.has(at)) {
      const { year, month, day, hour, minute, second } = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, Number(value)]));
      offsets.set(at, Date.UTC(year, month - 1, day, hour, minute, second) - at);
    }
    return offsets.get(at);
  }
  /** What the clocks show at `ms`, as if it were UTC. */
  const wall = (ms) => ms + offset(ms);
  /** When the clocks show the midnight `shown` first; where they never do, when that day begins. */
  function midnight(shown) {
    const possible = [-DAY, 0, DAY].map((by) => shown - offset(shown + by)), right = possible.filter((ms) => wall(ms) === shown);
    return right.length ? Math.min(...right) : possible[0];
  }
  const begins = {
    day: (at) => [at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate()],
    week: (at) => [at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate() - ((at.getUTCDay() + 6) % 7)],
    month: (at) => [at.getUTCFullYear(), at.getUTCMonth(), 1],
  };
  const steps = { day: [0, 1], week: [0, 7], month: [1, 0] };
  /** The day, week or month that is `by` after the one in which `ms` is. */
  function span(kind, ms, by = 0) {
    const [year, month, day] = begins[kind](new Date(wall(ms))), [months, days] = steps[kind];
    const at = (count) => midnight(Date.UTC(year, month + count * months, day + count * days));
    return { kind, start: at(by), end: at(by + 1) };
  }
  const write = (options) => {
    const written = new Intl.DateTimeFormat(undefined, { timeZone, ...options });
    return (ms) => written.format(ms);
  };
  return {
    name: timeZone, span,
    /** From when to when, as the API asks for it. */
    query: ({ start, end }) => ({ start: new Date(start).toISOString(), end: new Date(end).toISOString(), time_zone: timeZone }),
    /** Name of the week (ISO 8601) such as 2026-W48. */
    week(ms) {
      const thursday = Date.UTC(...begins.week(new Date(wall(ms)))) + 3 * DAY, year = new Date(thursday).getUTCFullYear();
      return `${year}-W${String(1 + Math.floor((thursday - Date.UTC(year, 0, 1)) / (7 * DAY))).padStart(2, "0")}`;
    },
    /** Minutes of the day that the clocks show. */
    minute: (ms) => (((wall(ms) % DAY) + DAY) % DAY) / MINUTE,
    /** Whether the clocks change between two times. */
    changes: (from, to) => wall(to) - wall(from) !== to - from,
    date: (ms) => new Date(wall(ms)).toISOString().slice(0, 10),
    /** When a date such as 2026-11-23 begins; NaN for none. */
    of: (date) => (/^\d{4}-\d\d-\d\d$/.test(date) ? midnight(Date.parse(`${date}T00:00Z`)) : NaN),
    moment: write({ dateStyle: "medium", timeStyle: "short" }),
    exactly: write({ day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short" }),
    clock: write({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" }),
    day: write({ day: "numeric", month: "short" }),
    weekday: write({ weekday: "short", day: "numeric", month: "long", year: "numeric" }),
    month: write({ month: "long", year: "numeric" }),
  };
}
