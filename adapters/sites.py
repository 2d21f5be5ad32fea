"""Many devices at once: a CSV file with a line for each, taken as a whole or not at all.

>>> rules, troubles = read_sites("family,key,name,switch\\ntasmota,a0b0c0d0e0f4,Hall,yes\\n", {"tasmota"})
>>> rules[0].switch, troubles
(True, [])
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from adapters.acceptance import Rule
from broker.validation import first_complaint

REQUIRED = ("family", "key")
COLUMNS = (*REQUIRED, "name", "owner", "address", "address_code", "switch", "reverse", "interval")
WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False, "": False}
MOST = 100_000
"""Lines."""


def read_sites(text: str, families: Collection[str]) -> tuple[list[Rule], list[str]]:
    """The rules, and what is wrong, one text for each bad line."""
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
            if not any(value for value in row.values()):
                continue
            try:
                rules.append(_rule(row, families, seen, rows.line_num))
            except ValidationError as error:
                troubles.append(f"line {rows.line_num}: {first_complaint(error)}")
            except ValueError as error:
                troubles.append(f"line {rows.line_num}: {error}")
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
    row: Mapping[str | Any, Any], families: Collection[str], seen: dict[tuple[str, str], int], line: int
) -> Rule:
    """The rule of a row; ValueError (pydantic's too) says what is wrong with it."""
    if None in row:
        raise ValueError("more fields than columns")
    told: dict[str, Any] = {name: (value or "").strip() for name, value in row.items()}
    told |= {flag: _flag(flag, told.get(flag, "")) for flag in ("switch", "reverse")}
    told["interval"] = told.get("interval") or None
    if told["family"] not in families:
        known = ", ".join(sorted(families))
        raise ValueError(f"family {told['family']!r} is not known: use one of {known}")
    rule = Rule.model_validate(told)
    if not rule.is_exact:
        raise ValueError(f"key {rule.key!r} has *, ? or [: name one device")
    if seen.setdefault(rule.place, line) != line:
        raise ValueError(f"key {rule.key!r} is in line {seen[rule.place]} too")
    return rule


def _flag(name: str, word: str) -> bool:
    if word.lower() not in WORDS:
        raise ValueError(f"{name} {word!r} is neither yes nor no")
    return WORDS[word.lower()]
