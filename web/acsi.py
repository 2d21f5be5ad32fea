"""The data model of IEC 61850 over HTTP, after Pedersen et al. (2010), Table 2.8 of the thesis: read only.

The structure comes from the published CIDs, the values from ``mms_bridge.datamodel.mapping``: the same values
as over MMS, from the same topics by the same rules; but for the deadband: mag is what instMag is.

>>> acsi.read("SMGW001M17", "MMXN1", "Vol")["mag"]                                      # doctest: +SKIP
{'f': 229.5}
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from bridge.store.tables import moment
from broker.contract.errors import ContractError
from broker.contract.fleet import MeterState
from broker.contract.messages import format_ts
from broker.host_clock import ClockSettings
from mms_bridge.datamodel.bands import band_of
from mms_bridge.datamodel.mapping import all_values, gateway_values
from mms_bridge.datamodel.moment import now as present
from mms_bridge.datamodel.spare import spare_values
from mms_bridge.datamodel.value import Quality
from scl_builder.build.project import GATEWAY_INST
from scl_builder.model.cdc import Path
from scl_builder.read.cid import Attribute, Cid, CidError, DataObject, Device, Node, read_cid
from web.live.state import Live
from web.serving.problem import ProblemError

T = TypeVar("T")
_DBPOS = ("intermediate-state", "off", "on", "bad-state")
_VALIDITY = {0: "good", Quality.INVALID: "invalid", Quality.QUESTIONABLE: "questionable"}
_DETAILS = {"failure": Quality.FAILURE, "oldData": Quality.OLD_DATA, "test": Quality.TEST}


@dataclass(frozen=True)
class Place:
    """A logical device and its IED."""

    cid: Cid
    device: Device


class Acsi:
    """Directories and values; reading a CID takes some ms, so it blocks."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._clock = ClockSettings()
        self._lock = threading.Lock()
        self._cids: dict[bytes, Cid] = {}
        self._seen: dict[str, bytes] | None = None
        self._places: dict[str, Place] = {}

    def places(self) -> dict[str, Place]:
        """Every logical device by its MMS name, from the published CIDs."""
        with self._lock:
            if self._seen is not self._live.cids:
                seen = self._live.cids
                self._cids = {xml: self._cids.get(xml) or _read(xml) for xml in seen.values()}
                self._places = {
                    device.domain: Place(cid, device) for cid in self._cids.values() for device in cid.devices
                }
                self._seen = seen
            return self._places

    def place(self, ld: str) -> Place:
        """The logical device ``ld``; 404 without one."""
        return _found(self.places().get(ld), f"no logical device {ld[:80]!r}: GET /iec61850/ lists all")

    def node(self, ld: str, ln: str) -> Node:
        """The logical node ``ln`` of ``ld``; 404 without one."""
        nodes = {node.name: node for node in self.place(ld).device.nodes}
        return _found(nodes.get(ln), f"no logical node {ln[:40]!r} in {ld}: there is {', '.join(nodes)}")

    def data_object(self, ld: str, ln: str, do: str) -> DataObject:
        """The data object ``do``; 404 without one."""
        objects = {one.name: one for one in self.node(ld, ln).objects}
        return _found(objects.get(do), f"no data object {do[:40]!r} in {ld}/{ln}: {', '.join(objects)}")

    def read(self, ld: str, ln: str, do: str) -> dict[str, Any]:
        """All attributes of a data object, by name."""
        node, obj = self.node(ld, ln), self.data_object(ld, ln, do)
        now = self._now(self.place(ld))
        live: dict[Path, Any] = {}
        for name, path, value in obj.values():
            if (told := now.get((ln, name))) is not None:
                live[*path, *value.path] = told.value
                live[*path, value.t] = _time(told.t_ms)
                if told.quality != Quality.KEPT:
                    live[*path, value.q] = _quality(told.quality)
                if value.instant and told.value is not None:
                    live[*path, *value.instant] = told.value
                    live[*path, "range"] = _range(obj.at(path), node, path, told.value)
        return _object(obj, node, (do,), live)

    def attribute(self, ld: str, ln: str, do: str, path: list[str]) -> tuple[Any, str | None]:
        """What ``path`` leads to and its functional constraint (a sub data object has none); 404 without."""
        value: Any = self.read(ld, ln, do)
        for name in path:
            known = value if isinstance(value, dict) else {}
            if name not in known:
                place = ".".join((do, *path))
                raise ProblemError(404, f"no attribute {place[:80]!r} in {ld}/{ln}: {', '.join(known)}")
            value = known[name]
        return value, _fc(self.data_object(ld, ln, do), path)

    def _now(self, place: Place) -> dict[tuple[str, str], Any]:
        """(logical node, data object) → value, q and t of a logical device."""
        fleet, now = self._live.fleet, present(synchronized=self._clock.kept())
        meter = self._meter(place.device)
        if meter is not None:
            return dict(all_values(meter, broker_up=fleet.broker_up, now=now))
        if place.device.inst != GATEWAY_INST:
            return dict(spare_values(now=now))
        revision = self._live.revision.revision if self._live.revision else 0
        meters = list(filter(None, map(self._meter, place.cid.devices)))
        return dict(gateway_values(meters, fleet, revision=revision, now=now))

    def _meter(self, device: Device) -> MeterState | None:
        """The meter of a logical device; None for the gateway's own, and for a spare one."""
        if not device.meter_id:
            return None
        return self._live.fleet.meters.get(device.meter_id) or MeterState(device.meter_id)


