// Dead letters: retry or purge one, or all that are shown, after a question.
import { post, sure } from "./confirm.js";
import { renew } from "./renew.js";

const MOST_TOLD = 3;
const letters = (count) => `${count} dead ${count === 1 ? "letter" : "letters"}`;
const outcome = document.getElementById("outcome");

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("button[data-letters]");
  if (!button) return;
  const retry = button.dataset.letters === "retry";
  const shown = [...document.querySelectorAll(`#rows tr${retry ? "[data-fit]" : ":not([data-key=''])"}`)];
  const keys = button.dataset.letter ? [Number(button.dataset.letter)] : shown.map((row) => Number(row.dataset.key));
  if (!keys.length) {
    outcome.textContent = retry ? "None of these can be retried here." : "There is none.";
    return;
  }
  const text = retry
    ? "They are published again as if their meters had sent them now. What is still bad comes back."
    : "They are deleted for good. A reading that its meter has forgotten is in no other place.";
  if (!(await sure(`${retry ? "Retry" : "Purge"} ${letters(keys.length)}?`, text, retry ? "Retry" : "Purge"))) return;
  await post(`dead-letters/${button.dataset.letters}`, { keys }, retry ? sent : ({ deleted }) => `${letters(deleted)} deleted.`);
  await renew("rows");
});

function sent({ sent: keys, left_alone: left }) {
  const why = [...new Set(left.map((one) => one.why))].slice(0, MOST_TOLD);
  return [`${letters(keys.length)} sent again.`, ...(left.length ? [`${left.length} left alone: ${why.join("; ")}.`] : [])].join(" ");
}
