// One meter: live values, its relay, its curves.
import { csrf, listen, showMeter } from "./live.js";
import { Curves } from "./curves.js";
import { renew, renewer, seen } from "./renew.js";

const id = document.getElementById("meter").dataset.meter;
const outcome = document.getElementById("outcome");
const dialog = document.getElementById("confirm");
const buttons = [...document.querySelectorAll("button[data-order]")];
const ANSWER_MS = 10000;
const curves = new Curves(id);
const switched = renewer(1000, () => renew("switched")); // the ledger is written a little later
let own; // command_id of our last order
let wanted;

const words = {
  sent: "Sent, waiting for the meter …",
  answered: "The meter says done, waiting for its relay …",
  done: "Done.",
  refused: "Refused", expired: "Came too late", failed: "Failed", "timed out": "No answer",
};

function tell(command) {
  outcome.className = `outcome ${command.state.replace(" ", "-")}`;
  const what = command.position === "open" ? "Switch off" : "Switch on";
  outcome.textContent = `${what}: ${words[command.state] ?? command.state}${command.reason ? `: ${command.reason}` : ""}`;
  for (const button of buttons) button.disabled = !command.final;
  if (command.final) switched();
}

function ask(position) {
  wanted = position;
  const name = document.querySelector("h1").firstChild.textContent.trim();
  const off = position === "open";
  document.getElementById("confirm-title").textContent = off ? "Switch off?" : "Switch on?";
  document.getElementById("confirm-text").textContent = off
    ? `${name} will be without power until it is switched on again.`
    : `${name} will have power. Make sure that nobody works on the installation.`;
  document.getElementById("confirm-yes").textContent = off ? "Switch off" : "Switch on";
  dialog.returnValue = "no";
  dialog.showModal();
}

function key() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((octet) => octet.toString(16).padStart(2, "0")).join("");
}

async function order(position) {
  for (const button of buttons) button.disabled = true;
  outcome.className = "outcome sent";
  outcome.textContent = "Sending …";
  const headers = {
    "Content-Type": "application/json", "X-CSRF-Token": csrf(), "Idempotency-Key": key(), Accept: "application/json",
  };
  const request = { method: "POST", headers, body: JSON.stringify({ position }) };
  try {
    const response = await fetch(`/api/v1/meters/${id}/relay`, request);
    const answer = await response.json();
    const command = answer.command ?? answer;
    own = command.command_id;
    if (!own && response.status < 500) { // no command was made of it: too many, too few rights
      tell({ position, state: "refused", reason: answer.detail, final: true });
      return;
    }
    if (!own) throw new Error(answer.detail);
    tell(command);
    if (!command.final) follow(own);
  } catch (error) {
    outcome.className = "outcome failed";
    outcome.textContent = `Not known: ${error.message}. The page Commands tells what became of it.`;
    for (const button of buttons) button.disabled = false;
  }
}

/** The stream tells the outcome; should it be broken just now, we ask. */
async function follow(command_id) {
  const answer = await fetch(`/api/v1/commands/${command_id}?wait=${ANSWER_MS / 1000}`);
  if (answer.ok && own === command_id) tell(await answer.json());
}

for (const button of buttons) button.addEventListener("click", () => ask(button.dataset.order));
dialog.addEventListener("close", () => { if (dialog.returnValue === "yes") order(wanted); });

listen(() => [["meter", id]], {
  meter(meter) {
    showMeter(document.getElementById("meter"), meter);
    curves.add(meter);
  },
  command(command) {
    if (command.command_id === own) tell(command);
    else if (command.final) switched();
  },
  gone() { location.reload(); },
  async reset() {
    await seen();
    const answer = await fetch(`/api/v1/meters/${id}/latest`);
    if (answer.ok) showMeter(document.getElementById("meter"), await answer.json());
    curves.load();
    return renew("switched");
  },
});
