"""Many devices at once: a CSV file with a line for each, taken as a whole or not at all.

>>> known = Known({"tasmota"}, lambda source, family: "")
>>> rules, troubles = read_sites("family,key,name,switch\\ntasmota,a0b0c0d0e0f4,Hall,yes\\n", known)
>>> rules[0].switch, troubles
(True, [])
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from adapters.acceptance import Rule, exact
from broker.validation import complaints

REQUIRED = ("family", "key")
COLUMNS = (*REQUIRED, "source", "name", "owner", "address", "address_code", "switch", "reverse", "interval")
WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False, "": False}
MOST = 100_000
"""Lines."""


@dataclass(frozen=True)
class Known:
    """What a line may name: ``no_source`` is the reason why a rule cannot name this source, or empty."""

    families: Collection[str]
    no_source: Callable[[str, str], str]


def read_sites(text: str, known: Known) -> tuple[list[Rule], list[str]]:
    """The rules, and what is wrong: a text for each fault, which begins with its line."""
    lines = io.StringIO(text.removeprefix("\ufeff"), newline="")
    first = lines.readline()
    lines.seek(0)
    # Strict: a quote that nobody closes would take the lines after it into its field.
    rows = csv.DictReader(lines, delimiter=";" if first.count(";") > first.count(",") else ",", strict=True)
    try:
        header = [name.strip() for name in rows.fieldnames or ()]
    except csv.Error as error:
        return [], [f"line 1: {error}"]
    if troubles := _header_troubles(header):
        return [], troubles
    rows.fieldnames = header
    rules: list[Rule] = []
    seen: dict[tuple[str, str], int] = {}
    try:
        for row in rows:
            if any(value for value in row.values()):
                rule, wrong = _rule(row, known, seen, rows.line_num)
                rules += [rule] if rule else []
                troubles += [f"line {rows.line_num}: {one}" for one in wrong]
    except csv.Error as error:
        troubles.append(f"line {rows.line_num + 1}: {error}: is a quote not closed?")
    if len(rules) > MOST:
        troubles.append(f"{len(rules)} lines: {MOST} are allowed")
    return rules, troubles


def _header_troubles(header: list[str]) -> list[str]:
    missing = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name not in COLUMNS]
    troubles = [f"line 1: there is no column {name!r}" for name in missing]
    troubles += [f"line 1: unknown column {name!r}: use {', '.join(COLUMNS)}" for name in unknown]
    return troubles + [
        f"line 1: column {name!r} is there twice" for name in {*header} if header.count(name) > 1
    ]


def _rule(
    row: Mapping[str | Any, Any], known: Known, seen: dict[tuple[str, str], int], line: int
) -> tuple[Rule | None, list[str]]:
    """The rule of a row, and everything that is wrong with the row: then there is no rule."""
    wrong = ["more fields than columns"] if None in row else []
    told: dict[str, Any] = {name: (value or "").strip() for name, value in row.items() if name is not None}
    for flag in ("switch", "reverse"):
        word = told.get(flag, "")
        told[flag] = WORDS.get(word.lower())
        if told[flag] is None:
            wrong.append(f"{flag} {word!r} is neither yes nor no")
            told[flag] = False
    told["interval"] = told.get("interval") or None
    wrong += _named(told, known, seen, line)
    try:
        rule = Rule.model_validate(told)
    except ValidationError as error:
        return None, wrong + complaints(error)
    return (None if wrong else rule), wrong


def _named(told: Mapping[str, Any], known: Known, seen: dict[tuple[str, str], int], line: int) -> list[str]:
    """What is wrong with what names the device."""
    family, key, source, wrong = told["family"], told["key"], told.get("source", ""), list[str]()
    if family not in known.families:
        some = ", ".join(sorted(known.families))
        wrong.append(f"family {family!r} is not known: use one of {some}")
    elif why := known.no_source(source, family):
        wrong.append(why)
    if not exact(key):
        wrong.append(f"key {key!r} has *, ? or [: name one device")
    if key and (first := seen.setdefault((family, key.casefold()), line)) != line:
        wrong.append(f"key {key!r} is in line {first} too")
    return wrong
