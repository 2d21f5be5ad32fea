// Drawing with uPlot: the page's colours, axes as wide as their labels, bands, marks and shades.
import { DAY } from "./spans.js";

const AXIS = 48, DIGIT = 7, TICK = 18; // pixels
const MINUTE = 60000;
const HEIGHT = 240, NARROW = 260;
export const CURVES = ["--curve", "--curve-2", "--curve-3"]; // of three phases, each its own

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** As wide as the longest label. */
function wide(_, labels) {
  const lengths = (labels ?? []).map((label) => label?.length ?? 0);
  return Math.max(AXIS, TICK + DIGIT * Math.max(0, ...lengths));
}

/** Times of ticks as the viewer writes them; the day where it begins. */
function ticks(_, splits, __, ___, step) {
  const day = (at) => at.toLocaleDateString(undefined, step >= 28 * DAY ? { month: "short", year: "numeric" } : { day: "numeric", month: "short" });
  const clock = (at) => at.toLocaleTimeString(undefined, step < MINUTE ? { timeStyle: "medium" } : { hour: "2-digit", minute: "2-digit" });
  let before;
  return splits.map((split) => {
    const at = new Date(split), today = day(at), again = today === before;
    before = today;
    if (step >= DAY) return today;
    return again ? clock(at) : `${clock(at)}\n${today}`;
  });
}

const size = (element) => ({ width: Math.max(NARROW, element.clientWidth), height: HEIGHT });

const plots = new Map(); // element → what is drawn in it

/** Nothing is drawn in `element` any more: uPlot keeps each plot until it is told. */
export function erase(element) {
  plots.get(element)?.destroy();
  plots.delete(element);
  element.replaceChildren();
}

addEventListener("resize", () => { for (const [element, drawn] of plots) drawn.setSize(size(element)); });

/** The plot of `data` in `element`, in place of the one before; `more` are options of uPlot. */
export function plot(element, data, { series, axes = [{}, {}], ...more }) {
  const axis = () => ({ stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 } });
  erase(element);
  plots.set(element, new uPlot({
    ...size(element), ms: 1, legend: { show: false }, series: [{}, ...series],
    axes: [{ ...axis(), values: ticks, space: 70, ...axes[0] }, { ...axis(), size: wide, ...axes[1] },
      ...axes.slice(2).map((other) => ({ ...axis(), size: wide, side: 1, ...other, grid: { show: false } }))], ...more,
  }, data, element));
  return plots.get(element);
}

/** Bars stand on zero. */
export const FROM_ZERO = { range: (_, __, most) => [0, most || 1] };

/** Of what may be below zero, too; zero is there, so that two scales can be compared. */
export const WITH_ZERO = { range: (_, least, most) => [1.05 * Math.min(0, least), 1.05 * Math.max(0, most) || 1] };

export const line = (name, more = {}) => ({ stroke: colour(name), width: 1.5, spanGaps: false, points: { show: false }, ...more });
export const steps = (name, more = {}) => line(name, { paths: uPlot.paths.stepped({ align: 1 }), ...more });
export const bars = (name) => ({ paths: uPlot.paths.bars({ size: [0.7, 40] }), stroke: colour(name), fill: colour(name), points: { show: false } });

/** Draw behind the curves: each of `areas` from one time to another, in a colour. */
export function shade(drawn, areas, name) {
  const { ctx, bbox } = drawn;
  ctx.save();
  ctx.fillStyle = colour(name);
  for (const [from, to] of areas) {
    const left = drawn.valToPos(from, "x", true), right = drawn.valToPos(to, "x", true);
    const begin = Math.max(bbox.left, left), end = Math.min(bbox.left + bbox.width, Math.max(right, left + 2));
    if (end > begin) ctx.fillRect(begin, bbox.top, end - begin, bbox.height);
  }
  ctx.restore();
}

/** Horizontal lines, such as limits. */
export function level(drawn, values, name) {
  const { ctx, bbox } = drawn;
  ctx.save();
  ctx.strokeStyle = colour(name);
  ctx.setLineDash([6, 4]);
  for (const value of values) {
    const at = drawn.valToPos(value, "y", true);
    ctx.beginPath();
    ctx.moveTo(bbox.left, at);
    ctx.lineTo(bbox.left + bbox.width, at);
    ctx.stroke();
  }
  ctx.restore();
}

/** A vertical line with a word at each of `marks`, [time, word]. */
export function mark(drawn, marks, name) {
  const { ctx, bbox } = drawn;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour(name);
  ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.setLineDash([]); // uPlot leaves that of its last curve
  for (const [at, word] of marks) {
    const left = drawn.valToPos(at, "x", true);
    if (left < bbox.left || left > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(left, bbox.top);
    ctx.lineTo(left, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillText(word, left + 3 * devicePixelRatio, bbox.top + 12 * devicePixelRatio);
  }
  ctx.restore();
}

/** What is drawn as a picture on the page's ground, under its title. */
export function picture(drawn, title) {
  const from = drawn.ctx.canvas, head = 28 * devicePixelRatio;
  const canvas = document.createElement("canvas"), ctx = canvas.getContext("2d");
  Object.assign(canvas, { width: from.width, height: from.height + head });
  ctx.fillStyle = colour("--ground");
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.fillStyle = colour("--ink");
  ctx.font = `${14 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.fillText(title, 8 * devicePixelRatio, 19 * devicePixelRatio, canvas.width - 16 * devicePixelRatio);
  ctx.drawImage(from, 0, head);
  return new Promise((done) => canvas.toBlob(done));
}
