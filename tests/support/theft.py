"""A month of a feeder with 20 houses as load profiles and as it really was: pure, from a seed.

Three houses with theft, one whose current transformer is the wrong way round, one on another phase than the
topology says, one that is empty, one that is on holiday; outages of the feeder and missing intervals.

>>> feeder = month(1)
>>> len(feeder.houses), feeder.odd[STOLEN_FROM]
(20, 'gap-rises')
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from bridge.losses.aligned import Series
from bridge.losses.report import Read
from bridge.store.intervals import Mark
from bridge.store.profile_format import Day
from bridge.store.tables import DAY_MS, LoadProfile, Meter, SclRevision
from tests.support.stores import DAY0, meter_id

START = DAY0 - 31 * DAY_MS
"""2026-10-23T00:00:00Z."""
SPAN = 900_000
PER_DAY = DAY_MS // SPAN
DAYS = 30
COUNT = DAYS * PER_DAY
HOURS = SPAN / 3_600_000
STOLEN_FROM, BYPASSED, BY_NIGHT, TURNED, MISPLACED, EMPTY = 3, 7, 11, 14, 17, 19
"""Numbers of houses: from a day on most of the load, all of it, the nights, and no theft at all."""
FACTOR = 4e-6
"""W of losses per W² of the supply."""
PHASES = "ABC"


@dataclass
class Feeder:
    """What the meters said, and the truth: thousandths of a Wh in each interval."""

    own: dict[str, list[Any]]
    houses: list[dict[str, list[Any]]]
    phases: list[str]
    """As the topology file says."""
    since: int
    """The interval from which on `STOLEN_FROM` is stolen."""
    stolen: list[int]
    """By theft, and by the house that is counted the wrong way."""
    technical: list[int]
    odd: dict[int, str] = field(default_factory=dict)
    """House → the rule that fits it."""

    def read(self, *, but: frozenset[int] = frozenset()) -> Read:
        """As of the store, without these houses."""
        several = [one for number, one in enumerate(self.houses) if number not in but]
        own, *houses = (Series(START, SPAN, COUNT, range(COUNT), columns) for columns in (self.own, *several))
        return Read([own], houses)


def month(seed: int, *, honest: bool = False, whole: bool = False) -> Feeder:
    """``honest``: nothing is odd; ``whole``: no outages and nothing is missing."""
    random = Random(seed)
    real = [_load(random, holiday=number == 5) for number in range(20)]
    if not honest:
        real[EMPTY] = [0] * COUNT
    since = random.randrange(9, 21) * PER_DAY
    said, odd = [list(one) for one in real], dict[int, str]()
    if not honest:
        odd = {
            STOLEN_FROM: "gap-rises", BYPASSED: "no-load", BY_NIGHT: "flat-nights", TURNED: "reversed",
            MISPLACED: "phase", EMPTY: "no-load",
        }  # fmt: skip
        for at in range(COUNT):
            said[STOLEN_FROM][at] -= round(0.7 * real[STOLEN_FROM][at]) if at >= since else 0
            said[BYPASSED][at] = 0
            said[BY_NIGHT][at] = 0 if at % PER_DAY < 24 else real[BY_NIGHT][at]
            said[TURNED][at] = -real[TURNED][at]
    phases = [PHASES[number % 3] for number in range(20)]
    feeder = _metered(random, real, said, phases, misplaced=not honest)
    feeder.since, feeder.odd = since, odd
    if not whole:
        _spoil(random, feeder)
    return feeder


def _load(random: Random, *, holiday: bool) -> list[int]:
    """Thousandths of a Wh: base load, a fridge that goes on and off, people in the morning and evening."""
    base, people, fridge = random.uniform(20, 60), random.uniform(150, 500), random.uniform(60, 110)
    period, phase, away = random.uniform(3, 7), random.random() * 7, random.randrange(6, 20)
    found = []
    for at in range(COUNT):
        hour, day = at % PER_DAY / 4, at // PER_DAY
        share = math.exp(-((hour - 7.5) ** 2) / 2) + 1.6 * math.exp(-((hour - 19.5) ** 2) / 5) + 0.2
        if at % PER_DAY == 0:
            mood = random.uniform(0.7, 1.3)
        at_home = 0.05 if holiday and away <= day < away + 5 else 1.0 if 6 <= hour < 23 else 0.1
        watts = base + fridge * ((at + phase) % period < period / 3) * random.uniform(0.7, 1)
        watts += people * share * mood * at_home * random.uniform(0.4, 1.6)
        found.append(round(1000 * watts * HOURS))
    return found


def _metered(
    random: Random, real: list[list[int]], said: list[list[int]], phases: list[str], *, misplaced: bool
) -> Feeder:
    true_phases = list(phases)
    if misplaced:
        true_phases[MISPLACED] = PHASES[(PHASES.index(phases[MISPLACED]) + 1) % 3]
    used = [sum(values) for values in zip(*real, strict=True)]
    technical = [round(1000 * HOURS * _supplied(one / 1000 / HOURS)) - one for one in used]
    own: dict[str, list[Any]] = _columns([a + b for a, b in zip(used, technical, strict=True)])
    houses = [_columns(values) for values in said]
    for number, phase in enumerate(PHASES):
        volts, slow = list[int](), 0.0
        mine = [one for one, its in zip(real, true_phases, strict=True) if its == phase]
        for loads in zip(*mine, strict=True):
            slow = 0.97 * slow + random.gauss(0, 0.35)
            volts.append(
                round(10 * (231 + slow - sum(loads) / 1000 / HOURS * 0.0006 + random.gauss(0, 0.05)))
            )
        own[f"voltage_l{number + 1}_mean"] = volts
        for house, load, its in zip(houses, real, true_phases, strict=True):
            if its == phase:
                drop = random.uniform(0.001, 0.003)
                house["voltage_mean"] = [
                    volt - round(10 * drop * energy / 1000 / HOURS) + round(random.gauss(0, 1.5))
                    for volt, energy in zip(volts, load, strict=True)
                ]
    stolen = [a - sum(b) for a, b in zip(used, zip(*said, strict=True), strict=True)]
    return Feeder(own, houses, phases, 0, stolen, technical)


def _supplied(used: float) -> float:
    """W: what is used, and FACTOR times the square of the whole."""
    return (1 - math.sqrt(1 - 4 * FACTOR * used)) / (2 * FACTOR)


def _columns(flow: list[int]) -> dict[str, list[Any]]:
    """Both registers, and the power of the imported and exported energy together."""
    return {
        "energy_import": [max(0, one) for one in flow],
        "energy_import_mark": [int(Mark.MEASURED)] * COUNT,
        "energy_export": [max(0, -one) for one in flow],
        "energy_export_mark": [int(Mark.MEASURED)] * COUNT,
        "power_mean": [round(one / 100 / HOURS) for one in flow],
    }


def _spoil(random: Random, feeder: Feeder) -> None:
    """An outage of the feeder, and of every meter single intervals and a stretch of some hours."""
    dark = random.randrange(COUNT - 20)
    for meter in (feeder.own, *feeder.houses):
        first = random.randrange(COUNT - 16)
        lost = {*range(dark, dark + 12), *range(first, first + 16), *random.sample(range(COUNT), 12)}
        for at in lost:
            for name in meter:
                meter[name][at] = int(Mark.MISSING) if name.endswith("_mark") else None


OWN = 100
"""Number of the feeder's own meter; that of a house is one more than its place in the list."""


