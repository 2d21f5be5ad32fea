// What every live page shares: the stream, the line that says whether it stands, times.
import { ofHouse, othersOf, relayOf, shown, withoutAge } from "./words.js";

const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;
const link = document.getElementById("link");
const prefix = meta("root"); // the path below which a reverse proxy has us; empty without one
let clock; // the server's time, and our stopwatch at that moment: this machine's own clock may be wrong, or be set
const SILENT_MS = 3500; // the server sends a ping every second: within 5 s the page says that it hears none
const OPEN_MS = 10000; // a connection may take longer
const LATE_MS = 3000; // what is delivered later than this is old: a proxy keeps it back, or this machine slept
const SLEPT_MS = 4000; // longer than a tick takes on a machine that is awake
const AHEAD_MS = 2000; // a reading that is newer than this by the server's clock: its age is not known
const AGAIN_MS = 3000;
const NEWS_MS = 300, MOST_NEWS = 3;
const LIVE = "Live";
let doubted = false; // whether what we take for the server's time may be wrong

/** The server says what time it is now. */
export const setClock = (ts) => { clock = [Date.parse(ts), performance.now()]; };
setClock(meta("server-time"));

/** The server's time now, in ms. */
export const now = () => clock[0] + performance.now() - clock[1];

/** The server's time so many ms from now. */
export const serverTime = (ms) => new Date(now() + ms).toISOString();

/** Where a path of ours is for the browser. */
export const placed = (path) => (path.startsWith("/") ? prefix + path : path);

/** fetch that ends: without the whole answer after so long it fails. */
export const ask = (path, options = {}, ms = 20000) => fetch(placed(path), { signal: AbortSignal.timeout(ms), ...options });

