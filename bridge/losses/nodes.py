"""Feeders and transformers of the topology file, with their own meter and their houses.

>>> text = '[[substation]]\\nname = "Mill"\\n[[substation.transformer]]\\nname = "T1"\\nown_meter = "M9"\\n'
>>> text += '[[substation.transformer.feeder]]\\nname = "F1"\\nphase.A = ["House 1"]'
>>> house = Meter(meter_id="a", name="House 1", ied="SMGW001", number=1)
>>> [(node.path, [str(one.phase) for one in node.houses]) for node in nodes(text, [house])]
[('Mill/LV/T1', ['A']), ('Mill/LV/T1_F1', ['A'])]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from bridge.store.ld_names import inst_of
from bridge.store.queries import Store
from bridge.store.tables import Meter
from broker.contract.errors import ConfigurationError, Meter61850Error
from scl_builder.build.single_line import LOW
from scl_builder.model.topology import Topology, names_of
from scl_builder.read.topology_file import TopologyError, read_topology


class UnknownFeederError(Meter61850Error, LookupError):
    """The topology has no feeder or transformer of this path."""


class House(NamedTuple):
    """A meter on a feeder."""

    meter: Meter
    phase: str
    """A, B or C; empty: all, or not known."""


@dataclass(frozen=True)
class Node:
    """A feeder, or a transformer with the houses of all of its feeders."""

    path: str
    """As of the bay in the SCD: ``Mill/LV/T1_F1``, of a transformer ``Mill/LV/T1``."""
    above: str = ""
    """Path of a feeder's transformer."""
    own: list[Meter] = field(default_factory=list)
    """What measures all of it: none, one, or one after another."""
    houses: list[House] = field(default_factory=list)


def nodes_of(store: Store) -> list[Node]:
    """Those of the topology file that the bridge read last; none without one."""
    text = next((row.topology for row in store.revisions(last=1)), None)
    if not text:
        return []
    try:
        return nodes(text, store.registry(retired=True))
    except TopologyError as error:
        raise ConfigurationError(f"the topology of the database: {error}") from error


def chosen(found: list[Node], path: str | None) -> list[Node]:
    """All, or the one of ``path``; UnknownFeederError if there is none."""
    some = [node for node in found if path in (None, node.path)]
    if path is not None and not some:
        shown = ", ".join(node.path for node in found[:4]) or "none"
        raise UnknownFeederError(f"no feeder {path[:80]!r}: the topology has {shown}")
    return some


def nodes(text: str, meters: Iterable[Meter]) -> list[Node]:
    """Those of a topology file, each transformer before its feeders; TopologyError for a wrong file."""
    topology = read_topology(text)
    found = {node.path: node for node in _nodes(topology)}
    owners = dict(_owners(topology))
    places = {str(choice): place for choice, place in topology.choices()}
    for meter in sorted(meters, key=lambda one: one.number or 0):
        names = names_of(
            meter.ied or "", inst_of(meter.number or 0), name=meter.name, code=meter.address_code
        )
        name = next((one for one in names if one in owners or one in places), "")
        if name in owners:
            found[owners[name]].own.append(meter)
        elif name:
            place = places[name]
            above = _path(place.site, place.transformer)
            for path in (above, f"{above}_{place.feeder}"):
                found[path].houses.append(House(meter, place.phase))
    return list(found.values())


def _path(site: str, transformer: str) -> str:
    return f"{site}/{LOW}/{transformer}"


def _nodes(topology: Topology) -> Iterator[Node]:
    for site in topology.sites:
        for transformer in site.transformers:
            above = _path(site.name, transformer.name)
            yield Node(above)
            yield from (Node(f"{above}_{feeder.name}", above) for feeder in transformer.feeders)


def _owners(topology: Topology) -> Iterator[tuple[str, str]]:
    """What names an own meter, and the path that it is of."""
    for site in topology.sites:
        for transformer in site.transformers:
            above = _path(site.name, transformer.name)
            parts = [(transformer.own_meter, above)]
            parts += [(feeder.own_meter, f"{above}_{feeder.name}") for feeder in transformer.feeders]
            yield from ((str(own), path) for own, path in parts if own is not None)
