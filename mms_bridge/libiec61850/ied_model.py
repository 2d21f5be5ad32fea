"""The native data model of one IED, built from its CID.

The library's model is a tree of C structures; what we keep are the places of the attributes that change
(:class:`Points`) and the objects that can be controlled. How the nodes of one type are made is planned once
(``plan.py``), they are made by ``stencil.py``, and here they get their values, data sets and report blocks.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import NamedTuple

from mms_bridge.libiec61850.bindings import MAX_DATA_SET_MEMBERS, Quality, lib
from mms_bridge.libiec61850.node_plan import PROCESS, TEXTS, Kind, Plan, mms_value, plans
from mms_bridge.libiec61850.short_texts import shorten
from mms_bridge.libiec61850.stencil import Made, Offsets, devices, forget
from scl_builder.model.cdc import ControlModel, FunctionalConstraint
from scl_builder.model.reference import Reference
from scl_builder.read import cid as scl
from scl_builder.read.report_control import Report

Key = tuple[str, str]
"""Logical node and data object: ``("MMXN1", "Vol")``."""
NONE: frozenset[Key] = frozenset()
QUALITY_BITS = 13
_FIXED = (FunctionalConstraint.DC, FunctionalConstraint.EX)


_UPDATE = {
    Kind.BOOLEAN: lib.IedServer_updateBooleanAttributeValue,
    Kind.INT32: lib.IedServer_updateInt32AttributeValue,
    Kind.INT64: lib.IedServer_updateInt64AttributeValue,
    Kind.FLOAT: lib.IedServer_updateFloatAttributeValue,
    Kind.DBPOS: lib.IedServer_updateDbposValue,
}
_PRESET = {
    Kind.BOOLEAN: lib.MmsValue_setBoolean,
    Kind.INT32: lib.MmsValue_setInt32,
    Kind.INT64: lib.MmsValue_setInt64,
    Kind.FLOAT: lib.MmsValue_setFloat,
    Kind.DBPOS: lib.MmsValue_setBitStringFromIntegerBigEndian,
}


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Which data objects of a logical device are fed, and how: one for all devices of the same types."""

    places: Mapping[Key, int]
    """(logical node, data object) -> its place."""
    update: tuple[Callable[..., None], ...]
    """(server, attribute, value): writes the value and tells the reports."""
    preset: tuple[Callable[..., None], ...]
    """(MmsValue, value): writes it without telling the reports: initial values raise no events."""
    floats: bytes
    """1 where the value is a FLOAT32."""


class Fed(NamedTuple):
    """Attributes that are written, by their places in the shape; all counted from the device."""

    value: tuple[int, ...]
    q: tuple[int, ...]
    t: tuple[int, ...]
    texts: tuple[int, ...]
    """Those that hold a text that nobody writes."""


class Points:
    """The data objects of one logical device that are fed, by their place in ``shape``.

    ``held`` and ``t`` are handles of MmsValues: of the value, and of t, which raises no report. ``quality``
    is q as it was written last: writing it costs a call into the library. ``quiet`` is 1 where no report
    control block wants the value.
    """

    __slots__ = ("_fed", "device", "held", "quality", "quiet", "shape", "t")

    def __init__(self, shape: Shape, made: Made, fed: Fed, *, quiet: bytes) -> None:
        self.shape = shape
        self.device = made.device
        self._fed = fed
        self.held = self.t = array("Q")
        self.quality = array("H", bytes(2 * len(fed.value)))
        self.quiet = quiet

    def bind(self, server: int) -> None:
        """Look the MmsValues up."""
        find, device = lib.IedServer_getAttributeValue, self.device
        self.held = array("Q", [find(server, device + offset) for offset in self._fed.value])
        self.t = array("Q", [find(server, device + offset) for offset in self._fed.t])
        for offset in self._fed.texts:
            shorten(find(server, device + offset))

    def value(self, place: int) -> int:
        """Handle of the attribute that holds the value."""
        return self.device + self._fed.value[place]

    def q(self, place: int) -> int:
        """Handle of the quality."""
        return self.device + self._fed.q[place]

    def speak_up(self) -> None:
        """Some report control block may want anything."""
        self.quiet = bytes(len(self.quiet))


