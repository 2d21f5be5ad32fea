"""The meters of each feeder, as the topology file of the newest revision of the SCD says.

>>> by_feeder(read_topology(TEXT), meters)  # doctest: +SKIP
{'Mill/LV/T1_F1': {1, 2}, 'no feeder': {3}}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection, select
from sqlmodel import col

from bridge.store.ld_names import inst_of
from bridge.store.tables import Meter, SclRevision
from scl_builder.model.topology import By, Choice, Topology
from scl_builder.read.topology_file import TopologyError, read_topology

NO_FEEDER = "no feeder"
"""Where the meters are that the file does not name."""


def topology(connection: Connection) -> Topology:
    """Empty without a file."""
    newest = select(col(SclRevision.topology)).order_by(col(SclRevision.revision).desc()).limit(1)
    try:
        return read_topology(connection.scalar(newest) or "")
    except TopologyError:  # of a newer version
        return Topology()


def by_feeder(topology: Topology, meters: Iterable[Meter]) -> dict[str, set[int]]:
    """Path of the feeder, as in the SCD → keys of its meters; those of none are of `NO_FEEDER`, the last."""
    paths = {
        str(choice): f"{place.site}/LV/{place.transformer}_{place.feeder}"
        for choice, place in topology.choices()
    }
    found: dict[str, set[int]] = {path: set() for path in (*paths.values(), NO_FEEDER)}
    for meter in meters:
        path = next((paths[name] for name in _names(meter) if name in paths), NO_FEEDER)
        found[path].add(meter.key or 0)
    return {path: keys for path, keys in found.items() if keys}


def _names(meter: Meter) -> Iterator[str]:
    """What the file may name it by, the most exact first (`scl_builder.build.single_line`)."""
    if meter.number is not None:
        inst = inst_of(meter.number)
        yield str(Choice(By.NUMBER, f"{meter.ied}/{inst}"))
        yield str(Choice(By.NUMBER, inst))
    yield str(Choice(By.NAME, " ".join(meter.name.split())))
    yield str(Choice(By.CODE, " ".join(meter.address_code.split())))
