// Accounts, ledgers, balances of feeders, outages, quality of supply: each part only where there is something of it.
import { accountFacts, columnsOf, qualityFacts } from "./documents.js";
import { ask, listen, now, placed } from "./live.js";
import { renew } from "./renew.js";
import { cell, head, row } from "./rows.js";
import { withUnit } from "./words.js";
import { calendarOf } from "./zoned.js";

const $ = (id) => document.getElementById(id);
const root = $("supply"), meter = root.dataset.meter, calendar = calendarOf(root.dataset.zone);
const columns = columnsOf({ moment: calendar.moment, wh: (value) => withUnit(value, 0, "Wh") });
const FEW = { last: 100 }; // entries of a ledger
const NOTHING = "Nothing of this is set up, or nothing is stored of this time.";
let span = meter ? calendar.span("week", now(), -1) : calendar.span("month", now()), asked = 0;

const times = () => calendar.query({ ...span, end: Math.min(span.end, Math.max(now(), span.start + 1)) });

/** What a path answers; null where there is no such thing. */
async function found(path, query = {}) {
  const answer = await ask(`/api/v1/${path}?${new URLSearchParams(query)}`, { headers: { Accept: "application/json" } }, 60000);
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error((await answer.json()).detail);
  return answer.json();
}

function fill(id, rows, shown, link) {
  const there = shown.filter(([, write]) => rows.some((one) => write(one) !== "–"));
  $(id).tHead.replaceChildren(...(rows.length ? [head(there.map(([label]) => label))] : []));
  $(id).tBodies[0].replaceChildren(...rows.map((one) => {
    const [[, first], ...more] = there, made = row(first(one), ...more.map(([label, write]) => cell(label, write(one))));
    if (link) linked(made.cells[0], link(one));
    return made;
  }));
  return rows.length > 0;
}

/** The text of a cell becomes a link. */
function linked(element, path) {
  const link = document.createElement("a");
  link.href = placed(path);
  link.textContent = element.textContent;
  element.replaceChildren(link);
}

function facts(id, pairs) {
  $(id).replaceChildren(...pairs.map(([label, text]) => {
    const box = document.createElement("div"), title = document.createElement("dt"), value = document.createElement("dd");
    title.textContent = label;
    value.textContent = text;
    box.append(title, value);
    return box;
  }));
  return pairs.length > 0;
}

const house = ({ meter_id: id }) => `/supply?meter=${id}`;
const OF_METER = {
  async account() {
    const one = await found(`meters/${meter}/credit`, FEW);
    return one && [fill("ledger", one.entries, columns.ledger), facts("account-facts", accountFacts(one, calendar))].some(Boolean);
  },
  async quality() {
    const one = await found(`meters/${meter}/quality`, { week: calendar.week(span.start), time_zone: calendar.name });
    return one && facts("quality-facts", qualityFacts(one.quality));
  },
};
const OF_ALL = {
  async accounts() {
    const all = await found("credit");
    return all && fill("account-rows", all.accounts, columns.accounts, house);
  },
  async balance() {
    const feeder = $("feeder").value.split("/").map(encodeURIComponent).join("/");
    const told = feeder && await found(`feeders/${feeder}/balance`, { ...times(), by: "day" });
    return told && (fill("balance-rows", told.rows, columns.balance), true);
  },
  async suspicions() {
    const told = await found("suspicions", times());
    return told && fill("suspicion-rows", told.suspicions, columns.suspicions, house);
  },
  async reliability() {
    const told = await found("reliability", times());
    return told && [fill("reliability-rows", told.feeders, columns.reliability), fill("outage-rows", told.outages, columns.outages)].some(Boolean);
  },
};

/** One after the other: an account has two exports at the same time. */
async function load() {
  const mine = ++asked, complaints = [];
  $("time").textContent = meter ? `Week ${calendar.week(span.start)}` : calendar.month(span.start);
  let some = false;
  for (const [name, part] of Object.entries(meter ? OF_METER : OF_ALL)) {
    let there = false;
    try {
      there = await part();
    } catch (error) {
      complaints.push(`${$(`${name}-title`).textContent}: ${error.message}`);
    }
    if (mine !== asked) return; // another time was chosen meanwhile
    $(name).hidden = !there;
    some ||= there;
  }
  $("nothing").textContent = complaints.join(" ") || (some ? "" : NOTHING);
}

const turn = (by) => { span = calendar.span(span.kind, span.start, by); load(); };
$("earlier").addEventListener("click", () => turn(-1));
$("later").addEventListener("click", () => turn(1));
$("feeder")?.addEventListener("change", () => load());
listen(() => [["kind", "summary"]], {
  async reset() {
    const since = await renew();
    load();
    return since;
  },
});
load();
