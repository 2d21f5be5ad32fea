// One meter: live values, its relay, its curves.
import { Curves } from "./curves.js";
import { ask, listen, showMeter } from "./live.js";
import { follow, order, SEND_MS, stateOf, what } from "./orders.js";
import { renew, renewer } from "./renew.js";
import { ofHouse } from "./words.js";

const root = document.getElementById("meter");
const id = root.dataset.meter;
const outcome = document.getElementById("outcome");
const why = document.getElementById("local");
const dialog = document.getElementById("confirm");
const buttons = [...document.querySelectorAll("button[data-order]")];
const FACTS_MS = 60000;
const curves = new Curves(id);
const facts = renewer(1000, () => renew("switched", "facts", "alarms")); // the ledger is written a little later
let asked; // the position of our last order
let own; // its command_id, once we know it
let heard; // whose state the stream told last: it knows more than an answer that is older
let wanted;
const now = { busy: false, ...JSON.parse(root.dataset.now) };

/** Why no button does anything; empty when one does. */
function obstacle() {
  if (now.relay_local) return "It can be switched only at the meter.";
  return now.state === "offline" ? "It is offline: it cannot be switched now." : "";
}

/** Whether an order would change something, as far as is known. */
const changes = (position) => now.relay !== position && !now.blocked?.includes(position === "open" ? "opening" : "closing");

/** Only what changes something is active; buttons keep the focus when they do nothing. */
function permit(told = {}) {
  Object.assign(now, told);
  why.textContent = obstacle();
  for (const button of buttons) {
    const active = !now.busy && !obstacle() && changes(button.dataset.order);
    button.setAttribute("aria-disabled", String(!active));
  }
}

function tell(command) {
  const [state, kind] = stateOf(command, outcome.dataset.lost);
  outcome.className = `outcome ${kind}`;
  outcome.textContent = `${what(command.position)}: ${state}${command.reason ? `: ${ofHouse(command.reason)}` : ""}`;
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

async function send(position) {
  permit({ busy: true });
  asked = position;
  own = heard = undefined;
  outcome.className = "outcome sent";
  outcome.textContent = "Sending …";
  try {
    const { command, problem } = await order(id, position);
    if (problem) { // no command was made of it: too many, too few rights
      asked = undefined;
      tell({ position, state: "refused", reason: problem.detail, final: true });
      return;
    }
    own = command.command_id;
    if (heard !== own) tell(command);
    if (!command.final) await end(own);
  } catch (error) {
    if (own) return void end(own); // the stream has told it
    outcome.className = "outcome failed";
    const reason = error.name === "TimeoutError" ? `no answer within ${SEND_MS / 1000} s` : error.message;
    outcome.textContent = `${what(position)}: Not known: ${reason}. The page Commands tells what became of it.`;
    permit({ busy: false });
  }
}

/** The stream tells the outcome; should it be broken just now, we ask. */
async function end(command_id) {
  try {
    const command = await follow(command_id);
    if (command && own === command_id) tell(command);
  } catch { /* no connection: the stream tells it, or we ask again after a reset */ }
}

/** Whether this is our order: by its id, or, when its answer was lost, by its issuer. */
function isOurs(command) {
  if (own) return command.command_id === own;
  return command.position === asked && command.origin === outcome.dataset.origin;
}

for (const button of buttons) {
  button.addEventListener("click", () => { if (button.getAttribute("aria-disabled") === "false") question(button.dataset.order); });
}
dialog.addEventListener("close", () => { if (dialog.returnValue === "yes") send(wanted); });

function take(meter) {
  if (root.dataset.retired !== undefined) location.reload(); // it is back in service
  const mark = () => JSON.stringify([now.state, now.relay_ts, now.alarms]); // the facts change with these
  const before = mark(), { state, relay, relay_ts, relay_local, blocked, alarms } = meter;
  showMeter(root, meter);
  permit({ state, relay, relay_ts, relay_local, blocked, alarms });
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
    if (own) end(own);
    return since;
  },
});
permit();
setInterval(facts, FACTS_MS);
