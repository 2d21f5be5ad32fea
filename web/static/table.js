// A page that is a table: fetched again when something happens that concerns it.
import { listen, renew } from "./live.js";

const again = () => renew("rows");
const kinds = (document.querySelector("table[data-live]")?.dataset.live ?? "broker").split(" ");
const PAUSE_MS = 700; // the ledger is written a little after the event
let waiting;

function soon() {
  clearTimeout(waiting);
  waiting = setTimeout(again, PAUSE_MS);
}

listen(
  () => [...kinds, "broker"].map((kind) => ["kind", kind]),
  { reset: again, ...Object.fromEntries(kinds.map((kind) => [kind, soon])) },
);
