// What is drawn: a meter's readings, hours or days of some quantities, with what is missing in them.
import { get } from "./live.js";
import { DAY, grouped, HOUR } from "./spans.js";

const RAW_MS = 49 * HOUR; // up to here each reading, beyond hours
const HOURS_MS = 62 * DAY; // up to here hours, beyond days
const OWN_DAYS_MS = 1100 * DAY; // beyond, days are those of UTC: the hours would be too many
const MOST_POINTS = 4000; // more than a screen has pixels: thinned to the extremes of each slot

/** The query of a meter's readings: these quantities, from `start` to `end` in ms. */
export function wanted(names, { start, end }, resolution) {
  const query = new URLSearchParams(names.map((name) => ["quantity", name]));
  query.set("start", new Date(start).toISOString());
  query.set("end", new Date(end).toISOString());
  query.set("resolution", resolution);
  return query;
}

async function columns(id, names, span, resolution) {
  const query = wanted(names, span, resolution);
  query.set("layout", "columns");
  return (await get(`meters/${id}/readings?${query}`)).columns;
}

/** Of which resolution a span is drawn. */
export function resolutionOf({ start, end }) {
  if (end - start <= RAW_MS) return "raw";
  return end - start <= OWN_DAYS_MS ? "hour" : "day";
}

/**
 * Times, and for each quantity its values, lowest and highest; `gaps` are [from, to] without readings, `doubtful` the
 * times of readings whose meter did not know the time, or of hours with steps of the counter that are left out.
 */
export async function load(id, names, span) {
  const resolution = resolutionOf(span);
  const told = await columns(id, names, span, resolution);
  if (resolution === "raw") return ofReadings(told, names, span);
  const rolled = resolution === "hour" && span.end - span.start > HOURS_MS ? ofDays(told, names) : ofHours(told, names);
  const interval = resolution === "hour" && span.end - span.start <= HOURS_MS ? HOUR : DAY;
  return { ...withGaps(rolled, interval, 1.5), resolution };
}

function ofReadings(told, names, span) {
  const times = told.ts, none = times.map(() => null);
  const distances = times.slice(1).map((at, place) => at - times[place]).sort((one, other) => one - other);
  const between = distances[Math.floor(distances.length / 2)] ?? 1000;
  const curves = names.map((name) => ({ name, values: told[name] ?? none }));
  const doubtful = times.filter((_, place) => told.clock_synchronized?.[place] === false);
  const thin = thinned({ times, curves });
  const interval = between * Math.max(1, times.length / Math.max(1, thin.times.length));
  return { ...withGaps({ ...thin, doubtful }, interval, 5, span), resolution: "raw" };
}

function ofHours(told, names) {
  const none = told.start.map(() => null), of = (name, what) => told[`${name}_${what}`] ?? none;
  const curves = names.map((name) => ({ name, values: of(name, "mean"), low: of(name, "min"), high: of(name, "max") }));
  return { times: told.start, curves, doubtful: told.start.filter((_, place) => told.energy_doubtful[place] > 0) };
}

/** The hours together as days of the viewer's zone. */
function ofDays(told, names) {
  const days = [...grouped(told.start, "day")], hours = ofHours(told, names);
  const curves = hours.curves.map(({ name, values, low, high }) => {
    const counts = told[`${name}_count`] ?? [];
    const known = days.map(([, places]) => places.filter((place) => counts[place] > 0));
    const over = (choose, from) => known.map((places) => (places.length ? choose(...places.map((one) => from[one])) : null));
    const mean = known.map((places) => {
      const count = places.reduce((sum, place) => sum + counts[place], 0);
      return count ? places.reduce((sum, place) => sum + counts[place] * values[place], 0) / count : null;
    });
    return { name, values: mean, low: over(Math.min, low), high: over(Math.max, high) };
  });
  const doubtful = days.filter(([, places]) => places.some((place) => told.energy_doubtful[place] > 0)).map(([day]) => day);
  return { times: days.map(([day]) => day), curves, doubtful };
}

/** At most MOST_POINTS: of each slot the lowest and the highest of each curve. */
function thinned({ times, curves }) {
  if (times.length <= MOST_POINTS) return { times, curves };
  const kept = [], step = Math.ceil((2 * curves.length * times.length) / MOST_POINTS);
  for (let from = 0; from < times.length; from += step) {
    const places = new Set();
    for (const { values } of curves) {
      let low = from, high = from;
      for (let at = from; at < Math.min(from + step, times.length); at += 1) {
        if (values[at] < values[low]) low = at;
        if (values[at] > values[high]) high = at;
      }
      places.add(low).add(high);
    }
    kept.push(...[...places].sort((one, other) => one - other));
  }
  const pick = (values) => kept.map((place) => values[place]);
  return { times: pick(times), curves: curves.map((curve) => ({ ...curve, values: pick(curve.values) })) };
}

/** Null where nothing was measured for `factor` intervals, so that no line bridges it. */
function withGaps({ times, curves, doubtful }, interval, factor, span) {
  const drawn = { times: [], curves: curves.map((curve) => ({ ...curve, values: [], low: curve.low && [], high: curve.high && [] })) };
  const series = { ...drawn, doubtful, interval, factor, rolled: !span, gaps: [] };
  times.forEach((at, place) => {
    push(series, at, curves.map(({ values }) => values[place]), curves.map(({ low, high }) => [low?.[place], high?.[place]]));
  });
  if (span && times.length && span.end - times.at(-1) > factor * interval) series.gaps.push([times.at(-1), span.end]);
  return series;
}

/** Add a point to each curve; null before it when the last one is far away. */
export function push(series, at, values, bands = []) {
  const before = series.times.at(-1);
  if (before !== undefined && at - before > series.factor * series.interval) {
    series.gaps.push([series.rolled ? before + series.interval : before, at]);
    put(series, before + series.interval, values.map(() => null), []);
  }
  put(series, at, values, bands);
}

function put({ times, curves }, at, values, bands) {
  times.push(at);
  curves.forEach((curve, place) => {
    curve.values.push(values[place]);
    curve.low?.push(bands[place]?.[0] ?? null);
    curve.high?.push(bands[place]?.[1] ?? null);
  });
}

/** Wh of each hour, day or month of the viewer's zone in the span: its begins and their Wh. */
export async function energy(id, span, kind) {
  const told = await columns(id, ["none"], span, "hour"); // of no quantity: the energy comes always
  if (kind === "hour") return [told.start, told.energy_used];
  const groups = [...grouped(told.start, kind)];
  const sums = groups.map(([, places]) => {
    const known = places.map((place) => told.energy_used[place]).filter((wh) => wh !== null);
    return known.length ? known.reduce((sum, wh) => sum + wh, 0) : null;
  });
  return [groups.map(([start]) => start), sums];
}
