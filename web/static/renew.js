// Parts of a page fetched again: what is the same stays, the focus stays where it was, hidden tabs wait.
import { ask, localizeAll, setClock } from "./live.js";

const AGAIN_MS = 2000;
export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** When this tab is visible: at once, or later. */
export async function seen() {
  while (document.hidden) await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
}

/** Fetch this page again, once it is looked at, and renew the elements of these ids; its position in the stream. */
export async function renew(...ids) {
  for (;;) {
    await seen();
    try {
      const answer = await ask(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected || (answer.status >= 400 && answer.status < 500)) return await away();
      if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const id of ids) {
          const old = document.getElementById(id), fresh = page.getElementById(id);
          if (old && fresh) put(old, fresh);
        }
        setClock(page.querySelector('meta[name="server-time"]').content);
        return page.querySelector('meta[name="since"]').content;
      }
    } catch { /* again, below */ }
    await pause(AGAIN_MS);
  }
}

/** To the login, or to the first page, when this page is not to be had any more; never an answer. */
function away() {
  const first = new URL(location.href);
  first.searchParams.delete("after");
  first.hash = ""; // with one nothing would be loaded
  location.replace(first);
  return new Promise(() => {});
}

/** A function that calls `again` soon, when the tab is visible: once for all calls until then. */
export function renewer(ms, again) {
  let due = false, busy = false;
  async function work() {
    busy = true;
    while (due) {
      await pause(ms);
      await seen();
      due = false;
      await again();
    }
    busy = false;
  }
  return () => {
    due = true;
    if (!busy) work();
  };
}

function put(old, fresh) {
  localizeAll(fresh);
  const keyed = [old, fresh].every((one) => one.firstElementChild?.dataset.key !== undefined);
  if (keyed && old.cloneNode().isEqualNode(fresh.cloneNode())) match(old, fresh);
  else swap(old, fresh, () => old.replaceWith(fresh));
}

/**
 * The children of `old`, which have keys, become those of `fresh`, and so do theirs that have keys; those that are the
 * same are not touched.
 */
function match(old, fresh) {
  const wanted = new Set([...fresh.children].map((child) => child.dataset.key));
  for (const child of [...old.children]) if (!wanted.has(child.dataset.key)) child.remove();
  const known = new Map([...old.children].map((child) => [child.dataset.key, child]));
  let place = old.firstElementChild;
  for (const child of [...fresh.children]) {
    const own = known.get(child.dataset.key), before = place;
    if (own && own === place) place = place.nextElementSibling;
    if (!own) old.insertBefore(child, before);
    else if (own === before) put(own, child);
    else swap(own, child, () => { own.remove(); old.insertBefore(child, before); }, true);
  }
}

const within = (root) => [...root.querySelectorAll("a[href], button, input, select, summary, [tabindex]")];

/** Let `change` put `fresh` in place of `old`, if they differ; what had the focus in it has it again, what was unfolded stays so. */
function swap(old, fresh, change, moved = false) {
  const unfolded = old.querySelectorAll("details");
  fresh.querySelectorAll("details").forEach((one, at) => { one.open = unfolded[at]?.open ?? one.open; });
  if (!moved && old.isEqualNode(fresh)) return;
  const place = within(old).indexOf(document.activeElement);
  change();
  within(fresh)[place]?.focus({ preventScroll: true });
}
