"""Numbers and words as people read them: kW and kWh, on and off; `web/static/words.js` has the same tables.

>>> shown(21.349, 1), shown(None, 1), shown(1234.5, 1, "W"), shown(98_414_000, 0, "Wh")
('21.3', '–', '1.234', '98\u202f414')
"""

from __future__ import annotations

KILO = {"W": "kW", "Wh": "kWh", "var": "kvar", "varh": "kvarh", "VA": "kVA", "VAh": "kVAh"}
"""Units of which people are shown a thousand."""
_DIGITS = ((9.9995, 3), (99.995, 2), (999.95, 1))
"""Below this, so many decimals: of a thousand people are shown four digits or more."""
RELAY_WORDS = {"closed": "on", "open": "off", None: "unknown"}
"""A closed relay gives the house power; open and closed are words of the SCL."""
HOUSE_WORDS = (
    ("the relay is open already", "it is off already"),
    ("the relay is closed already", "it is on already"),
    ("opening", "switching off"),
    ("closing", "switching on"),
)
"""Words of the contract, of the relay, and what they mean for the house."""
FOR_SCRIPTS = {"kilo": KILO, "digits": _DIGITS, "house": HOUSE_WORDS}
"""The tables, as every page has them for its scripts."""


def unit_shown(unit: str) -> str:
    """The unit that people are shown."""
    return KILO.get(unit, unit)


def shown(value: float | None, decimals: int, unit: str = "") -> str:
    """A number for people, in `unit_shown`; a dash for none."""
    if value is None:
        return "–"
    if unit in KILO:
        value /= 1000
        decimals = next((digits for below, digits in _DIGITS if abs(value) < below), 0)
    text = f"{value:,.{decimals}f}".replace(",", "\u202f")
    return text.removeprefix("-") if not text.strip("-0.") else text


def of_house(text: str | None) -> str:
    """A reason of the contract, for the house.

    >>> of_house("opening is blocked")
    'switching off is blocked'
    """
    for words, meaning in HOUSE_WORDS:
        text = (text or "").replace(words, meaning)
    return text or ""


def order_words(what: str) -> str:
    """What the ledger says that was wanted, for the house.

    >>> order_words("open"), order_words("block opening"), order_words("block nothing")
    ('switch off', 'block switching off', 'block nothing')
    """
    return {"open": "switch off", "closed": "switch on"}.get(what) or of_house(what)
