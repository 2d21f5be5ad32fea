"""What the checker says: one line for each fault, with where, what and how to cure it.

>>> print(Finding(7, "name", "IED name 'SMGW-1' has a hyphen", "use letters, digits and '_'"))
line 7: IED name 'SMGW-1' has a hyphen [name]; cure: use letters, digits and '_'
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

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


def tag(element: etree._Element) -> str:
    """Element name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def one_line(text: str) -> str:
    """``text`` without line breaks and not longer than a message may be."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _MESSAGE_LIMIT else flat[: _MESSAGE_LIMIT - 1] + "…"


class Findings:
    """Gathers findings; remembers where, so that the schema need not say the same again."""

    def __init__(self) -> None:
        self._found: dict[Finding, None] = {}
        self._places: set[tuple[int, str]] = set()
        self._contents: set[etree._Element] = set()
        self._values: set[str] = set()

    def add(self, element: etree._Element, rule: str, message: str, *, cure: str, value: str = "") -> None:
        """A fault at ``element``; ``value`` is the offending one if it may recur elsewhere."""
        line = element.sourceline or 0
        self._found[Finding(line, rule, one_line(message), one_line(cure))] = None
        self._places.add((line, tag(element)))
        if value:
            self._values.add(value)

    def add_schema(self, line: int, message: str, cure: str) -> None:
        """A fault that the schema found."""
        self._found[Finding(line, "schema", one_line(message), one_line(cure))] = None

    def content_told(self, element: etree._Element) -> None:
        """The order or presence of ``element``'s children has been told."""
        self._contents.add(element)

    def is_told(self, line: int, name: str, value: str) -> bool:
        """Whether a fault of the element at this place, or of this value, is known already."""
        return (line, name) in self._places or value in self._values

    def is_content_told(self, element: etree._Element) -> bool:
        """Whether the children of ``element``, or it among its parent's, are known to be wrong."""
        return element in self._contents or element.getparent() in self._contents

    def sorted(self) -> list[Finding]:
        """All findings, by line."""
        return sorted(self._found)
