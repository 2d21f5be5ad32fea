// The fleet: rows of meters and sums, kept as they are now.
import { List } from "./list.js";
import { listen } from "./live.js";
import { Many } from "./many.js";
import { renew, renewer } from "./renew.js";
import { total } from "./total.js";
import { shown } from "./words.js";

const SOON_MS = 1000, ORDER_MS = 10000, TOTAL_MS = 5 * 60000;
const ALL_CODES = "*";
const TOLD = ["alarms", "name", "address_code"]; // an event comes with what changes these orders; others change all the time
const asked = new URLSearchParams(location.search);
const chosen = {
  state: asked.get("state"), search: asked.get("search"), code: asked.get("address_code") ?? ALL_CODES,
  sort: asked.get("sort") ?? "alarms",
};
let totals;

/** What this page counts, as the server has written it. */
function look() {
  totals = JSON.parse(document.getElementById("found").dataset.totals);
}
look();

function sums(root, told) {
  for (const element of root.querySelectorAll("[data-sum]")) {
    element.textContent = shown(told[element.dataset.sum], Number(element.dataset.decimals ?? 0), element.dataset.unit);
  }
}

/** How many meters there are, how many of them are chosen here, and their address codes, as `look` finds them. */
function counted(told) {
  const part = chosen.code === ALL_CODES ? told : told.address_codes.find((one) => one.address_code === chosen.code);
  const found = chosen.search ? totals[1] : part?.[chosen.state || "meters"] ?? 0; // who searches asks again anyway
  return [told.meters, found, told.address_codes.map((one) => one.address_code)];
}

/** What is listed, as the API asks for it. */
function listed() {
  const query = new URLSearchParams({ sort: chosen.sort });
  if (chosen.state) query.set("state", chosen.state);
  if (chosen.search) query.set("search", chosen.search);
  if (chosen.code !== ALL_CODES) query.set("address_code", chosen.code);
  return query;
}

const many = new Many();
const list = new List({ query: listed, moved: () => stream.reopen(), marked: (id) => many.chosen.has(id) });
many.begin(list);

const query = () => {
  const rows = [...list.rows.keys()].map((id) => ["meter", id]);
  const none = "00000000-0000-0000-0000-000000000000"; // an empty page wants no meter, and not all
  return rows.length ? rows : [["meter", none]];
};

const stream = listen(query, {
  meter(meter) {
    const row = list.row(meter.meter_id);
    if (!row) return;
    const before = row.dataset.label, empty = row.dataset.empty !== undefined;
    list.show(row, meter);
    if (!empty && (row.dataset.label !== before || (chosen.state && meter.state !== chosen.state))) soon();
  },
  summary(told) {
    sums(document.getElementById("summary"), told);
    for (const code of told.address_codes) {
      const row = document.querySelector(`#codes tr[data-code="${CSS.escape(code.address_code)}"]`);
      if (row) sums(row, code);
    }
    if (JSON.stringify(counted(told)) !== JSON.stringify(totals)) soon(); // who it is, is for the server to say
  },
  alarms() {
    if (chosen.sort === "alarms") orderSoon(); // of a meter that is not seen, too
  },
  async reset() {
    const since = await renew("summary", "codes", "found");
    look();
    await list.renew();
    return since;
  },
});
const soon = renewer(SOON_MS, stream.reset), orderSoon = renewer(ORDER_MS, stream.reset);
if (chosen.search || !TOLD.includes(chosen.sort)) setInterval(soon, ORDER_MS);

const totalSoon = renewer(0, () => total().catch(() => {})); // the next time it may be had
totalSoon();
setInterval(totalSoon, TOTAL_MS);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", totalSoon);
