"""The topology file: TOML that says on which feeder and phase of which transformer the meters are.

>>> read_topology('[[substation]]\\nname = "Mill"\\n[[substation.transformer]]\\nname = "T 1"')
Traceback (most recent call last):
    ...
scl_builder.read.topology_file.TopologyError: line 4: substation.transformer.name = 'T 1': letters and digits, a letter first, at most 32
"""  # noqa: E501

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any, TypeVar

from scl_builder.model.topology import By, Choice, Feeder, Site, Topology, Transformer, choice
from scl_builder.read.toml_lines import Path, TomlLines

T = TypeVar("T")
PHASES = ("A", "B", "C")
MAX_KV = 2000
_NAME = re.compile(r"[A-Za-z][0-9A-Za-z]{0,31}")
_NAME_RIGHT = "letters and digits, a letter first, at most 32"
_MAX_DESC = 255
# fmt: off
_KEYS: dict[str, frozenset[str]] = {
    "": frozenset({"substation"}),
    "substation": frozenset({"name", "desc", "high_kv", "low_kv", "transformer"}),
    "transformer": frozenset({"name", "desc", "feeder", "own_meter"}),
    "feeder": frozenset({"name", "desc", "cable", "meters", "own_meter", "phase"}),
    "phase": frozenset(PHASES),
}
# fmt: on
"""Table → its keys."""


class TopologyError(ValueError):
    """The file is no topology: the message has line, key, value, and what would be right."""


def read_topology(text: str) -> Topology:
    """What ``text`` says; TopologyError names the first thing that is wrong in it."""
    text = text.removeprefix("\ufeff")
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TopologyError(f"not TOML: {error}") from error
    except RecursionError:
        raise TopologyError("not TOML that we read: brackets in brackets, some hundred deep") from None
    return _Reader(TomlLines(text)).topology(told)


class _Reader:
    """Checks what tomllib has read, table by table."""

    def __init__(self, lines: TomlLines) -> None:
        self._lines = lines
        self._chosen: dict[Choice, int] = {}

    def topology(self, told: dict[str, Any]) -> Topology:
        self._known(told, (), "")
        sites = self._tables(told, (), "substation", self._site)
        if not sites:
            raise TopologyError("line 1: there is no [[substation]]: add one, with a name")
        return Topology(sites)

    def _site(self, told: dict[str, Any], path: Path) -> Site:
        if not told.get("transformer"):
            right = "a substation has one or more: [[substation.transformer]] below it"
            raise self._wrong((*path, "transformer"), told.get("transformer"), right)
        return Site(
            self._name(told, path),
            self._desc(told, path),
            self._kilovolts(told, path, "high_kv"),
            self._kilovolts(told, path, "low_kv"),
            self._tables(told, path, "transformer", self._transformer),
        )

    def _transformer(self, told: dict[str, Any], path: Path) -> Transformer:
        feeders = self._tables(told, path, "feeder", self._feeder)
        own = self._own_meter(told, path)
        return Transformer(self._name(told, path), self._desc(told, path), feeders, own)

    def _feeder(self, told: dict[str, Any], path: Path) -> Feeder:
        cable = told.get("cable", False)
        if not isinstance(cable, bool):
            raise self._wrong((*path, "cable"), cable, "true or false")
        phases = told.get("phase", {})
        if not isinstance(phases, dict):
            raise self._wrong((*path, "phase"), phases, 'a table: phase.A = ["House 1"]')
        self._known(phases, (*path, "phase"), "phase")
        lists = [("", told.get("meters", []), (*path, "meters"))]
        lists += [(name, phases[name], (*path, "phase", name)) for name in PHASES if name in phases]
        meters = tuple((phase, self._choices(items, where)) for phase, items, where in lists if items != [])
        own = self._own_meter(told, path)
        return Feeder(self._name(told, path), self._desc(told, path), cable, meters, own)

    def _own_meter(self, told: dict[str, Any], path: Path) -> Choice | None:
        if "own_meter" not in told:
            return None
        where = (*path, "own_meter")
        made = self._choice(told["own_meter"], where)
        if made.by == By.CODE:
            raise self._wrong(where, told["own_meter"], 'one meter: "M17" or "Mill T1"')
        return made

    def _choices(self, items: object, path: Path) -> tuple[Choice, ...]:
        if not isinstance(items, list):
            raise self._wrong(path, items, 'a list: ["House 1", "M17", "code:7530"]')
        return tuple(self._choice(item, (*path, place)) for place, item in enumerate(items))

    def _choice(self, item: object, path: Path) -> Choice:
        if not isinstance(item, str):
            raise self._wrong(path, item, 'text: "House 1", "M17" or "code:7530"')
        try:
            made = choice(item)
        except ValueError as error:
            raise self._wrong(path, item, str(error)) from error
        line = self._lines.of(path, item)
        if made in self._chosen:
            raise self._wrong(path, item, f"a meter is in one place; line {self._chosen[made]} has it too")
        self._chosen[made] = line
        return made

    def _tables(
        self, told: dict[str, Any], path: Path, key: str, read: Callable[[dict[str, Any], Path], T]
    ) -> tuple[T, ...]:
        """The tables of an array, each read; their names differ."""
        items = told.get(key, [])
        here = (*path, key)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self._wrong(here, items, f"tables: [[{_dotted(here)}]]")
        made, names = [], dict[str, int]()
        for place, item in enumerate(items):
            where = (*here, place)
            self._known(item, where, key)
            made.append(read(item, where))
            name, line = item["name"], self._lines.of((*where, "name"))
            if name in names:
                raise self._wrong((*where, "name"), name, f"another name: line {names[name]} has this one")
            names[name] = line
        return tuple(made)

    def _known(self, told: dict[str, Any], path: Path, kind: str) -> None:
        for key, value in told.items():
            if key not in _KEYS[kind]:
                right = f"no such key: {', '.join(sorted(_KEYS[kind]))}"
                raise self._wrong((*path, key), value, right)

    def _name(self, told: dict[str, Any], path: Path) -> str:
        name = told.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise self._wrong((*path, "name"), name, _NAME_RIGHT)
        return name

    def _desc(self, told: dict[str, Any], path: Path) -> str:
        desc = told.get("desc", "")
        if not isinstance(desc, str) or len(desc) > _MAX_DESC:
            raise self._wrong((*path, "desc"), desc, f"text of at most {_MAX_DESC} characters")
        return desc

    def _kilovolts(self, told: dict[str, Any], path: Path, key: str) -> float | None:
        value = told.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_KV:
            raise self._wrong((*path, key), value, f"kilovolts, above 0 and at most {MAX_KV}, such as 0.4")
        return float(value)

    def _wrong(self, path: Path, value: object, right: str) -> TopologyError:
        line = self._lines.of(path, value if isinstance(value, str) else "")
        return TopologyError(f"line {line}: {_dotted(path)} {_shown(value)}: {right}")


def _shown(value: object) -> str:
    if value is None:
        return "is missing"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return f"= {text}" if len(text) <= 80 else f"= {text[:77]}…"


def _dotted(path: Path) -> str:
    return ".".join(part for part in path if isinstance(part, str))
