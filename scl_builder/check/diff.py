"""What differs between two SCL files, in the words of an engineer: IEDs, devices, values, data sets, blocks.

Devices are compared by IED name and inst, so that another ldName is one difference, and not a device that
went and one that came. Values are what a server of the file would have: of the instance, else of its type.

>>> from scl_builder.build.builder import build_scd
>>> from scl_builder.build.project import Ied, Meter, Project
>>> from scl_builder.check.outline import parse
>>> def town(port: int) -> Document:
...     return parse(build_scd(Project("town", 1, (Ied("A", "192.0.2.1", port, ()),))))
>>> print(*diff(town(102), town(103)))
A: endpoint changed from 192.0.2.1:102 to 192.0.2.1:103
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from scl_builder.check.document import Document
from scl_builder.check.outline import Facts, NodeOutline, Outline, Path

_LISTED = 3
"""Members that are named; of more only how many they are."""
_ALIKE = 4
"""Devices with the same change from which on one line tells it."""


@dataclass(frozen=True)
class Change:
    """One difference: where it is and what it is."""

    ied: str
    """Empty for the file as a whole."""
    device: str
    """MMS domain and name; empty for the IED itself."""
    what: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.ied, self.device, self.what)))


def diff(before: Document, after: Document) -> list[Change]:
    """All differences, in the order of the names."""
    return list(_Comparison(Outline(before), Outline(after)).changes())


def condensed(changes: Iterable[Change]) -> list[Change]:
    """The same with one line for what is the same in several devices, or in several IEDs."""
    groups: dict[tuple[bool, str], list[Change]] = defaultdict(list)
    for change in changes:
        groups[bool(change.device), change.what].append(change)
    found: list[Change] = []
    for alike in groups.values():
        found += alike if len(alike) < _ALIKE else [_together(alike)]
    return found


def _together(alike: list[Change]) -> Change:
    ieds = {change.ied for change in alike}
    where = alike[0].ied if len(ieds) == 1 else _count(len(ieds), "IED")
    return Change(where, f"{len(alike)} logical devices" if alike[0].device else "", alike[0].what)


class _Comparison:
    def __init__(self, before: Outline, after: Outline) -> None:
        self._before = before
        self._after = after
        self._types: dict[tuple[str, str], _TypeChanges] = {}
        self._old, self._new = before.by_inst, after.by_inst
        self._renamed = {old: self._new[key] for key, old in self._old.items() if key in self._new}

    def changes(self) -> Iterator[Change]:
        before, after = self._before, self._after
        for what in _facts(before.header, after.header):
            yield Change("", "", f"Header {what}")
        for name in sorted(before.ieds.keys() | after.ieds.keys()):
            yield from self._ied(name)
        named = self._old | self._new
        for key in sorted(named, key=lambda key: named[key]):
            yield from self._device(self._old.get(key), self._new.get(key))

    def _ied(self, name: str) -> Iterator[Change]:
        if name not in self._before.ieds:
            yield Change(name, "", f"IED added, {self._after.ieds[name].get('endpoint', 'no address')}")
        elif name not in self._after.ieds:
            yield Change(name, "", "IED removed")
        else:
            for what in _facts(self._before.ieds[name], self._after.ieds[name]):
                yield Change(name, "", what)

    def _device(self, old: str | None, new: str | None) -> Iterator[Change]:
        """What became of a device, by its MMS names; None in the file that does not have it."""
        for domain, outline, what in ((old, self._before, "removed"), (new, self._after, "added")):
            if domain is not None and None in (old, new):
                yield Change(outline.devices[domain][0], outline.label(domain), what)
        if old is None or new is None:
            return
        facts = (
            {"MMS name": domain, "place": outline.places.get(domain, "")}
            for domain, outline in ((old, self._before), (new, self._after))
        )
        for what in (*_facts(*facts), *self._nodes(old, new)):
            yield Change(self._after.devices[new][0], self._after.label(new), what)

    def _nodes(self, old: str, new: str) -> Iterator[str]:
        before, after = self._before.nodes(old), self._after.nodes(new)
        for name in sorted(before.keys() | after.keys()):
            if name not in before:
                yield f"logical node {name} added"
            elif name not in after:
                yield f"logical node {name} removed"
            else:
                yield from self._node(name, before[name], after[name])

    def _node(self, name: str, before: NodeOutline, after: NodeOutline) -> Iterator[str]:
        types = self._type(before.ln_type, after.ln_type)
        yield from (f"{name}.{word}" for word in types.words)
        for path in sorted(types.defaults | (types.common & (before.values.keys() | after.values.keys()))):
            old = before.values.get(path, self._before.leaves(before.ln_type)[path].value)
            new = after.values.get(path, self._after.leaves(after.ln_type)[path].value)
            if old != new:
                yield f"{'.'.join((name, *path))} {_change(old, new)}"
        data_sets = {name: tuple(map(self._now, members)) for name, members in before.data_sets.items()}
        yield from _data_sets(data_sets, after.data_sets)
        yield from _reports(before.reports, after.reports)

    def _now(self, member: str) -> str:
        """A member of before by the MMS name that its device has now."""
        domain, slash, item = member.partition("/")
        return self._renamed.get(domain, domain) + slash + item

    def _type(self, before: str, after: str) -> _TypeChanges:
        """What changes with the type; looked at once for each pair."""
        if (before, after) not in self._types:
            self._types[before, after] = _compare_types(self._before, before, self._after, after)
        return self._types[before, after]


@dataclass(frozen=True)
class _TypeChanges:
    words: tuple[str, ...]
    common: frozenset[Path]
    """Attributes that both have."""
    defaults: frozenset[Path]
    """Those of them to which the types give different values."""


def _compare_types(outline: Outline, old: str, other: Outline, new: str) -> _TypeChanges:
    objects, others = outline.objects(old), other.objects(new)
    before, after = outline.leaves(old), other.leaves(new)
    common = frozenset(before.keys() & after.keys())
    words = [*_objects(objects, others)]
    for path in sorted(before.keys() ^ after.keys()):
        if path[0] in objects and path[0] in others:
            known, word = (before, "removed") if path in before else (after, "added")
            words.append(f"{'.'.join(path)} [{known[path].fc}] {word}")
    for path in sorted(common):
        for what in ("fc", "kind"):
            was, now = getattr(before[path], what), getattr(after[path], what)
            if was != now:
                words.append(f"{'.'.join(path)} {'type ' if what == 'kind' else 'fc '}{_change(was, now)}")
    differing = frozenset(path for path in common if before[path].value != after[path].value)
    return _TypeChanges(tuple(words), common, differing)


def _objects(before: Facts, after: Facts) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield f"{name} ({after[name]}) added"
        elif name not in after:
            yield f"{name} ({before[name]}) removed"
        elif before[name] != after[name]:
            yield f"{name} CDC {_change(before[name], after[name])}"


def _data_sets(before: Mapping[str, tuple[str, ...]], after: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None and new is not None:
            yield f"data set {name} added, {_count(len(new), 'member')}"
        elif new is None:
            yield f"data set {name} removed"
        elif old is not None and old != new:
            yield f"data set {name}: {_members(old, new)}"


def _members(before: tuple[str, ...], after: tuple[str, ...]) -> str:
    words = []
    old, new = set(before), set(after)
    for word, members in (
        ("added", [member for member in after if member not in old]),
        ("removed", [member for member in before if member not in new]),
    ):
        if members:
            named = f" ({', '.join(members)})" if len(members) <= _LISTED else ""
            words.append(f"{_count(len(members), 'member')} {word}{named}")
    return ", ".join(words) or "members in another order"


def _reports(before: Mapping[str, Facts], after: Mapping[str, Facts]) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            data_set = after[name].get("datSet", "no data set")
            yield f"report control {name} added, {data_set}, max {after[name]['max']}"
        elif name not in after:
            yield f"report control {name} removed"
        else:
            yield from (f"report control {name} {what}" for what in _facts(before[name], after[name]))


def _facts(before: Facts, after: Facts) -> Iterator[str]:
    """What became of each fact; empty is as good as absent."""
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name, ""), after.get(name, "")
        if old != new:
            yield f"{name} {_change(old, new)}"


def _change(old: str, new: str) -> str:
    if not old or not new:
        return f"added: {new}" if new else f"removed: {old}"
    return f"changed from {old} to {new}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
