"""Editions of IEC 61850-6: a file is judged by its own, as far as we know it.

The schema and the tables of 7-3 and 7-4 that we have are those of 2007B4. Releases 1 to 4 of 2007B are judged
by them. Of the other editions the frame, names and references are judged; what only the schema or the tables
say is a warning there, or nothing where the edition is known to differ.

>>> edition_of({"version": "2007", "revision": "B", "release": "5"})
Edition(name='2007B5', kind=<Kind.NEWER: 3>)
>>> edition_of({})
Edition(name='Edition 1 (2003)', kind=<Kind.FIRST: 0>)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from scl_builder.read.findings import Severity

LATEST_RELEASE = 4
"""Of 2007B: the one of our schema."""

_SCHEMA = frozenset({"schema"})
_TABLES = frozenset(
    {"cdc", "control", "da-fc", "da-missing", "da-type", "da-unknown", "do-missing", "do-unknown", "enum"}
    | {"ld-ns", "ln-class", "trigger"}
)
"""Rules that compare with 7-2, 7-3, 7-4 and 8-1."""
_ALSO_IN_FIRST = frozenset({"do-missing"})
"""Of them: Edition 1 has more mandatory objects, and not fewer."""
_NATURAL = re.compile(r"[1-9]\d{0,8}")


class Kind(Enum):
    """How an edition stands to our schema."""

    FIRST = 0
    OLDER = 1
    OURS = 2
    NEWER = 3


@dataclass(frozen=True)
class Edition:
    """The edition of one file."""

    name: str
    kind: Kind

    def judged(self, rule: str, severity: Severity) -> Severity | None:
        """How much a finding of ``rule`` weighs; None: this edition does not have the rule."""
        if self.kind is Kind.OURS or rule not in _SCHEMA | _TABLES:
            return severity
        if self.kind is Kind.FIRST and rule in _TABLES - _ALSO_IN_FIRST:
            return None
        return Severity.WARNING if severity is Severity.ERROR else severity


def edition_of(attributes: Mapping[str, str]) -> Edition | None:
    """The edition that the attributes of SCL name; None if there can be none of that name."""
    version, revision, release = (
        attributes.get(name, default).strip()
        for name, default in (("version", "2003"), ("revision", "A"), ("release", "1"))
    )
    if not (_is_year(version) and re.fullmatch("[A-Z]", revision) and _NATURAL.fullmatch(release)):
        return None
    if version < "2007":
        return Edition("Edition 1 (2003)", Kind.FIRST)
    written = (version, revision, int(release))
    name = f"{version}{revision}{release}"
    if written > ("2007", "B", LATEST_RELEASE):
        return Edition(name, Kind.NEWER)
    return Edition(name, Kind.OURS if revision == "B" else Kind.OLDER)


def _is_year(text: str) -> bool:
    return re.fullmatch(r"20\d\d", text, re.ASCII) is not None and text >= "2003"
