// Energy of all meters: each hour of today beside the same of yesterday, as far as the hours are summed up.
import { get, now } from "./live.js";
import { bars, erase, FROM_ZERO, line, plot } from "./plot.js";
import { HOUR, later, spanOf } from "./spans.js";
import { withUnit } from "./words.js";

const $ = (id) => document.getElementById(id);

const sum = (values) => values.reduce((all, value) => all + (value ?? 0), 0);
const energy = (wh) => withUnit(wh, 0, "Wh");

export async function total() {
  const today = spanOf("day", now()), yesterday = later(today, -1);
  const query = new URLSearchParams({ start: new Date(yesterday.start).toISOString(), end: new Date(today.end).toISOString() });
  const { columns } = await get(`energy/hours?${query}`);
  const hours = Math.max(1, Math.ceil((today.end - today.start) / HOUR));
  const of = ({ start, end }) => {
    const used = Array(hours).fill(null);
    columns.start.forEach((at, place) => { if (at >= start && at < end) used[Math.floor((at - start) / HOUR)] = columns.energy_used[place]; });
    return used;
  };
  const [own, before] = [of(today), of(yesterday)], known = own.findLastIndex((wh) => wh !== null) + 1;
  say(own, before, known, today.start);
  draw(own, before, Array.from({ length: hours }, (_, hour) => today.start + hour * HOUR));
}

function say(own, before, known, midnight) {
  const until = new Date(midnight + known * HOUR).toLocaleTimeString(undefined, { timeStyle: "short" });
  const told = known ? `Today until ${until}: ${energy(sum(own))}; yesterday until then ${energy(sum(before.slice(0, known)))}` : "No hour of today is summed up yet; yesterday";
  $("used-words").textContent = before.some((wh) => wh !== null) ? `${told}, in all ${energy(sum(before))}.` : known ? `${told.split(";")[0]}.` : "No hour is summed up yet.";
}

function draw(own, before, hours) {
  const empty = [...own, ...before].every((wh) => wh === null);
  $("used").hidden = $("used-keys").hidden = empty;
  if (empty) return erase($("used"));
  const kilo = (values) => values.map((wh) => (wh === null ? null : wh / 1000));
  plot($("used"), [hours, kilo(own), kilo(before)], {
    series: [bars("--curve"), line("--before", { width: 2.5, points: { show: true } })],
    scales: { x: { range: () => [hours[0] - HOUR / 2, hours.at(-1) + HOUR / 2] }, y: FROM_ZERO },
  });
}
