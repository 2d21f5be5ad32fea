// A page that is a table: renewed when something happens that concerns it, and as often as it says.
import { announce, listen } from "./live.js";
import { renew, renewer } from "./renew.js";

const PAUSE_MS = 700; // the ledger is written a little after the event
const table = document.querySelector("table[data-live]");
const kinds = table.dataset.live.split(" ");
const ids = [...document.querySelectorAll("[data-renew]")].map((element) => element.id);

const rows = () => new Map([...table.querySelectorAll("[data-told]")].map((row) => [row.dataset.key, row.dataset.told]));
let told = rows();

async function again() {
  const since = await renew(...ids), before = told;
  told = rows();
  announce(...[...told].filter(([key, text]) => before.get(key) !== text).map(([, text]) => text));
  return since;
}

const soon = renewer(PAUSE_MS, again);
listen(
  () => [...new Set([...kinds, "broker"])].map((kind) => ["kind", kind]),
  { reset: again, ...Object.fromEntries(kinds.map((kind) => [kind, soon])) },
);
if (table.dataset.every) setInterval(soon, 1000 * table.dataset.every);
