// Users: end the sessions of one, after a question.
import { post, sure } from "./confirm.js";
import { renew } from "./renew.js";

document.addEventListener("click", async ({ target }) => {
  const name = target.closest("button[data-end]")?.dataset.end;
  if (!name) return;
  const text = "Every browser in which this user is logged in has to log in again, also this one if it is yours.";
  if (!(await sure(`End the sessions of ${name}?`, text, "End sessions"))) return;
  await post(`users/${encodeURIComponent(name)}/sessions/end`, {}, ({ ended }) => `Sessions of ${name} ended: ${ended}.`);
  await renew("rows");
});
