// A page that is a table: renewed when something happens that concerns it, and as often as it says. Meters that it
// shows beside the table are kept as they are now.
import { announce, listen, showMeter } from "./live.js";
import { renew, renewer } from "./renew.js";

const PAUSE_MS = 700; // the ledger is written a little after the event
const table = document.querySelector("table[data-live]");
const kinds = table.dataset.live.split(" ");
const ids = [...document.querySelectorAll("[data-renew]")].map((element) => element.id);

const rows = () => new Map([...table.querySelectorAll("[data-told]")].map((row) => [row.dataset.key, row.dataset.told]));
let told = rows();

async function again() {
  const asked = String(query()), before = told;
  heard.clear();
  const since = await renew(...ids);
  for (const latest of heard.values()) meter(latest);
  told = rows();
  announce(...[...told].filter(([key, text]) => before.get(key) !== text).map(([, text]) => text));
  if (String(query()) !== asked) stream.reopen();
  return since;
}

const shown = () => [...document.querySelectorAll("[data-renew] [data-meter]")];
const heard = new Map(); // of meters, while the page is fetched: it may be older

/** What the stream is asked for: no meter at all if none is shown. */
function query() {
  const meters = new Set(shown().map((element) => element.dataset.meter));
  const wanted = new Set([...kinds, "broker", ...(meters.size ? ["meter"] : [])]);
  return [...[...wanted].map((kind) => ["kind", kind]), ...[...meters].map((id) => ["meter", id])];
}

function meter(latest) {
  heard.set(latest.meter_id, latest);
  for (const element of shown()) if (element.dataset.meter === latest.meter_id) showMeter(element, latest);
}

const soon = renewer(PAUSE_MS, again);
const stream = listen(query, { meter, reset: again, ...Object.fromEntries(kinds.map((kind) => [kind, soon])) });
if (table.dataset.every) setInterval(soon, 1000 * table.dataset.every);
