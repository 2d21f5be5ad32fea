"""A CID (IEC 61850-6) as the server needs it: devices, nodes, typed attributes, data sets, reports.

The file is the truth: the server is built from what stands here and from nothing else, so that
what a SCADA imported is what it finds. Types are resolved once for each template and shared.

>>> from scl_builder.build.builder import build_cid
>>> read_cid(build_cid(project, "SMGW001")).endpoint        # doctest: +SKIP
('127.0.0.1', 10102)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from sys import intern

from lxml import etree

from scl_builder.model.cdc import FunctionalConstraint, Path, ProcessValue, TriggerOption, cdc
from scl_builder.read.findings import one_line
from scl_builder.read.owners import check_owners, owner_of
from scl_builder.read.report_control import NS, Report, flag, read_report
from scl_builder.read.scl_xml import read

DEFAULT_ASSOCIATIONS = 5
"""When the file does not say."""

_NONE: Mapping[Path, str] = {}
_DOI, _SDI, _DAI = f"{NS}DOI", f"{NS}SDI", f"{NS}DAI"
_DATA_SET, _FCDA, _REPORT_CONTROL = f"{NS}DataSet", f"{NS}FCDA", f"{NS}ReportControl"


class CidError(ValueError):
    """No CID that can be served; the message says why."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A data attribute (DA or BDA) with its type resolved."""

    name: str
    b_type: str
    fc: FunctionalConstraint
    triggers: TriggerOption
    value: str | None
    """The template's Val; an instance's DAI goes before it."""
    literals: Mapping[str, int]
    """For an enumeration: literal -> ordinal."""
    children: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class DataObject:
    """A data object (DO or SDO), its attributes and its sub data objects."""

    name: str
    cdc: str
    attributes: tuple[Attribute, ...]
    parts: tuple[DataObject, ...] = ()

    def at(self, path: Path) -> DataObject:
        """The data object or sub data object at ``path``, which begins with our name; KeyError without."""
        return {part.name: part for part in self.parts}[path[1]].at(path[1:]) if path[1:] else self

    def values(self) -> Iterator[tuple[str, Path, ProcessValue]]:
        """What the process feeds: its name (``Vol``, ``PhV.phsA``), the object's path, and where it goes."""
        yield from self._values(())

    def _values(self, above: Path) -> Iterator[tuple[str, Path, ProcessValue]]:
        path = (*above, self.name)
        for value in cdc(self.cdc).values:
            yield value.called(path), path, value
        for part in self.parts:
            yield from part._values(path)


@dataclass(frozen=True, slots=True)
class DataSetMember:
    """One FCDA: data object or attribute path below a node of the same IED."""

    device: str
    """MMS domain."""
    node: str
    fc: str
    path: Path


