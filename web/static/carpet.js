// A month as a carpet: a column for each day, time of day downwards, a colour for each value; marks are patterns.
import { LETTERS, mixed } from "./intervals.js";
import { colour } from "./plot.js";

const LEFT = 44, BOTTOM = 20, TOP = 2, HEIGHT = 400; // pixels
const DAY_MINUTES = 1440;
const HEAT = ["--heat-0", "--heat-1", "--heat-2"];

export class Carpet {
  /** `told` is called with the cell that is looked at, `opened` with one that is chosen. */
  constructor(element, { told, opened }) {
    Object.assign(this, { element, canvas: element.querySelector("canvas"), told, opened, cells: [], days: [], at: null });
    addEventListener("resize", () => this.draw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    element.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("click", (event) => this.look(this.under(event)));
    this.canvas.addEventListener("dblclick", (event) => { const cell = this.under(event); if (cell) opened(cell); });
  }

  show({ days, cells }, calendar) {
    Object.assign(this, { days, cells, calendar, at: null });
    const values = cells.map(({ value }) => value).filter((value) => value !== null);
    this.least = values.reduce((least, value) => Math.min(least, value), 0);
    this.most = values.reduce((most, value) => Math.max(most, value), this.least + 1e-9);
    this.draw();
  }

  look(cell) {
    if (!cell) return;
    this.at = cell;
    this.told(cell);
    this.draw();
  }

  /** Left and right: the days; up and down: the time; Home and End: of the day. */
  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], PageUp: [0, -8], PageDown: [0, 8] }[event.key];
    const ends = { Home: 0, End: -1 }[event.key];
    if (event.key === "Enter" && this.at) this.opened(this.at);
    else if (steps || ends !== undefined) this.look(this.at ? this.beside(steps, ends) : this.cells[0]);
    else return;
    event.preventDefault();
  }

  beside(steps, end) {
    const of = (day) => this.cells.filter((cell) => cell.day === day), here = of(this.at.day);
    if (!steps) return here.at(end);
    if (steps[1]) return here[Math.min(here.length - 1, Math.max(0, here.indexOf(this.at) + steps[1]))];
    for (let day = this.at.day + steps[0]; day >= 0 && day < this.days.length; day += steps[0]) {
      const other = of(day);
      if (other.length) return other.findLast((cell) => cell.minute <= this.at.minute && cell.turn <= this.at.turn) ?? other[0];
    }
    return this.at;
  }

  under({ offsetX, offsetY }) {
    const { width, height } = this.size;
    const x = (offsetX - LEFT) / width, minute = (offsetY - TOP) / height * DAY_MINUTES;
    return this.cells.find((cell) => cell.minute <= minute && minute < cell.minute + cell.minutes
      && cell.day + cell.turn / cell.of <= x && x < cell.day + (cell.turn + 1) / cell.of);
  }

  /** Of a day and of all of a day. */
  get size() {
    return { width: (this.canvas.clientWidth - LEFT) / Math.max(1, this.days.length), height: HEIGHT - TOP - BOTTOM };
  }

  place(cell) {
    const { width, height } = this.size, exactly = (minute) => Math.round((TOP + minute / DAY_MINUTES * height) * devicePixelRatio) / devicePixelRatio;
    const top = exactly(cell.minute);
    return [LEFT + width * (cell.day + cell.turn / cell.of), top, width / cell.of, exactly(cell.minute + cell.minutes) - top];
  }

  draw() {
    const scale = devicePixelRatio, ctx = this.canvas.getContext("2d");
    Object.assign(this.canvas, { width: Math.round(this.canvas.clientWidth * scale), height: HEIGHT * scale });
    ctx.scale(scale, scale);
    if (!this.days.length) return;
    this.axes(ctx);
    const heat = HEAT.map(colour), [ink, ground, outage, bad] = ["--ink", "--ground", "--outage", "--bad"].map(colour);
    const gap = this.size.width > 6 ? 1 : 0;
    for (const cell of this.cells) {
      const [x, y, width, height] = this.place(cell), share = (cell.value - this.least) / (this.most - this.least);
      ctx.fillStyle = cell.value === null ? outage : mixed(heat, share);
      ctx.fillRect(x, y, width - gap, height);
      ctx.strokeStyle = ctx.fillStyle = cell.value === null ? bad : share > 0.5 ? ground : ink;
      hatch(ctx, cell.mark, x, y, width - gap, height);
    }
    if (!this.at) return;
    ctx.lineWidth = 2;
    ctx.strokeStyle = colour("--mark");
    const [x, y, width, height] = this.place(this.at);
    ctx.strokeRect(x - 1, y - 1, width + 2, height + 2);
  }

  axes(ctx) {
    const { width, height } = this.size;
    ctx.fillStyle = ctx.strokeStyle = colour("--faint");
    ctx.font = "12px system-ui, sans-serif";
    ctx.textBaseline = "middle";
    for (let hour = 0; hour <= 24; hour += 6) {
      const y = TOP + hour / 24 * height;
      ctx.fillText(`${String(hour).padStart(2, "0")}:00`, 2, Math.min(TOP + height - 6, Math.max(8, y)));
      ctx.fillRect(LEFT - 4, y, 4, 1);
    }
    ctx.textAlign = "center";
    const every = width >= 20 ? 1 : width >= 10 ? 2 : 5;
    this.days.forEach((day, place) => {
      if (place % every === 0) ctx.fillText(String(Number(this.calendar.date(day).slice(8))), LEFT + width * (place + 0.5), HEIGHT - BOTTOM / 2);
    });
    ctx.textAlign = "start";
  }
}

const APART = 5; // of the pattern's lines, which go on from cell to cell

/** The pattern of a mark: lines for interpolated, crossed ones for estimated, a dot for missing. */
export function hatch(ctx, mark, x, y, width, height) {
  if (mark === "measured") return;
  if (mark === "missing") return void ctx.fillRect(x + width / 2 - 1, y + height / 2 - 0.5, 2, 1);
  const first = (at) => APART * Math.ceil(at / APART);
  ctx.save();
  ctx.beginPath();
  ctx.rect(x, y, width, height);
  ctx.clip();
  ctx.beginPath();
  ctx.lineWidth = 1;
  for (let sum = first(x + y); sum < x + width + y + height; sum += APART) {
    ctx.moveTo(sum - y, y);
    ctx.lineTo(sum - y - height, y + height);
  }
  for (let apart = first(x - y - height); mark === "estimated" && apart < x + width - y; apart += APART) {
    ctx.moveTo(apart + y, y);
    ctx.lineTo(apart + y + height, y + height);
  }
  ctx.stroke();
  ctx.restore();
}

/** Rows of a table: the time of day, then of each day what it has at this time; twice of an hour that is shown twice. */
export function tableOf({ days, cells }, write) {
  const rows = new Map();
  for (const cell of cells) {
    if (!rows.has(cell.minute)) rows.set(cell.minute, days.map(() => []));
    rows.get(cell.minute)[cell.day].push(`${write(cell.value)}${LETTERS[cell.mark]}`);
  }
  const clock = (minute) => [Math.floor(minute / 60), minute % 60].map((part) => String(part).padStart(2, "0")).join(":");
  return [...rows].sort(([one], [other]) => one - other).map(([minute, values]) => [clock(minute), ...values.map((told) => told.join(" / "))]);
}
