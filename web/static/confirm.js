// What is asked before something is done that cannot be undone, and what the server says of it.
import { announce, send } from "./live.js";

const dialog = document.getElementById("confirm"), outcome = document.getElementById("outcome");
let busy = false;

/** Whether the person has said yes to `title`; `text` says what follows from it. */
export function sure(title, text, yes) {
  document.getElementById("confirm-title").textContent = title;
  document.getElementById("confirm-text").textContent = text;
  document.getElementById("confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  });
}

/** Post `body` to the API, one at a time; `words` makes a sentence of the answer. */
export async function post(path, body, words) {
  if (busy) return;
  busy = true;
  outcome.textContent = "";
  try {
    const answer = await send(path, JSON.stringify(body), {}, 60000);
    const told = await answer.json();
    outcome.textContent = answer.ok ? words(told) : told.detail;
  } catch {
    outcome.textContent = "No answer: it may be done or not.";
  }
  busy = false;
  announce(outcome.textContent);
}