@dataclass(frozen=True, eq=False)
class NodeType:
    """An LNodeType; one object for the same types in the CIDs of a town, so that work on it is done once."""

    objects: tuple[DataObject, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A logical node."""

    name: str
    type: NodeType
    values: Mapping[Path, str]
    """DAI values of this instance, by path from the data object down."""
    data_sets: tuple[tuple[str, tuple[DataSetMember, ...]], ...]
    reports: tuple[Report, ...]

    @property
    def objects(self) -> tuple[DataObject, ...]:
        """Its data objects."""
        return self.type.objects


@dataclass(frozen=True, slots=True)
class Device:
    """A logical device; ``domain`` is its MMS name, ``meter_id`` empty for one that is no meter's."""

    domain: str
    inst: str
    meter_id: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Cid:
    """One IED as configured."""

    ied: str
    endpoint: tuple[str, int]
    """IP address and TCP port of its access point."""
    tls_endpoint: tuple[str, int] | None
    """Those of its other access point to the same server (ServerAt), for MMS over TLS."""
    max_associations: int
    """Services/DynAssociation: how many clients it takes at a time."""
    devices: tuple[Device, ...] = field(repr=False)

    @property
    def meters(self) -> list[Device]:
        """The devices that are some meter's."""
        return [device for device in self.devices if device.meter_id]


def read_cid(xml: bytes) -> Cid:
    """The IED that ``xml`` describes; CidError if it is no CID that can be served."""
    try:
        return _Reader(read(xml).root).cid()
    except (KeyError, ValueError, IndexError, RecursionError) as error:
        raise CidError(f"CID cannot be served: {one_line(str(error))}") from error


_MAX_ATTRIBUTES = 100_000
"""Of all types of a file: ours have hundreds, 50,000 with 100 kinds of meters; types of types, billions."""

_IED_NAME = re.compile(r"[A-Za-z][0-9A-Za-z_]{0,63}")


@lru_cache(maxsize=64)  # the CIDs of one revision have one text, or few
def _types(templates: bytes) -> dict[str, NodeType]:
    """The LNodeTypes of a DataTypeTemplates element, filled as they are asked for."""
    return {}


class _Reader:
    """Walks one file; the templates' types are resolved at most once."""

    def __init__(self, root: etree._Element) -> None:
        self._root = root
        sections = root.findall(f"{NS}DataTypeTemplates")
        self._templates = {
            (e.tag.removeprefix(NS), e.get("id")): e
            for section in sections
            for e in section
            if isinstance(e.tag, str)
        }
        self._node_types = _types(b"".join(map(etree.tostring, sections)))
        self._resolved = 0

    def cid(self) -> Cid:
        ieds = self._root.findall(f"{NS}IED")
        if len(ieds) != 1:
            raise ValueError(f"{len(ieds)} IED elements, one is right")
        ied = ieds[0]
        name = ied.attrib["name"]
        if not _IED_NAME.fullmatch(name):
            raise ValueError(f"IED name {name[:64]!r}: a letter, then letters, digits and _ (IEC 61850-6)")
        self._domains = {
            e.attrib["inst"]: e.get("ldName") or name + e.attrib["inst"] for e in ied.iter(f"{NS}LDevice")
        }
        devices = tuple(self._device(e) for e in ied.iter(f"{NS}LDevice"))
        check_owners(device.meter_id for device in devices)
        limit = ied.find(f"{NS}Services/{NS}DynAssociation")
        associations = DEFAULT_ASSOCIATIONS if limit is None else int(limit.get("max", DEFAULT_ASSOCIATIONS))
        return Cid(name, *self._endpoints(ied), associations, devices)

    def _endpoints(self, ied: etree._Element) -> tuple[tuple[str, int], tuple[str, int] | None]:
        """Of the access point with the server, and of the one beside it."""
        points = ied.iterfind(f"{NS}AccessPoint")
        beside = {point.get("name") for point in points if point.find(f"{NS}ServerAt") is not None}
        path = f"{NS}Communication/{NS}SubNetwork/{NS}ConnectedAP[@iedName='{ied.attrib['name']}']"
        found: dict[bool, tuple[str, int]] = {}
        for point in self._root.iterfind(path):
            rows = point.iterfind(f"{NS}Address/{NS}P")
            address = {p.attrib["type"]: (p.text or "").strip() for p in rows}
            endpoint = address["IP"], int(address.get("MMS-Port", "102"))
            found.setdefault(point.get("apName") in beside, endpoint)
        return found[False], found.get(True)

    def _device(self, element: etree._Element) -> Device:
        inst = element.attrib["inst"]
        nodes = tuple(self._node(e, inst) for e in element if e.tag in (f"{NS}LN0", f"{NS}LN"))
        return Device(self._domains[inst], inst, owner_of(element), nodes)

    def _node(self, element: etree._Element, inst: str) -> Node:
        values: dict[Path, str] = {}
        data_sets: list[tuple[str, tuple[DataSetMember, ...]]] = []
        reports: list[Report] = []
        for child in element:
            if child.tag == _DOI:
                values.update(_instance_values(child, (child.attrib["name"],)))
            elif child.tag == _DATA_SET:
                members = tuple(self._member(fcda, inst) for fcda in child if fcda.tag == _FCDA)
                data_sets.append((child.attrib["name"], members))
            elif child.tag == _REPORT_CONTROL:
                reports.append(read_report(child))
        node_type = self._node_type(element.attrib["lnType"])
        return Node(_node_name(element), node_type, values or _NONE, tuple(data_sets), tuple(reports))

    def _member(self, fcda: etree._Element, inst: str) -> DataSetMember:
        path = _path(fcda.attrib["doName"], fcda.get("daName", ""))
        domain = self._domains[fcda.get("ldInst", inst)]
        return DataSetMember(domain, _fcda_node(fcda), intern(fcda.attrib["fc"]), path)

    def _node_type(self, ln_type: str) -> NodeType:
        if ln_type not in self._node_types:
            template = self._templates["LNodeType", ln_type]
            objects = tuple(self._object(do) for do in template.iterfind(f"{NS}DO"))
            self._node_types[ln_type] = NodeType(objects)
        return self._node_types[ln_type]

    def _object(self, do: etree._Element) -> DataObject:
        self._count()
        template = self._templates["DOType", do.attrib["type"]]
        attributes = tuple(self._attribute(da) for da in template.iterfind(f"{NS}DA"))
        parts = tuple(self._object(sdo) for sdo in template.iterfind(f"{NS}SDO"))
        return DataObject(do.attrib["name"], template.attrib["cdc"], attributes, parts)

    def _count(self) -> None:
        self._resolved += 1
        if self._resolved > _MAX_ATTRIBUTES:
            raise ValueError(f"the types have more than {_MAX_ATTRIBUTES} attributes")

    def _attribute(self, element: etree._Element, parent: Attribute | None = None) -> Attribute:
        self._count()
        b_type = element.attrib["bType"]
        fc = FunctionalConstraint[element.attrib["fc"]] if parent is None else parent.fc
        triggers = _triggers(element) if parent is None else parent.triggers  # a DA's hold for its parts
        literals: dict[str, int] = {}
        if b_type == "Enum":
            template = self._templates["EnumType", element.attrib["type"]]
            literals = {v.text or "": int(v.attrib["ord"]) for v in template.iterfind(f"{NS}EnumVal")}
        value = element.findtext(f"{NS}Val")
        attribute = Attribute(element.attrib["name"], b_type, fc, triggers, value, literals)
        if b_type != "Struct":
            return attribute
        template = self._templates["DAType", element.attrib["type"]]
        parts = tuple(self._attribute(bda, attribute) for bda in template.iterfind(f"{NS}BDA"))
        return replace(attribute, children=parts)


# a town has the same few names ten thousand times: they are kept once
def _node_name(element: etree._Element) -> str:
    return intern(element.get("prefix", "") + element.attrib["lnClass"] + element.get("inst", ""))


def _fcda_node(fcda: etree._Element) -> str:
    return intern(fcda.get("prefix", "") + fcda.attrib["lnClass"] + fcda.get("lnInst", ""))


@lru_cache(maxsize=256)
def _path(data_object: str, attribute: str) -> Path:
    return (*data_object.split("."), *filter(None, attribute.split(".")))


def _triggers(element: etree._Element) -> TriggerOption:
    return TriggerOption(
        TriggerOption.DATA_CHANGED * flag(element, "dchg")
        | TriggerOption.QUALITY_CHANGED * flag(element, "qchg")
        | TriggerOption.DATA_UPDATE * flag(element, "dupd")
    )


def _instance_values(element: etree._Element, path: Path) -> Iterator[tuple[Path, str]]:
    """Path and text of every DAI/Val below a DOI or SDI element, which ``path`` leads to."""
    for child in element:
        if child.tag == _SDI:
            yield from _instance_values(child, (*path, child.attrib["name"]))
        elif child.tag == _DAI:
            value = child.findtext(f"{NS}Val")
            if value is not None:
                yield (*path, child.attrib["name"]), value
