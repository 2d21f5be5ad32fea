"""Losses and suspicions as tables, computed from the load profiles of the store when they are asked for.

>>> losses(store, nodes_of(store), periods)       # doctest: +SKIP
>>> suspicions(store, nodes_of(store), calendar, start=start, end=end)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from bridge.losses.aligned import ENERGY, NAMES, PHASES, Series, aligned, series
from bridge.losses.balance import FIELDS, Flows, flows, row, technical
from bridge.losses.nodes import Node
from bridge.losses.rules import RULES
from bridge.losses.subjects import Clock, House, Place
from bridge.store.every_meter import METER, identity
from bridge.store.export import Table
from bridge.store.queries import Store
from bridge.store.tables import HOUR_MS, Meter, at_ms, moment
from broker.calendar import Calendar, Period

LOSSES = ("feeder", "period", "start", "end", "houses", *FIELDS)
SUSPICIONS = ("feeder", *METER, "rule", "since", "intervals", "reason", "otherwise")
INTERVALS = ("feeder", "start", "end", "supplied", "used", "houses", "known", "complete")
"""Energy in Wh; of how many ``houses`` in service it is ``known``; ``complete``: of all and the own meter."""


class Read(NamedTuple):
    """The profiles of a node, on one grid."""

    own: list[Series]
    houses: list[Series]

    @property
    def flows(self) -> Flows | None:
        """None without any meter."""
        return flows(self.own, self.houses) if self.own or self.houses else None


def read(store: Store, node: Node, *, start: int, end: int, names: frozenset[str] = NAMES) -> Read:
    """From ``start`` to ``end`` (ms), in full hours around them; ``names`` are the fields that are needed."""
    begin, until = start // HOUR_MS * HOUR_MS, -(-end // HOUR_MS) * HOUR_MS
    meters = [*node.own, *(house.meter for house in node.houses)]
    found = aligned([_series(store, meter, begin, until, names) for meter in meters])
    return Read(found[: len(node.own)], found[len(node.own) :])


def _series(store: Store, meter: Meter, start: int, end: int, names: frozenset[str]) -> Series:
    """A meter is in service from its first message or interval until it is retired."""
    days = store.profiles.days(meter, start=start, end=end)
    born = [day.start + day.span * next(filter(day.version, day.places(0, day.start + 86_400_000)), 0)
            for day in days[:1]]  # fmt: skip
    life = min([meter.first_seen, *born]), end if meter.retired_at is None else meter.retired_at
    return series(days, start=start, end=end, life=life, names=names)


def losses(store: Store, nodes: Iterable[Node], periods: Sequence[Period]) -> Table:
    """A row for each node and period; ``periods`` follow each other."""
    return Table(LOSSES, (one for node in nodes for one in _losses(store, node, periods)))


def _losses(store: Store, node: Node, periods: Sequence[Period]) -> Iterator[tuple[Any, ...]]:
    if not periods:
        return
    start, end = at_ms(periods[0].start), at_ms(periods[-1].end)
    found = read(store, node, start=start, end=end, names=ENERGY).flows
    if found is None:
        return
    fit = technical(found)
    for period in periods:
        start, end = at_ms(period.start), at_ms(period.end)
        yield (node.path, period.name, start, end, len(node.houses), *row(found, fit, start, end))


def intervals(store: Store, nodes: Iterable[Node], *, start: int, end: int) -> Table:
    """A row for each node and interval that begins in this time (ms)."""
    return Table(INTERVALS, (one for node in nodes for one in _intervals(store, node, start, end)))


def _intervals(store: Store, node: Node, start: int, end: int) -> Iterator[tuple[Any, ...]]:
    found = read(store, node, start=start, end=end, names=ENERGY).flows
    for place, supplied in enumerate(found.supplied if found else ()):
        assert found is not None
        if start <= (at := found.at(place)) < end:
            marks = [counts[place] for counts in found.marks]
            energy = None if supplied is None else supplied / 1000, found.used[place] / 1000
            known = sum(marks[:-1])
            yield (node.path, at, at + found.span, *energy, sum(marks), known, found.balanced[place])


def suspicions(
    store: Store, nodes: Sequence[Node], calendar: Calendar, *, start: int, end: int, path: str | None = None
) -> Table:
    """A row for each house and rule, by feeder: all, or those of a ``path``.

    ``nodes`` are all that there are: phases are those of the feeder's meter, or else of the transformer's.
    """
    own = {node.path: node.own for node in nodes}
    rows = (
        one
        for node in nodes
        if node.above and path in (None, node.path, node.above)
        for one in _suspicions(store, node, own.get(node.above, []), calendar, start, end)
    )
    return Table(SUSPICIONS, rows)


def _suspicions(
    store: Store, node: Node, above: list[Meter], calendar: Calendar, start: int, end: int
) -> Iterator[tuple[Any, ...]]:
    with_above = Node(node.path, node.above, [*node.own, *above], node.houses)
    found = read(store, with_above, start=start, end=end)
    place = place_of(
        Read(found.own[: len(node.own)], found.houses),
        [house.phase for house in node.houses],
        calendar,
        three_phase=found.own,
    )
    if place is None:
        return
    for name, rule in RULES.items():
        for number, one in rule.find(place):
            head = (node.path, *identity(node.houses[number].meter), name)
            yield (*head, place.flows.at(one.place), one.intervals, one.reason.rstrip(), rule.otherwise)


def place_of(
    found: Read, phases: Sequence[str], calendar: Calendar, *, three_phase: Sequence[Series]
) -> Place | None:
    """What the rules look at; the voltages are of the first of ``three_phase`` that has them."""
    if not found.houses or (of := found.flows) is None:
        return None
    local = [calendar.local(moment(of.at(place))) for place in range(len(of.used))]
    clock = Clock([at.toordinal() for at in local], [at.hour for at in local])
    volts = next((one for one in three_phase if one.columns.keys() >= set(PHASES.values())), None)
    columns = [] if volts is None else list(map(volts.column, PHASES.values()))
    houses = [House(phase, one) for phase, one in zip(phases, found.houses, strict=True)]
    return Place(houses, of, clock, columns)
