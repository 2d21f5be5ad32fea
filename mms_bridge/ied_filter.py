"""Which IEDs a process serves: names and ranges, so that several processes share a town.

>>> some = selection("SMGW001-SMGW100, SMGW150")
>>> "SMGW042" in some, "SMGW101" in some, "SMGW150" in some
(True, False, True)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGE = re.compile(r"([A-Za-z][0-9A-Za-z_]*?)(\d+)-([A-Za-z][0-9A-Za-z_]*?)(\d+)")
_NAME = re.compile(r"[A-Za-z][0-9A-Za-z_]*")


@dataclass(frozen=True)
class IedSelection:
    """Some IEDs, by name and by ranges of numbered names."""

    text: str

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        return any(_within(name, part) for part in self.text.split(","))

    @property
    def first(self) -> str:
        """The first name in it."""
        return re.split("[-,]", self.text)[0]


def _within(name: str, part: str) -> bool:
    span = _RANGE.fullmatch(part)
    numbered = re.fullmatch(r"(.*?)(\d+)", name)
    if span is None or numbered is None:
        return name == part
    return numbered[1] == span[1] and int(span[2]) <= int(numbered[2]) <= int(span[4])


def selection(value: object) -> object:
    """The selection that ``value`` writes; ValueError names the part that is none."""
    if not isinstance(value, str):
        return value
    text = value.replace(" ", "")
    for part in text.split(","):
        span = _RANGE.fullmatch(part)
        if not (_NAME.fullmatch(part) or (span and span[1] == span[3] and int(span[2]) <= int(span[4]))):
            raise ValueError(f"{part!r}: an IED's name, or a range such as SMGW001-SMGW100")
    return IedSelection(text)
