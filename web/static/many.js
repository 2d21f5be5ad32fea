// Many meters at once: chosen in the table, switched one after the other, each with its outcome.
import { get } from "./live.js";
import { follow, order, stateOf, what } from "./orders.js";
import { pause, seen } from "./renew.js";
import { ofHouse } from "./words.js";

const NAMED = 20; // in the question; the others are counted
const FOLLOW_MS = 500, AT_ONCE = 20;
const $ = (id) => document.getElementById(id);

export class Many {
  constructor() {
    this.chosen = new Set();
    this.running = false;
  }

  /** The table's `list` and what the page has for it; nothing for a viewer who may not switch. */
  begin(list) {
    this.list = list;
    if (!$("picked")) return;
    list.body.addEventListener("change", ({ target }) => {
      this.mark(target.closest("tr").dataset.meter, target.checked);
      this.count();
    });
    $("pick-all").addEventListener("change", ({ target }) => this.all(target.checked));
    $("picked-none").addEventListener("click", () => this.all(false));
    $("rate").addEventListener("input", () => this.estimate());
    $("orders-stop").addEventListener("click", () => { this.running = false; });
    for (const button of $("picked").querySelectorAll("[data-order]")) button.addEventListener("click", () => this.question(button.dataset.order));
    $("confirm").addEventListener("close", () => { if ($("confirm").returnValue === "yes") this.run(this.wanted, [...this.chosen]); });
    addEventListener("beforeunload", (event) => { if (this.running) event.preventDefault(); });
  }

  mark(id, on) {
    if (on) this.chosen.add(id);
    else this.chosen.delete(id);
  }

  async all(on) {
    try {
      if (on) for (const id of await this.list.all()) this.chosen.add(id);
      else this.chosen.clear();
    } catch { /* no connection: what was chosen stays */ }
    for (const [id, row] of this.list.rows) row.querySelector(".pick input").checked = this.chosen.has(id);
    this.count();
  }

  count() {
    const { size } = this.chosen, all = $("pick-all");
    $("picked").hidden = size === 0;
    $("picked-count").textContent = `${size} ${size === 1 ? "meter" : "meters"} chosen`;
    all.checked = size > 0 && size >= this.list.count;
    all.indeterminate = size > 0 && !all.checked;
  }

  name(id) {
    return this.list.names.get(id) || id;
  }

  /** Names of those that were never seen. */
  async learn(ids) {
    const unknown = ids.filter((id) => !this.list.names.has(id));
    if (!unknown.length) return;
    const { meters } = await get(`meters/latest?${new URLSearchParams(unknown.map((id) => ["meter", id]))}`);
    for (const { meter_id, name } of meters) this.list.names.set(meter_id, name);
  }

  async question(position) {
    if (this.running) return;
    this.wanted = position;
    const some = [...this.chosen].slice(0, NAMED), more = this.chosen.size - some.length;
    await this.learn(some).catch(() => {});
    $("confirm-title").textContent = `${what(position)} ${this.chosen.size} ${this.chosen.size === 1 ? "meter" : "meters"}?`;
    $("confirm-text").textContent = position === "open"
      ? "These houses will be without power until they are switched on again:"
      : "These houses will have power. Make sure that nobody works on their installations:";
    $("confirm-list").replaceChildren(...some.map((id) => item(this.name(id))), ...(more ? [item(`and ${more} more`)] : []));
    $("confirm-yes").textContent = what(position);
    this.estimate();
    $("confirm").returnValue = "no";
    $("confirm").showModal();
  }

  get rate() {
    return Math.min(2, Math.max(0.1, Number($("rate").value) || 2));
  }

  estimate() {
    const seconds = Math.ceil(this.chosen.size / this.rate);
    $("confirm-time").textContent = `It takes about ${seconds < 120 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`}, while this page is open and seen.`;
  }

  /** One order after the other: a neighbourhood that is switched at once would draw its inrush current at once. */
  async run(position, ids) {
    this.running = true;
    this.open = new Map(); // command_id → row
    this.counts = {};
    $("orders").hidden = $("orders-stop").hidden = false;
    $("outcomes").replaceChildren();
    const following = this.follow();
    let due = performance.now(), at = 0;
    for (; at < ids.length && this.running; at += 1) {
      await pause(Math.max(0, due - performance.now()));
      await seen();
      if (!this.running) break;
      this.say(at, ids.length);
      await this.learn([ids[at]]).catch(() => {});
      if (await this.one(ids[at], position)) due = Math.max(due, performance.now()) + 1000 / this.rate;
    }
    this.unsent = ids.length - at;
    this.running = false;
    await following;
    $("orders-stop").hidden = true;
    this.say(at, ids.length);
  }

  /** Whether it was sent: what is refused costs no inrush, and no time. */
  async one(id, position) {
    const row = outcome(this.name(id), position);
    $("outcomes").append(row);
    try {
      for (;;) {
        const { command, problem, wait } = await order(id, position);
        if (command) return this.tell(row, command);
        if (!wait) return this.put(row, "Refused", "refused", problem.detail);
        this.put(row, "Waiting", "sent", problem.detail);
        await pause(1000 * wait);
        if (!this.running) return this.put(row, "Not sent", "refused", problem.detail);
      }
    } catch (error) {
      this.running = false; // whoever does not hear what became of one does not order more
      return this.put(row, "Not known", "failed", error.name === "TimeoutError" ? "no answer" : error.message);
    }
  }

  /** Write a command's state; whether it was sent. */
  tell(row, command) {
    const [words, state] = stateOf(command, $("orders").dataset.lost);
    if (words === "Not known") this.running = false;
    this.put(row, words, state, ofHouse(command.reason));
    if (command.final) this.open.delete(command.command_id);
    else this.open.set(command.command_id, row);
    return command.state !== "refused";
  }

  put(row, words, state, reason) {
    const [, , told, why] = row.cells, span = told.firstElementChild;
    [span.textContent, span.className, why.textContent] = [words, `outcome ${state}`, reason];
    return false;
  }

  /** Ask for those that have no end yet. */
  async follow() {
    while (this.running || this.open.size) {
      await pause(FOLLOW_MS);
      for (const [id, row] of [...this.open].slice(0, AT_ONCE)) {
        try {
          const command = await follow(id, 0);
          if (command) this.tell(row, command);
        } catch { /* no connection: again in a moment */ }
      }
    }
  }

  say(sent, of) {
    const counts = new Map();
    for (const row of $("outcomes").rows) {
      const words = row.cells[2].textContent.replace(".", "").toLowerCase();
      counts.set(words, (counts.get(words) ?? 0) + 1);
    }
    const told = [...counts].map(([words, count]) => `${count} ${words}`);
    if (!this.running && this.unsent) told.push(`${this.unsent} not sent`);
    $("orders-words").textContent = `${sent} of ${of}${told.length ? `: ${told.join(", ")}` : ""}.`;
  }
}

function item(text) {
  const element = document.createElement("li"), name = document.createElement("bdi");
  name.textContent = text;
  element.append(name);
  return element;
}

function outcome(name, position) {
  const row = document.createElement("tr");
  for (const text of [name, what(position).toLowerCase(), "", ""]) {
    const cell = row.insertCell(), inner = document.createElement(text === "" ? "span" : "bdi");
    inner.textContent = text;
    cell.append(inner);
  }
  return row;
}
