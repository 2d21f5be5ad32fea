"""A meter's values as an independent MMS client sees them: for ``up``, which promises them.

What to read comes from the model tables of scl_builder, where to read from the published CIDs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from open61850.data import BitStringData, TimestampData
from open61850.display import DBPOS
from open61850.mms import MmsClient, ObjectName
from open61850.mms.errors import DataAccessError, MmsError
from open61850.quality import Quality

from broker.messages import QUANTITIES, Position
from mms_bridge.cid import Cid
from scl_builder.reference import Reference
from scl_builder.tables import METER_LD

TIMEOUT = 2.0
"""Seconds for one request; Ctrl-C may have to wait for it."""
GOOD = "good"
POSITIONS = {"on": Position.CLOSED, "off": Position.OPEN}
_VALUE = {"MV": (("mag", "f"), "MX"), "BCR": (("actVal",), "ST"), "DPC": (("stVal",), "ST")}
"""CDC → value attribute and functional constraint (IEC 61850-7-3)."""

Endpoint = tuple[str, int]


@dataclass(frozen=True)
class Told:
    """One data object: value, quality, and the meter's time."""

    value: Any
    quality: str
    ts: datetime


def _read_names() -> dict[str, tuple[Reference, ...]]:
    """From the model tables, in their order."""
    found: dict[str, tuple[Reference, ...]] = {}
    for node in METER_LD:
        for data_object in node.objects:
            group, _, field = data_object.source.partition(".")
            if group == "reading" or (node.ln_class, data_object.name) == ("XSWI", "Pos"):
                path, fc = _VALUE[data_object.cdc]
                base = Reference("", node.name, (data_object.name,), fc)
                found["relay" if group == "relay" else field] = (
                    base.child(*path), base.child("q"), base.child("t"),
                )  # fmt: skip
    return found


_FOUND = _read_names()
NAMES = {name: _FOUND[name] for name in (*QUANTITIES, "relay")}
"""Field of a reading, or ``relay`` → its value, q and t below a logical device without name."""


class Servers:
    """Associations with the MMS servers of a set of CIDs; every method blocks."""

    def __init__(self) -> None:
        self._endpoints: dict[str, Endpoint] = {}
        self._clients: dict[Endpoint, MmsClient] = {}
        self._closed = False

    def close(self) -> None:
        """Close all associations; a read that is under way in a thread fails, and makes no new ones."""
        self._closed = True
        while self._clients:
            with suppress(KeyError):
                self._clients.popitem()[1].close()

    def follow(self, cids: Iterable[Cid]) -> None:
        """Read from these IEDs from now on."""
        self._endpoints = {device.domain: cid.endpoint for cid in cids for device in cid.devices}

    def read(self, domain: str) -> dict[str, Told] | None:
        """All values of one meter; None while its server, or its logical device, is not there."""
        endpoint = self._endpoints.get(domain)
        if endpoint is None or self._closed:
            return None
        try:
            client = self._clients.get(endpoint)
            if client is None:
                client = self._clients[endpoint] = MmsClient.connect(*endpoint, timeout=TIMEOUT)
            names = [reference for references in NAMES.values() for reference in references]
            results = client.read_many([_object_name(domain, name) for name in names])
        except MmsError:
            self._drop(endpoint)
            return None
        if any(isinstance(result, DataAccessError) for result in results):
            self._drop(endpoint)  # an association from before the meter's birth: the next one has it
            return None
        triples = [results[start : start + 3] for start in range(0, len(results), 3)]
        return {field: _told(*triple) for field, triple in zip(NAMES, triples, strict=True)}

    def _drop(self, endpoint: Endpoint) -> None:
        client = self._clients.pop(endpoint, None)
        if client is not None:
            client.close()


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


def same(field: str, stored: float | str | None, told: Told) -> bool:
    """Whether MMS tells what is stored: mag.f is a 32-bit float, actVal counts whole Wh."""
    if stored is None:
        return told.quality.startswith("invalid")
    if field == "relay":
        return bool(told.value == stored)
    if field == "energy":
        return bool(told.value == round(float(stored)))
    return struct.pack("f", told.value) == struct.pack("f", stored)


def same_time(stored: datetime, told: Told) -> bool:
    """Equal to the millisecond; a UtcTime's fraction has 24 bits."""
    return abs(told.ts - stored) < timedelta(milliseconds=1)
