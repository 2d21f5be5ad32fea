"""The native data model of one IED, built from its CID.

The library's model is a tree of C structures made by its ``*_create`` functions; what we keep are the
handles of the attributes that change (:class:`Points`) and of the objects that can be controlled. How the
nodes of one type are made is planned once (``node_plan.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from mms_bridge.datamodel.value import Key, Quality
from mms_bridge.libiec61850.bindings import MAX_DATA_SET_MEMBERS, lib
from mms_bridge.libiec61850.node_plan import PROCESS, Plan, create, mms_value, plans
from mms_bridge.libiec61850.points import Beside, Points, bands_of, quiet_places, shape_of
from scl_builder.model.cdc import ControlModel
from scl_builder.model.reference import Reference
from scl_builder.read import cid as scl
from scl_builder.read.report_control import Report

QUALITY_BITS = 13


@dataclass(frozen=True, slots=True)
class ControlObject:
    """A controllable data object."""

    handle: int
    model: ControlModel
    limit: float | None
    """Seconds; operTimeout of the file."""
    select_limit: float | None = None
    """Seconds; sboTimeout of the file."""

    @property
    def normal(self) -> bool:
        """Normal security: the response to Oper waits, there is no termination."""
        return self.model in (ControlModel.DIRECT_NORMAL, ControlModel.SBO_NORMAL)


@dataclass
class NativeModel:
    """An IedModel and the handles that we need in it."""

    handle: int
    points: dict[str, Points] = field(default_factory=dict)
    """By MMS domain."""
    controls: dict[tuple[str, str, str], ControlObject] = field(default_factory=dict)
    """(MMS domain, logical node, data object) of what can be controlled: CSWI1.Pos."""

    def destroy(self) -> None:
        """Free it; the server that used it is gone."""
        lib.IedModel_destroy(self.handle)


def build(cid: scl.Cid) -> NativeModel:
    """The native model of ``cid``; ValueError names what the library could not take."""
    # Nameless, with domains for insts: the library looks for a data set's members in the domain IED name +
    # inst, finds none where there is an ldName, and crashes when a client asks for them.
    model = NativeModel(lib.IedModel_create(b""))
    try:
        listed, buffered = _listed(cid), _listed(cid, buffered=True)
        for device in cid.devices:
            _device(model, device, listed[device.domain], buffered[device.domain])
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


def _device(model: NativeModel, device: scl.Device, listed: frozenset[Key], buffered: frozenset[Key]) -> None:
    handle = lib.LogicalDevice_createEx(device.domain.encode(), model.handle, None)
    fed: list[int] = []
    instant: list[int] = []
    ranges: list[int] = []
    for node in device.nodes:
        node_handle = lib.LogicalNode_create(node.name.encode(), handle)
        for plan in plans(node.type):
            handles = _object(node, plan, node_handle)
            fed += (handles[place] for one in plan.fed for place in one.places)
            instant += (one.instant and handles[one.instant] for one in plan.fed)
            ranges += (one.range and handles[one.range] for one in plan.fed)
            if plan.control_model is not None:
                model.controls[device.domain, node.name, plan.obj.name] = _control(node, plan, handles[0])
        for name, members in node.data_sets:
            _data_set(node_handle, name, members)
        for report in node.reports:
            _report(node_handle, report)
    shape = shape_of(tuple((n.name, n.type) for n in device.nodes))
    model.points[device.domain] = Points(
        shape,
        fed,
        quiet=quiet_places(shape, buffered),
        unlisted=quiet_places(shape, listed),
        bands=bands_of(device, shape),
        beside=Beside(instant, ranges),
    )


def _object(node: scl.Node, plan: Plan, node_handle: int) -> list[int]:
    """Make a data object with its attributes and their values; the handles by place."""
    handles = [lib.DataObject_create(plan.name, node_handle, 0)]
    for attribute in plan.attributes:
        handles.append(create(attribute, handles[attribute.parent]))
    for place, value in plan.constants:
        lib.DataAttribute_setValue(handles[place], value)
    if plan.qualities and not _says(node, plan):
        for place in plan.qualities:
            lib.DataAttribute_setValue(handles[place], _invalid())
    if node.values:
        _instance_values(node, plan, handles)
    return handles


def _control(node: scl.Node, plan: Plan, handle: int) -> ControlObject:
    assert plan.control_model is not None
    literals, default = plan.control_model
    literal = node.values.get((plan.obj.name, "ctlModel"), default)
    model = ControlModel(literals.get(literal, ControlModel.STATUS_ONLY))
    return ControlObject(
        handle, model, _seconds(node, plan, "operTimeout"), _seconds(node, plan, "sboTimeout")
    )


def _seconds(node: scl.Node, plan: Plan, name: str) -> float | None:
    path = (plan.obj.name, name)
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


def _listed(cid: scl.Cid, *, buffered: bool = False) -> dict[str, frozenset[Key]]:
    """MMS domain -> data objects in a configured data set, or in one that a buffered block has."""
    found: dict[str, set[Key]] = {device.domain: set() for device in cid.devices}
    for device in cid.devices:
        for node in device.nodes:
            kept = {report.data_set for report in node.reports if report.buffered}
            for name, members in node.data_sets:
                if buffered and name not in kept:
                    continue
                for member in members:
                    found[member.device].add((member.node, member.path[0]))
    return {domain: frozenset(keys) for domain, keys in found.items()}


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