@dataclass(frozen=True, slots=True)
class ControlObject:
    """A controllable data object."""

    handle: int
    model: ControlModel
    limit: float | None
    """Seconds; operTimeout of the file."""


@dataclass
class NativeModel:
    """An IedModel and the handles that we need in it."""

    handle: int
    points: dict[str, Points] = field(default_factory=dict)
    """By MMS domain."""
    controls: dict[tuple[str, str, str], ControlObject] = field(default_factory=dict)
    """(MMS domain, logical node, data object) of what can be controlled: CSWI1.Pos."""
    memory: object = None
    """Where its nodes are, if not with the library."""

    def destroy(self) -> None:
        """Free it; the server that used it is gone."""
        if self.memory is not None:
            forget(self.handle)
        lib.IedModel_destroy(self.handle)


def build(cid: scl.Cid) -> NativeModel:
    """The native model of ``cid``; ValueError names what the library could not take."""
    # Nameless, with domains for insts: the library looks for a data set's members in the domain IED name +
    # inst, finds none where there is an ldName, and crashes when a client asks for them.
    model = NativeModel(lib.IedModel_create(b""))
    try:
        made, model.memory = devices(model.handle, cid.devices)
        wanted = _wanted(cid)
        for device, its in zip(cid.devices, made, strict=True):
            _device(model, device, its, wanted.get(device.domain, NONE))
    except ValueError:
        model.destroy()
        raise
    return model


def check(cid: scl.Cid) -> None:
    """ValueError names what of ``cid`` the library could not take; it is found without building anything."""
    for device in cid.devices:
        for node in device.nodes:
            for plan in plans(node.type):
                for path, text in node.values.items():
                    if (place := plan.places.get(path)) is not None:
                        lib.MmsValue_delete(mms_value(plan.sources[place], text))
            for name, members in node.data_sets:
                _check_size(name, members)


def _device(model: NativeModel, device: scl.Device, made: Made, wanted: frozenset[Key]) -> None:
    offsets = made.offsets
    for node, node_offset, objects in zip(device.nodes, offsets.nodes, offsets.objects, strict=True):
        for plan, places in zip(plans(node.type), objects, strict=True):
            if plan.constants or plan.qualities or node.values or plan.control_model is not None:
                _object(model, device, node, plan, [made.device + offset for offset in places])
        for name, members in node.data_sets:
            _data_set(made.device + node_offset, name, members)
        for report in node.reports:
            _report(made.device + node_offset, report)
    types = tuple((n.name, n.type) for n in device.nodes)
    shape = _shape(types)
    model.points[device.domain] = Points(shape, made, _fed(types, offsets), quiet=_quiet(shape, wanted))


def _object(
    model: NativeModel, device: scl.Device, node: scl.Node, plan: Plan, handles: Sequence[int]
) -> None:
    for place, value in plan.constants:
        lib.DataAttribute_setValue(handles[place], value)
    if plan.qualities and not _says(node, plan):
        for place in plan.qualities:
            lib.DataAttribute_setValue(handles[place], _invalid())
    if node.values:
        _instance_values(node, plan, handles)
    if plan.control_model is not None:
        name = plan.obj.name
        literals, default = plan.control_model
        ordinal = literals.get(node.values.get((name, "ctlModel"), default), ControlModel.STATUS_ONLY)
        model.controls[device.domain, node.name, name] = ControlObject(
            handles[0], ControlModel(ordinal), _limit(node, plan)
        )


def _limit(node: scl.Node, plan: Plan) -> float | None:
    path = (plan.obj.name, "operTimeout")
    attribute = plan.sources[plan.places.get(path, 0)]
    text = node.values.get(path) or (attribute.value if attribute is not None else None)
    return int(text) / 1000 if text else None


