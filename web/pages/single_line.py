"""The single-line diagram of the published SCD as the page shows it: feeders with the state of their meters.

Of a large town the feeders are folded: each has its counts, and one of them, chosen by ``feeder``, the
meters: MOST at a time, so that a stream can name them all (`web/static/table.js`).

>>> Chosen("Mill/LV/T1_F1", state="offline").of("", start=100)
'feeder=Mill%2FLV%2FT1_F1&state=offline&start=100'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

import orjson

from broker.contract.fleet import MeterState
from broker.contract.names import by_name
from scl_builder.read.single_line import Feeder, SingleLine, Tap
from web.live.state import Live
from web.live.summary import Sum

MOST = 100
"""Meters that are shown at once: their names fit into the first line of a request for the stream (8 kB)."""
ELSEWHERE = "elsewhere"
"""The key of the meters that are in no feeder; that of a feeder is its path."""


@dataclass(frozen=True)
class Chosen:
    """What a page of the diagram shows unfolded."""

    feeder: str = ""
    search: str = ""  # part of a meter's name, any case
    state: str = ""
    start: int = 0  # how many of the meters that are found come before those that are shown

    def of(self, feeder: str, *, start: int = 0) -> str:
        """The query of ``feeder``, or of another part of the one that is chosen."""
        told = {"feeder": feeder} if feeder else vars(self)
        return urlencode({name: value for name, value in (told | {"start": start}).items() if value})


@dataclass(frozen=True)
class Point:
    """A meter of the diagram and what is known of it."""

    tap: Tap
    name: str
    latest: dict[str, Any]  # as in the API; empty: not known, or not in service


@dataclass(frozen=True)
class Line:
    """A feeder, or what is in none, as it is shown."""

    key: str
    label: str
    desc: str
    kind: str
    counts: dict[str, Any]  # of `web.live.summary.Sum`, and ``unknown``
    is_open: bool
    is_chosen: bool
    phases: Sequence[tuple[str, Sequence[Point]]]
    found: int  # how many meters there are to show, of which ``phases`` has some


class Diagram:
    """The diagram now, in the event loop's thread."""

    def __init__(self, live: Live, line: SingleLine, chosen: Chosen) -> None:
        self._live = live
        self._line = line
        self.chosen = chosen
        self.has_others = bool(line.elsewhere)  # that are in no feeder
        self._unfolded = sum(len(one.taps) for one in line.feeders) + len(line.elsewhere) <= MOST

    def sites(self) -> Iterator[dict[str, Any]]:
        """Substations with their transformers, and these with their lines."""
        for site in self._line.substations:
            transformers = [
                {
                    **{name: getattr(one, name) for name in ("name", "desc", "high", "low")},
                    "lines": [self._feeder(one.name, feeder) for feeder in one.feeders],
                }
                for one in site.transformers
            ]
            yield {"name": site.name, "desc": site.desc, "transformers": transformers}

    def elsewhere(self) -> Line:
        """What is in no feeder."""
        return self._shown("In no feeder", Feeder(ELSEWHERE, "", "", self._line.elsewhere))

    def _feeder(self, transformer: str, feeder: Feeder) -> Line:
        return self._shown(feeder.path.rpartition("/")[2].removeprefix(f"{transformer}_"), feeder)

    def _shown(self, label: str, feeder: Feeder) -> Line:
        key = feeder.path
        is_chosen = key == self.chosen.feeder
        is_open = is_chosen or self._unfolded
        wanted = self.chosen if is_chosen else Chosen()
        taps = self._found(feeder.taps, wanted) if is_open else []
        some = map(self._point, taps[wanted.start : wanted.start + MOST])
        phases = [(phase, list(group)) for phase, group in groupby(some, lambda one: one.tap.phase)]
        counts = self._counts(feeder.taps)
        return Line(key, label, feeder.desc, feeder.line, counts, is_open, is_chosen, phases, found=len(taps))

    def _counts(self, taps: Iterable[Tap]) -> dict[str, Any]:
        total, unknown = Sum(), 0
        for tap in taps:
            if meter := self._meter(tap):
                total.add(meter, self._live.state(meter))
            else:
                unknown += 1
        return {**total.told(), "unknown": unknown}

    def _found(self, taps: Iterable[Tap], wanted: Chosen) -> list[Tap]:
        """Those that are wanted, by phase and name."""
        search, state = wanted.search.casefold(), wanted.state
        found = [
            (tap.phase or "~", by_name(name, tap.device), tap)
            for tap in taps
            if search in (name := self._name(tap)).casefold() and (not state or state == self._state(tap))
        ]
        return [tap for *_, tap in sorted(found)]

    def _point(self, tap: Tap) -> Point:
        meter = self._meter(tap)
        documents = self._live.documents([meter.meter_id]) if meter else []
        return Point(tap, self._name(tap), orjson.loads(documents[0]) if documents else {})

    def _meter(self, tap: Tap) -> MeterState | None:
        """None: not known yet, or not in service."""
        return self._live.meter(self._live.devices.get(tap.device, ""))

    def _name(self, tap: Tap) -> str:
        """That of the meter now; before it is known that of the SCD."""
        meter = self._meter(tap)
        return meter.birth.name if meter and meter.birth else tap.name

    def _state(self, tap: Tap) -> str:
        meter = self._meter(tap)
        return self._live.state(meter) if meter else ""
