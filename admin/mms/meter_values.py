"""A meter's values as an independent MMS client sees them: for ``up``, which promises them.

What to read comes from the model tables of scl_builder, where to read from the published CIDs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from open61850.data import BitStringData, TimestampData
from open61850.display import DBPOS
from open61850.mms import MmsClient, ObjectName
from open61850.mms.errors import DataAccessError, MmsError
from open61850.quality import Quality

from admin.mms.tls_client import connect_plain
from broker.contract.quantities import QUANTITIES
from broker.contract.relay import Position
from scl_builder.model.cdc import Path
from scl_builder.model.logical_devices import meter_nodes, profile_of
from scl_builder.model.measuring import way_of
from scl_builder.model.reference import Reference
from scl_builder.read.cid import Cid, NodeType

TIMEOUT = 2.0
"""Seconds for one request; Ctrl-C may have to wait for it."""
AT_ONCE = 60
"""Values in one request."""
GOOD = "good"
POSITIONS = {"on": Position.CLOSED, "off": Position.OPEN}

Endpoint = tuple[str, int]


@dataclass(frozen=True)
class Told:
    """One data object: value, quality, and the meter's time."""

    value: Any
    quality: str
    ts: datetime


Place = tuple[str, Path]
"""A logical node and a path in it."""

Names = Mapping[str, tuple[Reference, ...]]
"""A quantity with a data object, or ``relay`` → value, q and t below a logical device without name."""


@lru_cache(maxsize=256)
def names_of(quantities: tuple[str, ...], *, relay: bool) -> Names:
    """What to read of a meter whose birth names these quantities, in the order of the contract.

    Of a quantity that feeds several data objects the first; what is made of several is left out.

    >>> str(names_of(("power", "power_l1", "power_l2"), relay=False)["power_l2"][0])
    '/MMXU1.W.phsB.cVal.mag.f [MX]'
    """
    found: dict[str, tuple[Reference, ...]] = {}
    for node in meter_nodes(profile_of(quantities), relay=relay):
        for fed in (fed for data_object in node.objects for fed in data_object.fed):
            group, _, field = fed.source.partition(".")
            source = _quantity(field, frozenset(quantities)) if group == "reading" else ""
            if (node.ln_class, fed.name) == ("XSWI", "Pos"):
                source = "relay"
            if source:
                value = fed.value
                base = Reference("", node.name, fed.path, fed.cdc.fc(value.path[0]))
                names = (base.child(*value.path), base.child(value.q), base.child(value.t))
                found.setdefault(source, names)
    return {name: found[name] for name in (*QUANTITIES, "relay") if name in found}


def _quantity(field: str, given: frozenset[str]) -> str:
    """The one quantity that a value of the model is; empty if it is made of several."""
    way = way_of(field, given)
    return way.of[0] if way is not None and len(way.of) == 1 else ""


