"""The native data model of one IED, built node by node from its CID.

The library's model is a tree of C structures made by ``*_create`` calls; what we keep are the
handles of the attributes that change (:class:`Point`) and of the objects that can be controlled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from mms_bridge import cid as scl
from mms_bridge.native import ATTRIBUTE_TYPES, MAX_DATA_SET_MEMBERS, ControlModel, FunctionalConstraint, lib
from scl_builder.reference import Reference


class Kind(Enum):
    """How a value attribute is written."""

    BOOLEAN = "BOOLEAN"
    INT32 = "INT32"
    INT64 = "INT64"
    FLOAT = "FLOAT32"
    DBPOS = "Dbpos"


_KINDS = {kind.value: kind for kind in Kind} | {"Enum": Kind.INT32}

# CDC of IEC 61850-7-3 -> path of the attribute that carries the process value
_VALUE_PATHS = {
    "MV": ("mag", "f"),
    "BCR": ("actVal",),
    **dict.fromkeys(("SPS", "INS", "ENS", "DPC", "SPC", "INC", "ENC"), ("stVal",)),
}


@dataclass(slots=True)
class Point:
    """The handles of one data object that is fed: value, q, and t's MmsValue."""

    kind: Kind
    value: int
    q: int
    t: int
    quality: int = 0
    """q as it was written last: writing it costs a call into the library."""

    def bind(self, server: int) -> None:
        """Exchange the handle of t for its MmsValue: t raises no report, so it is written directly."""
        self.t = lib.IedServer_getAttributeValue(server, self.t)


@dataclass(frozen=True, slots=True)
class ControlObject:
    """A controllable data object."""

    handle: int
    model: ControlModel


@dataclass
class NativeModel:
    """An IedModel and the handles that we need in it."""

    handle: int
    points: dict[str, dict[tuple[str, str], Point]] = field(default_factory=dict)
    """MMS domain -> (logical node, data object) -> point."""
    controls: dict[tuple[str, str, str], ControlObject] = field(default_factory=dict)
    """(MMS domain, logical node, data object) of what can be controlled: CSWI1.Pos."""

    def all_points(self) -> Iterator[Point]:
        """Every point of every device."""
        for points in self.points.values():
            yield from points.values()


def build(cid: scl.Cid) -> NativeModel:
    """The native model of ``cid``; ValueError names what the library could not take."""
    # Nameless, with domains for insts: the library looks for a data set's members in the domain IED name +
    # inst, finds none where there is an ldName, and crashes when a client asks for them.
    model = NativeModel(lib.IedModel_create(b""))
    try:
        for device in cid.devices:
            _device(model, device)
    except ValueError:
        lib.IedModel_destroy(model.handle)
        raise
    return model


def _device(model: NativeModel, device: scl.Device) -> None:
    handle = lib.LogicalDevice_createEx(device.domain.encode(), model.handle, None)
    points = model.points.setdefault(device.domain, {})
    for node in device.nodes:
        node_handle = lib.LogicalNode_create(node.name.encode(), handle)
        for obj in node.objects:
            _object(model, device, node, node_handle, obj, points)
        for name, members in node.data_sets:
            _data_set(node_handle, name, members)
        for report in node.reports:
            _report(node_handle, report)


def _object(
    model: NativeModel,
    device: scl.Device,
    node: scl.Node,
    node_handle: int,
    obj: scl.DataObject,
    points: dict[tuple[str, str], Point],
) -> None:
    handle = lib.DataObject_create(obj.name.encode(), node_handle, 0)
    leaves: dict[tuple[str, ...], tuple[int, str]] = {}
    for attribute in obj.attributes:
        _attribute(handle, attribute, (obj.name,), node.values, leaves)
        if attribute.name == "ctlModel" and any(a.name == "Oper" for a in obj.attributes):
            ordinal = attribute.literals[node.values.get((obj.name, "ctlModel"), attribute.value or "")]
            model.controls[device.domain, node.name, obj.name] = ControlObject(handle, ControlModel(ordinal))
    value, q, t = (leaves.get((obj.name, *p)) for p in (_VALUE_PATHS.get(obj.cdc, ()), ("q",), ("t",)))
    if value and q and t:
        points[node.name, obj.name] = Point(_KINDS[value[1]], value[0], q[0], t[0])


def _attribute(
    parent: int,
    attribute: scl.Attribute,
    path: tuple[str, ...],
    values: Mapping[tuple[str, ...], str],
    leaves: dict[tuple[str, ...], tuple[int, str]],
) -> None:
    path = (*path, attribute.name)
    handle = lib.DataAttribute_create(
        attribute.name.encode(),
        parent,
        ATTRIBUTE_TYPES[attribute.b_type],
        attribute.fc,
        attribute.triggers,
        0,
        0,
    )
    if attribute.fc in (FunctionalConstraint.ST, FunctionalConstraint.MX):
        leaves[path] = (handle, attribute.b_type)
    text = values.get(path, attribute.value)
    if text is not None:
        _set_value(handle, attribute, text)
    for child in attribute.children:
        _attribute(handle, child, path, values, leaves)


# bType -> MmsValue constructor for a Val's text
_FROM_TEXT: dict[str, Callable[[str], int]] = {
    "BOOLEAN": lambda text: int(lib.MmsValue_newBoolean(text in ("true", "1"))),
    "FLOAT32": lambda text: int(lib.MmsValue_newFloat(float(text))),
    "Unicode255": lambda text: int(lib.MmsValue_newMmsString(text.encode())),
    **dict.fromkeys(
        ("INT8", "INT16", "INT32"), lambda text: int(lib.MmsValue_newIntegerFromInt32(int(text)))
    ),
    "INT64": lambda text: int(lib.MmsValue_newIntegerFromInt64(int(text))),
    **dict.fromkeys(
        ("INT8U", "INT16U", "INT32U"), lambda text: int(lib.MmsValue_newUnsignedFromUint32(int(text)))
    ),
    **dict.fromkeys(
        ("VisString32", "VisString64", "VisString129", "VisString255"),
        lambda text: int(lib.MmsValue_newVisibleString(text.encode("latin-1", "replace"))),
    ),
}


def _set_value(handle: int, attribute: scl.Attribute, text: str) -> None:
    if attribute.b_type == "Enum":
        if text not in attribute.literals:
            raise ValueError(f"{attribute.name}: {text!r} is none of {', '.join(attribute.literals)}")
        value = lib.MmsValue_newIntegerFromInt32(attribute.literals[text])
    elif attribute.b_type in _FROM_TEXT:
        value = _FROM_TEXT[attribute.b_type](text)
    else:
        raise ValueError(f"{attribute.name}: a Val of bType {attribute.b_type} cannot be served")
    lib.DataAttribute_setValue(handle, value)
    lib.MmsValue_delete(value)


def _data_set(node_handle: int, name: str, members: tuple[scl.DataSetMember, ...]) -> None:
    if len(members) > MAX_DATA_SET_MEMBERS:
        raise ValueError(
            f"data set {name} has {len(members)} members, at most {MAX_DATA_SET_MEMBERS} are served"
        )
    handle = lib.DataSet_create(name.encode(), node_handle)
    for member in members:
        item = Reference(member.device, member.node, member.path, member.fc).mms[1]
        lib.DataSetEntry_create(handle, f"{member.device}/{item}".encode(), -1, None)


def _report(node_handle: int, report: scl.Report) -> None:
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