/** What a path of the API answers; an error says why it does not. */
export async function get(path) {
  const answer = await ask(`/api/v1/${path}`, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error((await answer.json()).detail);
  return answer.json();
}

/** The API's answer to a POST of this page; `more` are headers. */
export const send = (path, body, more = {}, ms = undefined) => ask(`/api/v1/${path}`, {
  method: "POST", body,
  headers: { "Content-Type": "application/json", "X-CSRF-Token": meta("csrf-token"), Accept: "application/json", ...more },
}, ms);

let waiting = [];
/** Say politely what is new, for those who do not see it. */
export function announce(...news) {
  if (!waiting.length && news.length) setTimeout(tellNews, NEWS_MS);
  waiting.push(...news);
}

function tellNews() {
  const more = waiting.length > MOST_NEWS ? [`${waiting.length - MOST_NEWS} more`] : [];
  document.getElementById("news").textContent = [...waiting.slice(0, MOST_NEWS), ...more].join(". ");
  waiting = [];
}

const utc = (ts) => `${ts.slice(0, 10)} ${ts.slice(11, 19)} UTC`;

/** A <time> in the viewer's zone, UTC on hover. */
function time(ts) {
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
  for (const element of root.querySelectorAll("[data-age]")) {
    const ts = element.dataset.age;
    if (!ts) { element.textContent = "–"; continue; }
    element.title = utc(ts);
    element.textContent = age(ts);
  }
}

/** How old a reading is, by its own time; never younger than it is, whenever it came. */
function age(ts) {
  const ms = now() - Date.parse(ts), seconds = Math.max(0, ms / 1000);
  const moment = (timeStyle) => new Date(ts).toLocaleString(undefined, { dateStyle: "medium", timeStyle });
  if (ms < -AHEAD_MS) return `age unknown: its clock says ${moment("medium")}`;
  if (seconds < 120) return `${Math.floor(seconds)} s ago`;
  return seconds < 7200 ? `${Math.floor(seconds / 60)} min ago` : moment("short");
}

/** Write the state of a meter into the elements of `root` that name its fields; say what has changed. */
export function showMeter(root, meter, quiet = false) {
  const news = [];
  const put = (element, kind, value, text) => {
    if (withoutAge(element.textContent) !== withoutAge(text)) news.push(text);
    element.textContent = text;
    element.className = `${kind} ${value}`;
  };
  root.classList.remove("online", "stale", "offline");
  if (meter.state) root.classList.add(meter.state);
  for (const element of root.querySelectorAll("[data-field]")) {
    const field = element.dataset.field;
    if (field === "state") put(element, "state", meter.state, meter.state);
    else if (field === "relay") put(element, "relay", ...relayOf(meter));
    else if (field === "relay_ts") element.replaceChildren(meter.relay_ts ? time(meter.relay_ts) : "–");
    else if (field === "alarms") element.textContent = meter.alarms ? `alarm: ${meter.alarms.join(", ")}` : "";
    else if (field === "other") element.textContent = othersOf(meter.other);
    else if (field === "clock") element.textContent = meter.clock_synchronized === false ? "the meter's clock may be wrong" : "";
    else if (field === "blocked") element.textContent = meter.blocked ? `Blocked: ${ofHouse(meter.blocked)}.` : "";
    else if (field === "quality") showQuality(element, qualityOf(meter));
    else element.textContent = shown(meter[field], Number(element.dataset.decimals), element.dataset.unit);
  }
  for (const element of root.querySelectorAll("[data-age]")) element.dataset.age = meter.ts ?? "";
  tickAges(root);
  if (news.length && !quiet) announce(`${meter.name || meter.meter_id}: ${news.join(", ")}`);
}

const qualityOf = (meter) => (!meter.ts ? "invalid" : meter.state === "online" ? "good" : "old");

/** Nothing is good while we hear nothing. */
function showQuality(element, quality) {
  element.dataset.quality = quality;
  element.textContent = quality === "good" && document.body.classList.contains("old") ? "old" : quality;
}

let told = "";
function say(text, broken = text !== LIVE) {
  if (text === told) return;
  told = text;
  link.textContent = text;
  link.classList.toggle("broken", broken);
  document.body.classList.toggle("old", text !== LIVE);
  for (const element of document.querySelectorAll('[data-field="quality"]')) {
    showQuality(element, element.dataset.quality ?? element.textContent);
  }
}

/** The server's own time, not that of messages which may be old; the HTTP Date has no fraction. */
async function askClock() {
  const answer = await ask("/healthz", { cache: "no-store" }, SILENT_MS);
  setClock(new Date(Date.parse(answer.headers.get("date"))).toISOString());
}

/**
 * Listen for ever, while the tab is visible: a browser has six connections for all its tabs. `handlers` has a function
 * for each kind of event; `reset` is called when something may have been missed: look again, then return where to go
 * on from (the page's new position). Returned are `reset`, which does that, too, and `reopen`, which goes on where it
 * was; both then listen to what `query` says by then.
 */
export function listen(query, handlers) {
  let source, timer, since = meta("since"), broker = link.dataset.broker === "up", resetting = false, asking = false;
  const state = () => say(broker ? LIVE : "The broker is away: values are old until it is back");
  const lost = () => say("Connection lost: values are old, trying again …");
  const later = (ms, action) => { clearTimeout(timer); timer = setTimeout(action, ms); };
  const silent = () => { lost(); open(); };
  const alive = () => later(SILENT_MS, silent);
  const close = () => { clearTimeout(timer); source?.close(); };

  function open() {
    if (resetting) return; // it opens when it has looked; until then what is lost stays lost
    close();
    if (document.hidden) return;
    const parameters = new URLSearchParams(query());
    parameters.set("since", since);
    source = new EventSource(placed(`/api/v1/stream?${parameters}`));
    later(SILENT_MS, () => { lost(); later(OPEN_MS - SILENT_MS, open); });
    source.onerror = () => {
      lost();
      const refused = source.readyState === EventSource.CLOSED; // our session may have ended, or all is down
      if (refused) later(AGAIN_MS, () => expelled().then(open));
    };
    const on = (kind, action) => source.addEventListener(kind, (event) => {
      alive();
      if (event.lastEventId) since = event.lastEventId;
      action(JSON.parse(event.data));
    });
    on("ping", heard);
    on("hello", (event) => { broker = event.broker; heard(event); });
    on("broker", (event) => { broker = event.up; state(); handlers.broker?.(event); });
    on("reset", reset);
    for (const [kind, action] of Object.entries(handlers)) if (!["reset", "broker"].includes(kind)) on(kind, action);
  }

  /** The server's time has come: is it of now? */
  function heard({ ts }) {
    if (doubted) setClock(ts);
    doubted = false;
    const late = now() - Date.parse(ts);
    if (late <= LATE_MS) {
      setClock(ts);
      return void state();
    }
    say(`Delayed: what is shown is ${Math.round(late / 1000)} s old`);
    if (asking) return;
    asking = true; // or its clock was set back
    askClock().catch(() => {}).finally(() => { asking = false; });
  }

  async function reset() {
    if (resetting) return;
    close();
    resetting = true;
    later(AGAIN_MS, lost);
    try {
      since = await handlers.reset();
    } catch {
      since = "0-0"; // nobody's: the stream says again that we have to look
      return later(AGAIN_MS, open);
    } finally {
      resetting = false;
    }
    open();
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { close(); say("Looking again …", false); } else open();
  });
  addEventListener("slept", () => { if (!document.hidden && !resetting) silent(); });
  open();
  return { reset, reopen: open };
}

/** Back to the login when the session has ended. */
async function expelled() {
  try {
    const answer = await ask("/api/v1/meters?limit=1");
    if (answer.status === 401) location.reload();
  } catch { /* no connection: the stream is tried again anyway */ }
}

addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); }); // what it showed is of then
localizeAll();

let wall = Date.now(), watch = performance.now();
/** Ages go on; a machine that slept, or a page that was frozen, knows nothing of now. */
function tick() {
  const [slept, counted] = [Date.now() - wall, performance.now() - watch];
  [wall, watch] = [wall + slept, watch + counted];
  if (Math.max(slept, counted) > SLEPT_MS) {
    clock[0] += Math.max(0, slept - counted); // some stopwatches stand still meanwhile
    doubted = true;
    dispatchEvent(new Event("slept"));
  }
  tickAges();
}
setInterval(tick, 1000);