def topology(phases: list[str]) -> str:
    """A file with these houses on one feeder."""
    rows = "".join(
        f"phase.{phase} = {json.dumps([f'House {n}' for n, its in enumerate(phases) if its == phase])}\n"
        for phase in PHASES
    )
    return (
        '[[substation]]\nname = "Mill"\n[[substation.transformer]]\nname = "T1"\n'
        f'[[substation.transformer.feeder]]\nname = "F1"\nown_meter = "M{OWN}"\n{rows}'
    )


def store(engine: Engine, feeder: Feeder) -> None:
    """Meters, their load profiles, and the topology of the newest revision."""
    born: dict[str, Any] = {"born_at": 1, "first_seen": START, "last_seen": START, "ied": "SMGW001"}
    names = [(f"House {n}", n + 1, columns) for n, columns in enumerate(feeder.houses)]
    with Session(engine) as session:
        for name, number, columns in [*names, ("Mill F1", OWN, feeder.own)]:
            meter = Meter(meter_id=meter_id(number), key=number, number=number, name=name, **born)
            session.add(meter)
            session.add_all(_days(number, columns))
        text = topology(feeder.phases)
        session.add(SclRevision(revision=1, sha256="", meters=21, ieds=1, ts=START, topology=text))
        session.commit()


def _days(key: int, columns: dict[str, list[Any]]) -> Iterator[LoadProfile]:
    for number in range(DAYS):
        day = Day(START + number * DAY_MS, 15)
        for place in range(PER_DAY):
            at = number * PER_DAY + place
            day.put(place, {name: values[at] for name, values in columns.items() if values[at] is not None})
        yield LoadProfile(meter=key, start=day.start, minutes=15, data=day.encoded())
