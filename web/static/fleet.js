// The fleet: rows of meters and sums, kept as they are now.
import { listen, showMeter, shown } from "./live.js";
import { renew } from "./renew.js";

const rows = () => [...document.querySelectorAll("#meters tr[data-meter]")];
let byId;
function look() { byId = new Map(rows().map((row) => [row.dataset.meter, row])); }
look();

function sums(root, told) {
  for (const element of root.querySelectorAll("[data-sum]")) {
    element.textContent = shown(told[element.dataset.sum], Number(element.dataset.decimals ?? 0));
  }
}

const total = () => document.querySelector('[data-sum="meters"]').textContent;

async function again() {
  const since = await renew("summary", "codes", "found", "meters", "pager");
  look();
  return since;
}

const query = () => {
  const chosen = [...byId.keys()].map((id) => ["meter", id]);
  const none = "00000000-0000-0000-0000-000000000000"; // an empty page wants no meter, and not all
  return chosen.length ? chosen : [["meter", none]];
};

const reopen = listen(query, {
  meter(meter) {
    const row = byId.get(meter.meter_id);
    if (row) showMeter(row, meter);
  },
  async summary(told) {
    if (shown(told.meters, 0) !== total()) { // one has joined or left: its place is for the server to say
      await again();
      reopen();
      return;
    }
    sums(document.getElementById("summary"), told);
    for (const code of told.address_codes) {
      const row = document.querySelector(`#codes tr[data-code="${CSS.escape(code.address_code)}"]`);
      if (row) sums(row, code);
    }
  },
  reset: again,
});
