"""In which line of a TOML text a value is: tomllib keeps no lines.

>>> lines = TomlLines('[[a]]\\nname = "x"\\n[[a]]\\nname = "y"\\nmeters = [\\n  "M1",\\n]')
>>> lines.of(("a", 1, "name")), lines.of(("a", 1, "meters", 0), "M1"), lines.of(("a", 0, "b"))
(4, 6, 1)
"""

from __future__ import annotations

import re
from collections import Counter

Path = tuple[str | int, ...]
"""Keys and, in arrays of tables, places from 0."""

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]\]?\s*(?:#.*)?$")
_ASSIGNMENT = re.compile(rf"\s*({_DOTTED})\s*=")


class TomlLines:
    """Where the tables and keys of a valid TOML text begin."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._where: dict[Path, int] = {(): 1}
        self._arrays: Counter[Path] = Counter()
        table: Path = ()
        for number, line in enumerate(self._lines, 1):
            if header := _HEADER.match(line):
                table = self._table(_keys(header[2]), is_array=header[1] == "[[")
                self._where.setdefault(table, number)
            elif assignment := _ASSIGNMENT.match(line):
                self._note(table, _keys(assignment[1]), number)

    def _table(self, keys: list[str], *, is_array: bool) -> Path:
        """The path of a header; it goes on in the last table of each array that it names."""
        path: Path = ()
        for place, key in enumerate(keys, 1):
            path = (*path, key)
            if is_array and place == len(keys):
                self._arrays[path] += 1
            if count := self._arrays[path]:
                path = (*path, count - 1)
        return path

    def _note(self, table: Path, keys: list[str], number: int) -> None:
        for length in range(1, len(keys) + 1):
            self._where.setdefault((*table, *keys[:length]), number)

    def of(self, path: Path, text: str = "") -> int:
        """The line of ``path``, or of the table that it should be in; of ``text`` in it, if that is found."""
        while path not in self._where:
            path = path[:-1]
        first = self._where[path]
        if text:
            later = (number for number, line in enumerate(self._lines[first - 1 :], first) if text in line)
            return next(later, first)
        return first


def _keys(dotted: str) -> list[str]:
    return [key.strip("\"'") for key in re.findall(_KEY, dotted)]
