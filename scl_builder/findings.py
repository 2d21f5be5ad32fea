"""What the checker says: one line for each fault, with where, what and how to cure it.

>>> print(Finding(7, "name", "IED name 'SMGW-1' is no IEC 61850 name", "use letters, digits and '_'"))
line 7: IED name 'SMGW-1' is no IEC 61850 name [name]; cure: use letters, digits and '_'
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lxml import etree

SCHEMA_LINES = 65_535
"""The schema's errors tell every later line as this one."""

_MESSAGE_LIMIT = 500
"""Characters; an offending value may be a megabyte."""


@dataclass(frozen=True, order=True)
class Finding:
    """One fault; ``line`` counts from 1 and is 0 when the file as a whole is meant."""

    line: int
    rule: str
    message: str
    cure: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message} [{self.rule}]; cure: {self.cure}"


@dataclass(frozen=True)
class _Fault:
    """A finding whose line is not looked up yet: its element, or the line that the schema told."""

    place: etree._Element | int
    rule: str
    message: str
    cure: str


def tag(element: etree._Element) -> str:
    """Element name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def one_line(text: str) -> str:
    """``text`` without line breaks and not longer than a message may be."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _MESSAGE_LIMIT else flat[: _MESSAGE_LIMIT - 1] + "…"


class Findings:
    """Gathers faults; remembers where, so that the schema need not say the same again."""

    def __init__(self) -> None:
        self._faults: dict[_Fault, None] = {}
        self._places: set[tuple[int, str]] = set()
        self._contents: set[etree._Element] = set()
        self._values: set[str] = set()
        self.elements: set[etree._Element] = set()
        """Elements with a fault."""

    def add(self, element: etree._Element, rule: str, message: str, *, cure: str, value: str = "") -> None:
        """A fault at ``element``; ``value`` is the offending one if it may recur elsewhere."""
        self._faults[_Fault(element, rule, one_line(message), one_line(cure))] = None
        self._places.add((min(element.sourceline or 0, SCHEMA_LINES), tag(element)))
        self.elements.add(element)
        if value:
            self._values.add(value)

    def add_schema(self, place: etree._Element | int, message: str, cure: str) -> None:
        """A fault that the schema found at an element, or at a line."""
        self._faults[_Fault(place, "schema", one_line(message), one_line(cure))] = None
        if not isinstance(place, int):
            self.elements.add(place)

    def content_told(self, element: etree._Element) -> None:
        """The order or presence of ``element``'s children has been told."""
        self._contents.add(element)

    def is_told(self, place: etree._Element | int, name: str) -> bool:
        """Whether an element, or one called ``name`` at a line as the schema counts, has a fault already."""
        if isinstance(place, int):
            return (place, name) in self._places
        return place in self.elements

    def is_value_told(self, value: str) -> bool:
        """Whether ``value`` is known as an offending one."""
        return value in self._values

    def is_content_told(self, element: etree._Element) -> bool:
        """Whether the children of ``element``, or it among its parent's, are known to be wrong."""
        return element in self._contents or element.getparent() in self._contents

    def sorted(self, line_of: Callable[[etree._Element], int]) -> list[Finding]:
        """All findings, by line."""
        return sorted(
            Finding(
                fault.place if isinstance(fault.place, int) else line_of(fault.place),
                fault.rule,
                fault.message,
                fault.cure,
            )
            for fault in self._faults
        )