class Servers:
    """Reads from the MMS servers of a set of CIDs; every method blocks.

    Associations last for one call of :meth:`read`: a server takes few of them, and SCADA needs them.
    """

    def __init__(self) -> None:
        self._places: dict[str, tuple[Endpoint, str]] = {}  # meter_id -> server and MMS domain
        self._instants: dict[str, Mapping[Place, Path]] = {}
        self._client: MmsClient | None = None
        self._closed = False

    def close(self) -> None:
        """For ever: a read that is under way in a thread fails, and makes no new associations."""
        self._closed = True
        if self._client is not None:
            self._client.close()

    def follow(self, cids: Iterable[Cid]) -> None:
        """Read from these IEDs from now on."""
        devices = [(cid.endpoint, device) for cid in cids for device in cid.devices if device.meter_id]
        self._places = {device.meter_id: (endpoint, device.domain) for endpoint, device in devices}
        self._instants = {
            device.meter_id: _instants(tuple((node.name, node.type) for node in device.nodes))
            for _, device in devices
        }

    def read(self, wanted: Mapping[str, Names]) -> dict[str, dict[str, Told]]:
        """meter_id → these values, of each meter whose server, and whose logical device, is there."""
        by_server: dict[Endpoint, dict[str, Names]] = {}
        for meter_id, names in wanted.items():
            if meter_id in self._places:
                by_server.setdefault(self._places[meter_id][0], {})[meter_id] = names
        found: dict[str, dict[str, Told]] = {}
        for endpoint, there in by_server.items():
            with suppress(MmsError, OSError):  # not there yet, or it went away: the others may be
                self._read_server(endpoint, there, found)
        return found

    def _read_server(
        self, endpoint: Endpoint, wanted: Mapping[str, Names], found: dict[str, dict[str, Told]]
    ) -> None:
        if self._closed:
            return
        with connect_plain(*endpoint, timeout=TIMEOUT) as client:
            self._client = client
            for meter_id, names in wanted.items():
                domain, instants = self._places[meter_id][1], self._instants[meter_id]
                references = [
                    replace(one, path=instants.get((one.ln, one.path), one.path))
                    for references in names.values()
                    for one in references
                ]
                results = _read_many(client, [_object_name(domain, name) for name in references])
                if not any(isinstance(result, DataAccessError) for result in results):
                    found[meter_id] = _by_field(names, results)


@lru_cache(maxsize=256)
def _instants(nodes: tuple[tuple[str, NodeType], ...]) -> Mapping[Place, Path]:
    """Values with a deadband → where the value as it was measured is (instMag.f of mag.f)."""
    return {
        (name, (*path, *value.path)): (*path, *value.instant)
        for name, node_type in nodes
        for obj in node_type.objects
        for _, path, value in obj.values()
        if value.instant and value.instant[0] in {one.name for one in obj.at(path).attributes}
    }


def _read_many(client: MmsClient, names: list[ObjectName]) -> list[Any]:
    """So many in a request that request and answer fit into a PDU."""
    return [
        result
        for start in range(0, len(names), AT_ONCE)
        for result in client.read_many(names[start : start + AT_ONCE])
    ]


def _by_field(names: Names, results: list[Any]) -> dict[str, Told]:
    """Value, q and t of each field, as they were asked for."""
    triples = [results[start : start + 3] for start in range(0, len(results), 3)]
    return {field: _told(*triple) for field, triple in zip(names, triples, strict=True)}


def _object_name(domain: str, reference: Reference) -> ObjectName:
    return ObjectName(reference.mms[1], domain)


def _told(value: Any, q: Any, t: Any) -> Told:
    assert isinstance(q, BitStringData)
    assert isinstance(t, TimestampData)
    quality = str(Quality.from_bitstring(q))
    if isinstance(value, BitStringData):
        return Told(POSITIONS.get(DBPOS[value.value[0] >> 6]), quality, t.value)
    return Told(value.value, quality, t.value)


def worst_quality(told: Mapping[str, Told]) -> str:
    """``good`` if all values are, else the first other quality."""
    return next((one.quality for one in told.values() if one.quality != GOOD), GOOD)


def read_at(told: Mapping[str, Told]) -> datetime:
    """When the sensor was read."""
    return next(one.ts for name, one in told.items() if name in QUANTITIES)


def same(field: str, stored: float | str | None, told: Told) -> bool:
    """Whether MMS tells what is stored: mag.f is a 32-bit float, actVal counts whole Wh."""
    if stored is None:
        return told.quality.startswith("invalid")
    if field == "relay":
        return bool(told.value == stored)
    if isinstance(told.value, int):
        return told.value == round(float(stored))
    return struct.pack("f", told.value) == struct.pack("f", stored)


def same_time(stored: datetime, told: Told) -> bool:
    """Equal to the millisecond; a UtcTime's fraction has 24 bits."""
    return abs(told.ts - stored) < timedelta(milliseconds=1)