def _read(xml: bytes) -> Cid:
    try:
        return read_cid(xml)
    except CidError as error:
        raise ContractError(str(error)) from error


def _found(value: T | None, complaint: str) -> T:
    if value is None:
        raise ProblemError(404, complaint)
    return value


def _fc(obj: DataObject, path: list[str]) -> str | None:
    for part in obj.parts:
        if part.name == path[0]:
            return _fc(part, path[1:]) if path[1:] else None
    (attribute,) = (one for one in obj.attributes if one.name == path[0])
    return attribute.fc.name


def _range(obj: DataObject, node: Node, path: Path, value: float) -> int:
    """Where ``value`` is among the limits in rangeC."""
    fixed = _object(obj, node, path, {}).get("rangeC", {})
    band = band_of({("rangeC", name, "f"): limit["f"] for name, limit in fixed.items()})
    return band.range(value) if band else 0


def _object(obj: DataObject, node: Node, path: Path, live: dict[Path, Any]) -> dict[str, Any]:
    """The sub data objects and attributes of the data object at ``path``, by name."""
    parts = {part.name: _object(part, node, (*path, part.name), live) for part in obj.parts}
    return parts | {one.name: _value(one, node, path, live) for one in obj.attributes}


def _value(attribute: Attribute, node: Node, path: Path, live: dict[Path, Any]) -> Any:
    """The value from the topics, else from the CID; in words if there are any."""
    place = (*path, attribute.name)
    if place in live:
        return _in_words(attribute, live[place])
    if attribute.children:
        return {child.name: _value(child, node, place, live) for child in attribute.children}
    return node.values.get(place, attribute.value)


def _in_words(attribute: Attribute, value: Any) -> Any:
    if value is None or isinstance(value, str | dict):
        return value
    if attribute.b_type == "Dbpos":
        return _DBPOS[value]
    if attribute.b_type == "Enum":
        return {number: literal for literal, number in attribute.literals.items()}.get(value, value)
    return value


def _quality(quality: int) -> dict[str, Any]:
    """Validity, and the details that are set."""
    return {"validity": _VALIDITY[quality & 3], **dict.fromkeys(_details(quality), True)}


def _details(quality: int) -> Iterator[str]:
    return (name for name, bit in _DETAILS.items() if quality & bit)


def _time(ms: int) -> str | None:
    """In the contract's format; None for an unknown time."""
    return format_ts(moment(ms)) if ms else None
