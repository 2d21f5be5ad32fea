"""What the checker says: one line for each finding, with where, what and how to cure it.

An **error** breaks the standard of the file's edition. A **warning** is allowed, and some tools stumble over
it, or it cannot be judged for certain. A **hint** is allowed, and could be better.

>>> print(Finding(7, "name", "IED name 'SMGW-1' is no IEC 61850 name", "use letters, digits and '_'"))
line 7: IED name 'SMGW-1' is no IEC 61850 name [name]; cure: use letters, digits and '_'
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from lxml import etree

SCHEMA_LINES = 65_535
"""The schema's errors tell every later line as this one."""

_MESSAGE_LIMIT = 500
"""Characters; an offending value may be a megabyte."""


class Severity(StrEnum):
    """How much a finding weighs; only errors make the check fail."""

    ERROR = "error"
    WARNING = "warning"
    HINT = "hint"


Judge = Callable[[str, Severity], Severity | None]
"""How much a rule's finding weighs in the file's edition; None: the edition does not have the rule."""


@dataclass(frozen=True, order=True)
class Finding:
    """One finding; ``line`` counts from 1 and is 0 when the file as a whole is meant."""

    line: int
    rule: str
    message: str
    cure: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        kind = "" if self.severity is Severity.ERROR else f"{self.severity}: "
        return f"line {self.line}: {kind}{self.message} [{self.rule}]; cure: {self.cure}"


@dataclass(frozen=True)
class _Fault:
    """A finding whose line is not looked up yet: its element, or the line that the schema told."""

    place: etree._Element | int
    rule: str
    message: str
    cure: str
    severity: Severity


def as_written(_rule: str, severity: Severity) -> Severity:
    """The judge of the edition that the rules are written for."""
    return severity


def tag(element: etree._Element) -> str:
    """Element name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def one_line(text: str) -> str:
    """``text`` without line breaks and not longer than a message may be."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _MESSAGE_LIMIT else flat[: _MESSAGE_LIMIT - 1] + "…"


class Findings:
    """Gathers findings; remembers where the errors are, so that the schema need not say the same again."""

    def __init__(self, judge: Judge = as_written) -> None:
        self._judge = judge
        self._faults: dict[_Fault, None] = {}
        self._places: set[tuple[int, str]] = set()
        self._contents: set[etree._Element] = set()
        self._values: set[str] = set()
        self._wrong: set[etree._Element] = set()
        self.elements: set[etree._Element] = set()
        """Elements with a finding."""

    def add(
        self,
        element: etree._Element,
        rule: str,
        message: str,
        *,
        cure: str,
        value: str = "",
        severity: Severity = Severity.ERROR,
    ) -> None:
        """A finding at ``element``; ``value`` is the offending one if it may recur elsewhere."""
        judged = self._add(element, rule, message, cure, severity)
        if judged is Severity.ERROR:
            self._places.add((min(element.sourceline or 0, SCHEMA_LINES), tag(element)))
            self._wrong.add(element)
            if value:
                self._values.add(value)

    def add_schema(self, place: etree._Element | int, message: str, cure: str) -> None:
        """What the schema found at an element, or at a line."""
        self._add(place, "schema", message, cure, Severity.ERROR)

    def _add(
        self, place: etree._Element | int, rule: str, message: str, cure: str, severity: Severity
    ) -> Severity | None:
        judged = self._judge(rule, severity)
        if judged is not None:
            self._faults[_Fault(place, rule, one_line(message), one_line(cure), judged)] = None
            if not isinstance(place, int):
                self.elements.add(place)
        return judged

    def told(self, element: etree._Element) -> None:
        """What the schema would say of ``element`` has been told."""
        self._wrong.add(element)

    def content_told(self, element: etree._Element) -> None:
        """The order or presence of ``element``'s children has been told."""
        self._contents.add(element)

    def is_told(self, place: etree._Element | int, name: str) -> bool:
        """Whether an element, or one called ``name`` at a line as the schema counts, has an error already."""
        if isinstance(place, int):
            return (place, name) in self._places
        return place in self._wrong

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
                fault.severity,
            )
            for fault in self._faults
        )
