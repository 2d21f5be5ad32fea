// The table of meters: of ten thousand rows there are only those that are seen, and some beside them.
import { get, placed, showMeter } from "./live.js";

const MARGIN = 15, STEP = 10; // rows beside those that are seen, and that come and go together
const MOST = 150; // rows: a stream may name 200 meters
const FETCH_MS = 60, SETTLED_MS = 300, AGAIN_MS = 2000;
const UNKNOWN = "…";

export class List {
  /** `query` names what is listed; `moved` is called when other rows are there; `marked` says whether one is chosen. */
  constructor({ query, moved, marked }) {
    Object.assign(this, { query, moved, marked, pool: [], names: new Map(), whole: false });
    this.table = document.getElementById("table");
    this.body = document.getElementById("meters");
    this.spaces = ["above", "below"].map((id) => document.querySelector(`#${id} td`));
    for (const space of this.spaces) space.colSpan = this.table.tHead.rows[0].cells.length;
    this.instead = JSON.parse(this.table.dataset.instead);
    this.model = document.getElementById("row").content.firstElementChild;
    this.take([...this.body.querySelectorAll("tr[data-meter]")].map((row) => row.dataset.meter), this.found);
    for (const row of this.rows.values()) row.dataset.label = JSON.stringify(JSON.parse(row.dataset.label));
    const soon = () => { this.frame ??= requestAnimationFrame(() => { this.frame = undefined; this.place(); }); };
    addEventListener("scroll", soon, { passive: true });
    addEventListener("resize", () => { this.measured = 0; soon(); });
    this.place();
  }

  /** How many there are, as the page says. */
  get found() {
    return JSON.parse(document.getElementById("found").dataset.totals)[1];
  }

  get rows() {
    return new Map([...this.body.children].map((row) => [row.dataset.meter, row]));
  }

  /** The row of a meter, if it is there. */
  row(id) {
    return this.body.querySelector(`tr[data-meter="${CSS.escape(id)}"]`);
  }

  take(order, count = order.length) {
    this.order = order;
    this.count = Math.max(count, order.length);
    this.whole = this.count === order.length;
    this.table.setAttribute("aria-rowcount", this.count + 1);
  }

  /** All meter_ids that are found, in their order. */
  async all() {
    this.take((await get(`meters/order?${this.query()}`)).meter_ids);
    return this.order;
  }

  /** The order may be another, and every value. */
  async renew() {
    await this.all();
    this.place(true);
    await this.fetch([...this.rows.keys()]);
  }

  /** Have the rows that are seen. */
  place(anew = false) {
    const head = this.table.tHead.getBoundingClientRect();
    this.measured ||= this.body.firstElementChild?.getBoundingClientRect().height;
    this.height = this.measured || 42;
    const first = Math.max(0, Math.floor(-head.bottom / this.height)), seen = Math.ceil(innerHeight / this.height);
    const from = Math.max(0, STEP * Math.floor((first - MARGIN) / STEP));
    const to = Math.min(this.count, from + MOST, STEP * Math.ceil((first + seen + MARGIN) / STEP));
    if (!this.whole && to > this.order.length) this.wholeSoon();
    if (!anew && from === this.from && to === this.to) return;
    [this.from, this.to] = [from, to];
    this.fill(this.order.slice(from, to));
    this.stretch();
  }

  stretch() {
    const [above, below] = this.spaces, filled = this.body.children.length;
    above.style.height = `${this.from * this.height}px`;
    below.style.height = `${Math.max(0, this.count - this.from - filled) * this.height}px`;
    [...this.body.children].forEach((row, place) => row.setAttribute("aria-rowindex", this.from + place + 2));
  }

  async wholeSoon() {
    if (this.asking) return;
    this.asking = true;
    try {
      await this.all();
      this.place(true);
    } catch {
      setTimeout(() => this.place(true), AGAIN_MS);
    } finally {
      this.asking = false;
    }
  }

  fill(ids) {
    const known = this.rows, wanted = new Set(ids), fresh = [];
    const gone = [...known.keys()].filter((id) => !wanted.has(id));
    for (const id of gone) {
      known.get(id).remove();
      this.pool.push(known.get(id));
    }
    let place = this.body.firstElementChild;
    for (const id of ids) {
      const own = known.get(id);
      if (own && own === place) { place = place.nextElementSibling; continue; }
      this.body.insertBefore(own ?? this.made(id), place);
      if (!own) fresh.push(id);
    }
    this.pool.length = Math.min(this.pool.length, MOST);
    if (fresh.length) this.fetchSoon();
    if (!fresh.length && !gone.length) return; // the stream has them all
    clearTimeout(this.settled);
    this.settled = setTimeout(() => this.moved(), SETTLED_MS);
  }

  /** A row of which nothing is known yet but, maybe, its name. */
  made(id) {
    const row = this.pool.pop() ?? this.model.cloneNode(true);
    row.dataset.key = row.dataset.meter = id;
    row.dataset.empty = "";
    row.querySelector("a").setAttribute("href", placed(`/meters/${id}`));
    this.write(row, { meter_id: id, name: this.names.get(id) ?? UNKNOWN, address_code: "", state: "", has_relay: false });
    return row;
  }

  fetchSoon() {
    clearTimeout(this.fetching);
    this.fetching = setTimeout(() => {
      const empty = [...this.body.querySelectorAll("tr[data-empty]")].map((row) => row.dataset.meter);
      if (empty.length) this.fetch(empty).catch(() => setTimeout(() => this.fetchSoon(), AGAIN_MS));
    }, FETCH_MS);
  }

  async fetch(ids) {
    if (!ids.length) return;
    const { meters } = await get(`meters/latest?${new URLSearchParams(ids.map((id) => ["meter", id]))}`);
    for (const meter of meters) {
      const row = this.row(meter.meter_id);
      if (row) this.show(row, meter, true);
    }
  }

  /** What is known of a meter. */
  show(row, meter, quiet = false) {
    delete row.dataset.empty;
    row.dataset.label = JSON.stringify([meter.name, meter.address_code]);
    this.write(row, meter, quiet);
  }

  write(row, meter, quiet = true) {
    this.names.set(meter.meter_id, meter.name);
    row.querySelector("bdi").textContent = meter.name || meter.meter_id;
    row.querySelector('[data-text="address_code"]').textContent = meter.address_code;
    for (const cell of row.querySelectorAll("td[data-column]")) this.column(cell, meter);
    const box = row.querySelector(".pick input");
    if (box) {
      box.checked = this.marked(meter.meter_id);
      box.setAttribute("aria-label", `Choose ${meter.name || meter.meter_id}`);
    }
    showMeter(row, meter, quiet);
  }

  /** A column shows another quantity of a meter that has no such one. */
  column(cell, meter) {
    const { column } = cell.dataset, [other, phase] = this.instead[column] ?? [];
    const instead = meter[column] === undefined && meter[other] !== undefined;
    cell.querySelector("[data-field]").dataset.field = instead ? other : column;
    cell.querySelector(".phase").textContent = instead ? phase : "";
  }
}
