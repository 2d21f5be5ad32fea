// Numbers and words as people read them: kW and kWh, on and off; by the tables of `web/pages/words.py`.

const { kilo: KILO, digits: DIGITS, house: HOUSE } = JSON.parse(document.getElementById("main").dataset.words);
const LAST = " (last known)";
export const RELAY = { closed: "on", open: "off" };

/** Of what people are shown how many of the contract's: 1000 for kW, 1 for V. */
export const scale = (unit) => (KILO[unit] ? 1000 : 1);

/** The unit that people are shown. */
export const unitShown = (unit) => KILO[unit] ?? unit;

/** A number as the page shows it: thin spaces between thousands, a dash for none. */
export function shown(value, decimals, unit = "") {
  if (value === undefined || value === null) return "–";
  const told = value / scale(unit);
  const digits = KILO[unit] ? DIGITS.find(([below]) => Math.abs(told) < below)?.[1] ?? 0 : decimals;
  const [whole, part] = told.toFixed(digits).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const text = part ? `${grouped}.${part}` : grouped;
  return /[1-9]/.test(text) ? text : text.replace("-", "");
}

/** The same with its unit, never broken over two lines. */
export const withUnit = (value, decimals, unit) => `${shown(value, decimals, unit)}\u00a0${unitShown(unit)}`.trim();

/** A reason of the contract, which speaks of relays, for the house. */
export const ofHouse = (text) => HOUSE.reduce((told, [words, meaning]) => told.replaceAll(words, meaning), text ?? "");

/** Class and words of a relay's position: an unknown position is not shown as known. */
export function relayOf(meter) {
  if (meter.has_relay === false) return ["unknown", "–"];
  if (!RELAY[meter.relay]) return ["unknown", "unknown"];
  return meter.state === "online" ? [meter.relay, RELAY[meter.relay]] : ["old", RELAY[meter.relay] + LAST];
}

/** The words without what says that they are old. */
export const withoutAge = (words) => words.replace(LAST, "");

/** Numbers under names that only a newer meter knows. */
export const othersOf = (other) => Object.entries(other ?? {}).map(([name, value]) => `${name} ${value}`).join(", ") || "–";
