// One meter: live values, its relay, its curves.
import { ask, csrf, listen, serverTime, showMeter } from "./live.js";
import { Curves } from "./curves.js";
import { renew, renewer } from "./renew.js";

const root = document.getElementById("meter");
const id = root.dataset.meter;
const outcome = document.getElementById("outcome");
const dialog = document.getElementById("confirm");
const buttons = [...document.querySelectorAll("button[data-order]")];
const SEND_MS = 5000; // an order that still waits for a connection then is never sent
const ANSWER_MS = 10000;
const FACTS_MS = 60000;
const curves = new Curves(id);
const facts = renewer(1000, () => renew("switched", "facts", "alarms")); // the ledger is written a little later
let asked; // the position of our last order
let own; // its command_id, once we know it
let heard; // whose state the stream told last: it knows more than an answer that is older
let wanted;
const now = { busy: false, local: root.dataset.local !== undefined };

const words = {
  sent: "Sent, waiting for the meter …",
  answered: "The meter says done, waiting for its relay …",
  done: "Done.",
  refused: "Refused", expired: "Came too late", failed: "Failed", "timed out": "No answer",
};

/** Whether the buttons do something: they keep the focus when they do not. */
function permit(changes) {
  Object.assign(now, changes);
  for (const button of buttons) button.setAttribute("aria-disabled", String(now.busy || now.local));
}

const what = (position) => (position === "open" ? "Switch off" : "Switch on");

function tell(command) {
  const unknown = command.reason === outcome.dataset.lost;
  const state = unknown ? "Not known" : words[command.state] ?? command.state;
  outcome.className = `outcome ${unknown ? "failed" : command.state.replace(" ", "-")}`;
  outcome.textContent = `${what(command.position)}: ${state}${command.reason ? `: ${command.reason}` : ""}`;
  permit({ busy: !command.final });
  if (command.final) facts();
}

function question(position) {
  wanted = position;
  const name = document.createElement("bdi"), off = position === "open";
  name.textContent = document.querySelector("h1 bdi").textContent;
  document.getElementById("confirm-title").textContent = `${what(position)}?`;
  document.getElementById("confirm-text").replaceChildren(name, off
    ? " will be without power until it is switched on again."
    : " will have power. Make sure that nobody works on the installation.");
  document.getElementById("confirm-yes").textContent = what(position);
  dialog.returnValue = "no";
  dialog.showModal();
}

function key() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((octet) => octet.toString(16).padStart(2, "0")).join("");
}

async function order(position) {
  permit({ busy: true });
  asked = position;
  own = heard = undefined;
  outcome.className = "outcome sent";
  outcome.textContent = "Sending …";
  const headers = {
    "Content-Type": "application/json", "X-CSRF-Token": csrf(), "Idempotency-Key": key(), Accept: "application/json",
  };
  const request = { method: "POST", headers, body: JSON.stringify({ position, expires_at: serverTime(2 * SEND_MS) }) };
  try {
    const response = await ask(`/api/v1/meters/${id}/relay`, request, SEND_MS);
    const answer = await response.json();
    const command = answer.command ?? answer;
    if (!command.command_id && response.status < 500) { // no command was made of it: too many, too few rights
      asked = undefined;
      tell({ position, state: "refused", reason: answer.detail, final: true });
      return;
    }
    if (!command.command_id) throw new Error(answer.detail);
    own = command.command_id;
    if (heard !== own) tell(command);
    if (!command.final) follow(own);
  } catch (error) {
    if (own) return void follow(own); // the stream has told it
    outcome.className = "outcome failed";
    const reason = error.name === "TimeoutError" ? `no answer within ${SEND_MS / 1000} s` : error.message;
    outcome.textContent = `${what(position)}: Not known: ${reason}. The page Commands tells what became of it.`;
    permit({ busy: false });
  }
}

/** The stream tells the outcome; should it be broken just now, we ask. */
async function follow(command_id) {
  try {
    const answer = await ask(`/api/v1/commands/${command_id}?wait=${ANSWER_MS / 1000}`, {}, 2 * ANSWER_MS);
    if (answer.ok && own === command_id) tell(await answer.json());
  } catch { /* no connection: the stream tells it, or we ask again after a reset */ }
}

/** Whether this is our order: by its id, or, when its answer was lost, by its issuer. */
function isOurs(command) {
  if (own) return command.command_id === own;
  return command.position === asked && command.origin === outcome.dataset.origin;
}

for (const button of buttons) {
  button.addEventListener("click", () => { if (!now.busy && !now.local) question(button.dataset.order); });
}
dialog.addEventListener("close", () => { if (dialog.returnValue === "yes") order(wanted); });

function take(meter) {
  if (root.dataset.retired !== undefined) location.reload(); // it is back in service
  const mark = () => `${root.className} ${root.querySelector('[data-field="relay_ts"] time')?.dateTime}`;
  const before = mark();
  showMeter(root, meter);
  permit({ local: Boolean(meter.relay_local) });
  if (mark() !== before) facts();
}

listen(() => [["meter", id]], {
  meter(meter) {
    take(meter);
    curves.add(meter);
  },
  command(command) {
    if (!isOurs(command)) {
      if (command.final) facts();
      return;
    }
    own = heard = command.command_id;
    tell(command);
  },
  gone() { location.reload(); },
  async reset() {
    const since = await renew("switched", "facts", "alarms");
    const answer = await ask(`/api/v1/meters/${id}/latest`);
    if (answer.ok) take(await answer.json());
    else if (answer.status !== 404) throw new Error(answer.statusText);
    else if (root.dataset.retired === undefined) location.reload();
    curves.load();
    if (own) follow(own);
    return since;
  },
});
setInterval(facts, FACTS_MS);