def _says(node: scl.Node, plan: Plan) -> bool:
    """Whether the device's own values give the object one."""
    own = (plan.sources[place] for path in node.values if (place := plan.places.get(path)) is not None)
    return any(attribute is not None and attribute.fc in PROCESS for attribute in own)


@cache
def _invalid() -> int:
    """An MmsValue of q; the library takes copies."""
    value = int(lib.MmsValue_newBitString(QUALITY_BITS))
    lib.MmsValue_setBitStringFromInteger(value, Quality.INVALID)
    return value


def _instance_values(node: scl.Node, plan: Plan, handles: Sequence[int]) -> None:
    for path, text in node.values.items():
        place = plan.places.get(path)
        if place is not None:
            value = mms_value(plan.sources[place], text)
            lib.DataAttribute_setValue(handles[place], value)
            lib.MmsValue_delete(value)


@lru_cache(maxsize=64)
def _shape(nodes: tuple[tuple[str, scl.NodeType], ...]) -> Shape:
    fed = [(name, one) for name, node_type in nodes for plan in plans(node_type) for one in plan.fed]
    places = {(name, one.name): place for place, (name, one) in enumerate(fed)}
    kinds = [one.kind for _, one in fed]
    return Shape(
        places,
        tuple(_UPDATE[kind] for kind in kinds),
        tuple(_PRESET[kind] for kind in kinds),
        bytes(kind is Kind.FLOAT for kind in kinds),
    )


@lru_cache(maxsize=64)
def _fed(types: tuple[tuple[str, scl.NodeType], ...], offsets: Offsets) -> Fed:
    written: list[list[int]] = []
    texts: list[int] = []
    for (_, node_type), objects in zip(types, offsets.objects, strict=True):
        for plan, places in zip(plans(node_type), objects, strict=True):
            written += [[places[place] for place in one.places] for one in plan.fed]
            texts += [
                offset
                for offset, attribute in zip(places, plan.sources, strict=True)
                if attribute is not None and attribute.b_type in TEXTS and attribute.fc in _FIXED
            ]
    value, q, t = (tuple(each[part] for each in written) for part in range(3))
    return Fed(value, q, t, tuple(texts))


def _wanted(cid: scl.Cid) -> dict[str, frozenset[Key]]:
    """MMS domain -> data objects that stand in some configured data set."""
    found: dict[str, set[Key]] = {}
    for device in cid.devices:
        for node in device.nodes:
            for _, members in node.data_sets:
                for member in members:
                    found.setdefault(member.device, set()).add((member.node, member.path[0]))
    return {domain: frozenset(keys) for domain, keys in found.items()}


@lru_cache(maxsize=256)
def _quiet(shape: Shape, wanted: frozenset[Key]) -> bytes:
    return bytes((node, name.partition(".")[0]) not in wanted for node, name in shape.places)


def _check_size(name: str, members: tuple[scl.DataSetMember, ...]) -> None:
    if len(members) > MAX_DATA_SET_MEMBERS:
        raise ValueError(
            f"data set {name} has {len(members)} members, at most {MAX_DATA_SET_MEMBERS} are served"
        )


def _data_set(node_handle: int, name: str, members: tuple[scl.DataSetMember, ...]) -> None:
    _check_size(name, members)
    handle = lib.DataSet_create(name.encode(), node_handle)
    for member in members:
        item = Reference(member.device, member.node, member.path, member.fc).mms[1]
        lib.DataSetEntry_create(handle, f"{member.device}/{item}".encode(), -1, None)


def _report(node_handle: int, report: Report) -> None:
    for name in report.instance_names():
        lib.ReportControlBlock_create(
            name.encode(),
            node_handle,
            report.report_id.encode() if report.report_id else None,
            report.buffered,
            report.data_set.encode() if report.data_set else None,
            report.conf_rev,
            report.triggers,
            report.options,
            report.buffer_ms,
            report.integrity_ms,
        )
