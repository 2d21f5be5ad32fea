// The fleet: rows of meters and sums, kept as they are now.
import { listen, showMeter, shown } from "./live.js";
import { renew, renewer } from "./renew.js";

const SOON_MS = 1000, SEARCH_MS = 10000;
const ALL_CODES = "*";
const asked = new URLSearchParams(location.search);
const chosen = {
  state: asked.get("state"), search: asked.get("search"), code: asked.get("address_code") ?? ALL_CODES,
};
const labels = new Map(); // what a meter was called last, and its address code
let byId, totals;

/** What this page shows, as the server has written it. */
function look() {
  const rows = [...document.querySelectorAll("#meters tr[data-meter]")];
  byId = new Map(rows.map((row) => [row.dataset.meter, row]));
  for (const row of rows) labels.set(row.dataset.meter, JSON.stringify(JSON.parse(row.dataset.label)));
  totals = JSON.parse(document.getElementById("found").dataset.totals);
}
look();

function sums(root, told) {
  for (const element of root.querySelectorAll("[data-sum]")) {
    element.textContent = shown(told[element.dataset.sum], Number(element.dataset.decimals ?? 0));
  }
}

/** How many meters there are, how many of them are chosen here, and their address codes, as `look` finds them. */
function counted(told) {
  const part = chosen.code === ALL_CODES ? told : told.address_codes.find((one) => one.address_code === chosen.code);
  const found = chosen.search ? totals[1] : part?.[chosen.state || "meters"] ?? 0; // who searches asks again anyway
  return [told.meters, found, told.address_codes.map((one) => one.address_code)];
}

const query = () => {
  const rows = [...byId.keys()].map((id) => ["meter", id]);
  const none = "00000000-0000-0000-0000-000000000000"; // an empty page wants no meter, and not all
  return rows.length ? rows : [["meter", none]];
};

async function again() {
  const since = await renew("summary", "codes", "found", "meters", "pager");
  look();
  return since;
}

const anew = listen(query, {
  meter(meter) {
    const row = byId.get(meter.meter_id), now = JSON.stringify([meter.name, meter.address_code]);
    if (!row) return;
    showMeter(row, meter);
    const before = labels.get(meter.meter_id);
    labels.set(meter.meter_id, now);
    if (now !== before || (chosen.state && meter.state !== chosen.state)) soon();
  },
  summary(told) {
    sums(document.getElementById("summary"), told);
    for (const code of told.address_codes) {
      const row = document.querySelector(`#codes tr[data-code="${CSS.escape(code.address_code)}"]`);
      if (row) sums(row, code);
    }
    if (JSON.stringify(counted(told)) !== JSON.stringify(totals)) soon(); // who it is, is for the server to say
  },
  reset: again,
});
const soon = renewer(SOON_MS, anew);
if (chosen.search) setInterval(soon, SEARCH_MS);
