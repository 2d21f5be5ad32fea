// What every live page shares: the stream, the line that says whether it stands, numbers, times.

const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;
const link = document.getElementById("link");
const skew = Date.parse(meta("server-time")) - Date.now(); // ages are told by the server's clock
const SILENT_MS = 25000; // the server says something every ten seconds
const RELAY = { closed: "on", open: "switched off" };

export const csrf = () => meta("csrf-token");

/** A number as the page shows it: thin spaces between thousands, a dash for none. */
export function shown(value, decimals) {
  if (value === undefined || value === null) return "–";
  const [whole, part] = value.toFixed(decimals).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, "\u202f");
  return part ? `${grouped}.${part}` : grouped;
}

const utc = (ts) => `${ts.slice(0, 10)} ${ts.slice(11, 19)} UTC`;

/** A <time> in the viewer's zone, UTC on hover. */
export function time(ts) {
  const element = document.createElement("time");
  element.dateTime = ts;
  localize(element);
  return element;
}

function localize(element) {
  const ts = element.dateTime;
  element.title = utc(ts);
  element.textContent = new Date(ts).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** Every time below `root` in the viewer's zone. */
export function localizeAll(root = document) {
  root.querySelectorAll("time[datetime]").forEach(localize);
  tickAges(root);
}

function tickAges(root = document) {
  const now = Date.now() + skew;
  for (const element of root.querySelectorAll("[data-age]")) {
    const ts = element.dataset.age;
    if (!ts) { element.textContent = "–"; continue; }
    const seconds = Math.max(0, (now - Date.parse(ts)) / 1000);
    element.title = utc(ts);
    element.textContent = seconds < 120 ? `${Math.floor(seconds)} s ago`
      : seconds < 7200 ? `${Math.floor(seconds / 60)} min ago`
      : new Date(ts).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  }
}

/** Write the state of a meter into the elements of `root` that name its fields. */
export function showMeter(root, meter) {
  root.classList.remove("online", "stale", "offline");
  root.classList.add(meter.state);
  for (const element of root.querySelectorAll("[data-field]")) {
    const field = element.dataset.field;
    if (field === "state") {
      element.textContent = meter.state;
      element.className = `state ${meter.state}`;
    } else if (field === "relay") {
      element.textContent = RELAY[meter.relay] ?? "unknown";
      element.className = `relay ${meter.relay ?? "unknown"}`;
    } else if (field === "relay_ts") {
      element.replaceChildren(meter.relay_ts ? time(meter.relay_ts) : "–");
    } else if (field === "blocked") {
      element.textContent = meter.blocked ? `Blocked: ${meter.blocked}.` : "";
    } else if (field === "quality") {
      element.textContent = !meter.ts ? "invalid" : meter.state === "online" ? "good" : "old";
    } else {
      element.textContent = shown(meter[field], Number(element.dataset.decimals));
    }
  }
  for (const element of root.querySelectorAll("[data-age]")) element.dataset.age = meter.ts ?? "";
  tickAges(root);
}

let told = "";
function say(text, broken) {
  if (text === told) return;
  told = text;
  link.textContent = text;
  link.classList.toggle("broken", broken);
}

/**
 * Listen for ever. `handlers` has a function for each kind of event; `reset` is called when something may have
 * been missed: look again, then return where to go on from (the page's new position).
 */
export function listen(query, handlers) {
  let source, silent, since = meta("since"), broker = link.dataset.broker === "up";
  const state = () => broker
    ? say("Live", false)
    : say("The broker is away: values are old until it is back", true);
  const alive = () => {
    clearTimeout(silent);
    silent = setTimeout(() => { source.close(); lost(); open(); }, SILENT_MS);
  };
  const lost = () => say("Connection lost: values are old, trying again …", true);

  function open() {
    const parameters = new URLSearchParams(query());
    parameters.set("since", since);
    source = new EventSource(`/api/v1/stream?${parameters}`);
    source.onopen = () => { alive(); state(); };
    source.onerror = () => {
      lost();
      if (source.readyState === EventSource.CLOSED) { // refused: our session may have ended, or all is down
        clearTimeout(silent);
        setTimeout(async () => { await expelled(); open(); }, 3000);
      }
    };
    const on = (kind, action) => source.addEventListener(kind, (event) => {
      alive();
      if (event.lastEventId) since = event.lastEventId;
      action(JSON.parse(event.data));
    });
    on("ping", () => {});
    on("hello", (event) => { broker = event.broker; state(); });
    on("broker", (event) => { broker = event.up; state(); handlers.broker?.(event); });
    on("reset", async () => {
      clearTimeout(silent);
      source.close();
      since = await handlers.reset();
      open();
    });
    for (const [kind, action] of Object.entries(handlers)) if (!["reset", "broker"].includes(kind)) on(kind, action);
  }
  open();
  return () => { source.close(); open(); };
}

/** Back to the login when the server says that we are nobody. */
async function expelled() {
  try {
    const answer = await fetch("/api/v1/meters?limit=1");
    if (answer.status === 401) location.reload();
  } catch { /* no connection: the stream is tried again anyway */ }
}

localizeAll();
setInterval(() => tickAges(), 1000);
