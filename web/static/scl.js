// The SCL page: compare a file with what is published.
import "./table.js";
import { send } from "./live.js";

const answer = document.getElementById("differences");

const counted = (count) => `${count} ${count === 1 ? "difference" : "differences"}`;

function list(differences) {
  const items = document.createElement("ul");
  for (const one of differences) {
    const item = document.createElement("li");
    item.textContent = [one.ied, one.device, one.what].filter(Boolean).join(": ");
    items.append(item);
  }
  return items;
}

document.getElementById("diff").addEventListener("submit", async (event) => {
  event.preventDefault();
  answer.textContent = "Comparing …";
  const body = document.getElementById("file").files[0];
  try {
    const told = await (await send("scl/diff?condensed=true", body, { "Content-Type": "application/xml" }, 120000)).json();
    if (!told.differences) answer.textContent = told.detail;
    else if (!told.differences.length) answer.textContent = "No difference.";
    else answer.replaceChildren(counted(told.differences.length), list(told.differences));
  } catch {
    answer.textContent = "The connection is lost: try again.";
  }
});
