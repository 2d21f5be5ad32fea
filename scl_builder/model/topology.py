"""Where the meters are in the grid: substations, their transformers, feeders and phases.

A meter is named by what a topology file may say of it: its house's name, its number for life, or its address
code. So a file can be written before the meters are there.

>>> [str(choice(text)) for text in ("M17", "SMGW001/M17", "House 1", "code:7530", "name:M17")]
['number:M17', 'number:SMGW001/M17', 'name:House 1', 'code:7530', 'name:M17']
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

_NUMBER = re.compile(r"(?:([A-Za-z][0-9A-Za-z_]*)/)?M[1-9][0-9]*")


class By(StrEnum):
    """What a meter is named by; the first of these that fits a meter decides where it is."""

    NUMBER = "number"
    NAME = "name"
    CODE = "code"


@dataclass(frozen=True)
class Choice:
    """Meters that a topology file names: one, all of a name, or all of an address code."""

    by: By
    text: str

    def __str__(self) -> str:
        return f"{self.by}:{self.text}"


def names_of(ied: str, inst: str, *, name: str, code: str) -> tuple[str, ...]:
    """What a file may name the meter ``inst`` of ``ied`` by, the most exact first; as text, hashed once."""
    texts = (
        (By.NUMBER, f"{ied}/{inst}"),
        (By.NUMBER, inst),
        (By.NAME, " ".join(name.split())),
        (By.CODE, " ".join(code.split())),
    )
    return tuple(str(Choice(by, text)) for by, text in texts)


def choice(text: str) -> Choice:
    """What ``text`` names; ValueError says what would be right."""
    plain = " ".join(text.split())
    by, colon, rest = plain.partition(":")
    if not colon or by not in list(By):
        by, rest = (By.NUMBER if _NUMBER.fullmatch(plain) else By.NAME), plain
    rest = rest.strip()
    if not rest:
        raise ValueError("it is empty: write a house's name, a number such as M17, or code:7530")
    if by == By.NUMBER and not _NUMBER.fullmatch(rest):
        raise ValueError("a number is M17, or SMGW001/M17 with its IED; a name that looks so is name:M17")
    return Choice(By(by), rest)


@dataclass(frozen=True)
class Feeder:
    """A line from the busbar of a transformer to the houses."""

    name: str
    desc: str = ""
    cable: bool = False
    meters: tuple[tuple[str, tuple[Choice, ...]], ...] = ()
    """Phase (A, B, C; empty: all, or not known) → its meters."""
    own_meter: Choice | None = None
    """The one that measures the whole feeder; it is no house, and the SCD has it where it was."""


@dataclass(frozen=True)
class Transformer:
    """A transformer with a busbar of its own."""

    name: str
    desc: str = ""
    feeders: tuple[Feeder, ...] = ()
    own_meter: Choice | None = None
    """As of a feeder."""


@dataclass(frozen=True)
class Site:
    """A substation: transformers from one high voltage to one low voltage, both in kV if they are known."""

    name: str
    desc: str = ""
    high_kv: float | None = None
    low_kv: float | None = None
    transformers: tuple[Transformer, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a meter is."""

    site: str
    transformer: str
    feeder: str
    phase: str = ""


@dataclass(frozen=True)
class Topology:
    """What a topology file says."""

    sites: tuple[Site, ...] = ()

    def choices(self) -> Iterator[tuple[Choice, Place]]:
        """All that names meters, with the place of these."""
        for site in self.sites:
            for transformer in site.transformers:
                for feeder in transformer.feeders:
                    for phase, choices in feeder.meters:
                        place = Place(site.name, transformer.name, feeder.name, phase)
                        yield from ((one, place) for one in choices)

    def own_meters(self) -> frozenset[str]:
        """What names the meters of whole feeders and transformers."""
        transformers = [one for site in self.sites for one in site.transformers]
        own = {one.own_meter for one in transformers}
        own |= {feeder.own_meter for one in transformers for feeder in one.feeders}
        return frozenset(map(str, own - {None}))

    def __str__(self) -> str:
        transformers = [one for site in self.sites for one in site.transformers]
        feeders = sum(len(one.feeders) for one in transformers)
        counts = ((len(self.sites), "substation"), (len(transformers), "transformer"), (feeders, "feeder"))
        return ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts)
