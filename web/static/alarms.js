// The list of alarms: acknowledge one. What changes then comes by the stream, as for every reader of the list.
import { announce, send } from "./live.js";

const outcome = document.getElementById("outcome");

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-acknowledge]");
  if (!button) return;
  button.disabled = true;
  outcome.textContent = "";
  try {
    const answer = await send(`alarms/${button.dataset.acknowledge}/acknowledge`);
    const told = await answer.json();
    if (answer.status === 200) announce("Acknowledged");
    else outcome.textContent = answer.ok ? "Sent. The bridge has not noted it yet." : told.detail;
  } catch {
    outcome.textContent = "No answer: it may be acknowledged or not.";
  }
  button.disabled = false;
});
