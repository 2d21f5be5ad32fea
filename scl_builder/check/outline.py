"""What of an SCL file an engineer compares: its devices by MMS name, with values, data sets and blocks.

Types are flattened once for each LNodeType: two devices of one type are the same without looking.

>>> outline = Outline(parse(b'<SCL xmlns="http://www.iec.ch/61850/2003/SCL"><Header id="x"/></SCL>'))
>>> outline.header
{'id': 'x'}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice, starmap

from lxml import etree

from scl_builder.check.document import (
    NS,
    Device,
    Document,
    ObjectType,
    children,
    first,
    flag,
    node_name,
    value_of,
)
from scl_builder.read.findings import tag
from scl_builder.read.scl_xml import read

Facts = Mapping[str, str]
Path = tuple[str, ...]

_DEEPEST = 12
"""Names in the longest path that is followed: types may hold themselves."""
MOST_LEAVES = 20_000
"""Of one LNodeType: ours have dozens. Types of types of types could be billions."""
_ON_BY_DEFAULT = ("gi", "bufOvfl")
_OPTIONS = {
    "TrgOps": ("dchg", "qchg", "dupd", "period", "gi"),
    "OptFields": (
        *("seqNum", "timeStamp", "dataSet", "reasonCode", "dataRef"),
        *("entryID", "configRef", "bufOvfl"),
    ),
}


@dataclass(frozen=True)
class Leaf:
    """A data attribute without parts."""

    fc: str
    kind: str
    """bType; of an enumeration with its literals."""
    value: str
    """Val of the type; empty if it has none."""


@dataclass(frozen=True)
class NodeOutline:
    """One logical node of a device."""

    ln_type: str
    values: Mapping[Path, str]
    """Instance values: data object and attribute names → Val."""
    data_sets: Mapping[str, tuple[str, ...]]
    reports: Mapping[str, Facts]


def parse(xml: bytes) -> Document:
    """The SCL file ``xml``; ValueError if it is none."""
    root = read(xml).root
    if root.tag != NS + "SCL":
        raise ValueError(f"root element is {tag(root)!r}, and not SCL")
    return Document(root)


class Outline:
    """One file."""

    def __init__(self, doc: Document) -> None:
        self._doc = doc
        self._leaves: dict[str, dict[Path, Leaf]] = {}
        self.devices: dict[str, tuple[str, Device]] = {
            device.domain: (ied.name, device) for ied, device in doc.devices
        }
        """MMS domain → IED name and device."""

    @cached_property
    def by_inst(self) -> dict[tuple[str, str], str]:
        """IED name and inst → MMS domain."""
        return {(ied, device.inst): domain for domain, (ied, device) in self.devices.items()}

    @cached_property
    def header(self) -> Facts:
        """Attributes of Header."""
        header = first(self._doc.root, "Header")
        return {} if header is None else _text(header)

    @cached_property
    def ieds(self) -> dict[str, Facts]:
        """IED → its endpoints and its services."""
        addresses = self._addresses()
        return {ied.name: {**addresses.get(ied.name, {}), **_services(ied.element)} for ied in self._doc.ieds}

    def _addresses(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for point in self._doc.root.iter(NS + "ConnectedAP"):
            rows = {row.get("type", ""): (row.text or "").strip() for row in point.iter(NS + "P")}
            endpoint = f"{rows.pop('IP', '?')}:{rows.pop('MMS-Port', '102')}"
            facts = found.setdefault(point.get("iedName", ""), {})
            if facts:
                facts[f"endpoint of {point.get('apName')}"] = endpoint
            else:
                facts |= {"endpoint": endpoint, **rows}
        return found

    @cached_property
    def places(self) -> dict[str, str]:
        """MMS domain → where in the substation its logical nodes are."""
        found: dict[str, str] = {}
        for node in self._doc.root.iter(NS + "LNode"):
            domain = self.by_inst.get((node.get("iedName", ""), node.get("ldInst", "")))
            names = [element.get("name", "") for element in node.iterancestors() if element.get("name")]
            if domain is not None:
                found.setdefault(domain, "/".join(reversed(names)))
        return found

    def nodes(self, domain: str) -> dict[str, NodeOutline]:
        """Logical nodes of a device by MMS name."""
        ied, device = self.devices[domain]
        return {name: self._node(ied, device, element) for name, element in device.nodes.items()}

    def _node(self, ied: str, device: Device, element: etree._Element) -> NodeOutline:
        return NodeOutline(
            element.get("lnType", ""),
            dict(_values(element)),
            {
                data_set.get("name", ""): tuple(
                    self._member(ied, device, fcda) for fcda in children(data_set, "FCDA")
                )
                for data_set in children(element, "DataSet")
            },
            {block.get("name", ""): _report(block) for block in children(element, "ReportControl")},
        )

    def _member(self, ied: str, device: Device, fcda: etree._Element) -> str:
        target = self._doc.ied_by_name[ied].devices.get(fcda.get("ldInst", device.inst))
        path = ".".join(filter(None, (node_name(fcda, "lnInst"), fcda.get("doName"), fcda.get("daName"))))
        return f"{target.domain if target else fcda.get('ldInst')}/{path} [{fcda.get('fc', '')}]"

    def label(self, domain: str) -> str:
        """MMS domain, and the name that its name plate says."""
        plate = self.devices[domain][1].nodes.get("LLN0")
        values = {} if plate is None else dict(_values(plate))
        name = values.get(("NamPlt", "dU")) or values.get(("NamPlt", "d"))
        return f'{domain} "{name}"' if name else domain

    def objects(self, ln_type: str) -> dict[str, str]:
        """Data object → CDC of an LNodeType."""
        node_type = self._doc.node_types.get(ln_type)
        names = node_type.objects if node_type else ()
        found = {name: self._doc.object_type(ln_type, name) for name in names}
        return {name: object_type.cdc if object_type else "?" for name, object_type in found.items()}

    def leaves(self, ln_type: str) -> dict[Path, Leaf]:
        """Path → attribute, of an LNodeType; ValueError if they are too many."""
        if ln_type not in self._leaves:
            every = chain.from_iterable(starmap(self._leaves_of, self._doc.objects(ln_type)))
            self._leaves[ln_type] = dict(islice(every, MOST_LEAVES))
            if next(every, None):
                raise ValueError(f"LNodeType {ln_type[:64]!r} has more than {MOST_LEAVES} attributes")
        return self._leaves[ln_type]

    def _leaves_of(self, above: Path, object_type: ObjectType) -> Iterator[tuple[Path, Leaf]]:
        pending = [((*above, attr.name), attr, attr.fc) for attr in object_type.attributes.values()]
        while pending:
            path, attr, fc = pending.pop()
            parts = self._doc.struct_types.get(attr.type, {}) if attr.btype == "Struct" else {}
            if parts and len(path) < _DEEPEST:
                pending += [((*path, part.name), part, fc) for part in parts.values()]
            else:
                yield path, Leaf(fc, self._kind(attr.btype, attr.type), attr.value or "")

    def _kind(self, btype: str, type_id: str) -> str:
        literals = self._doc.enums.get(type_id, {}) if btype == "Enum" else {}
        return " ".join((btype, *(f"{val.get('ord')}={text}" for text, val in literals.items())))


def _text(element: etree._Element) -> dict[str, str]:
    return {str(name): str(value) for name, value in element.attrib.items()}


def _services(ied: etree._Element) -> Facts:
    found: dict[str, str] = {}
    for section in ied.iter(NS + "Services"):
        found |= {f"Services {name}": value for name, value in _text(section).items()}
        for service in children(section):
            found[f"service {tag(service)}"] = "offered"
            found |= {f"{tag(service)} {name}": value for name, value in _text(service).items()}
    return found


def _values(node: etree._Element) -> Iterator[tuple[Path, str]]:
    """Path and Val of each DAI of a node."""
    for doi in children(node, "DOI"):
        for dai in doi.iter(NS + "DAI"):
            names = [element.get("name", "") for element in dai.iterancestors(NS + "SDI")]
            value = value_of(dai)
            if value is not None:
                yield (doi.get("name", ""), *reversed(names), dai.get("name", "")), value


def _report(block: etree._Element) -> Facts:
    facts = {name: value for name, value in _text(block).items() if name not in ("name", "desc")}
    enabled = first(block, "RptEnabled")
    facts["max"] = "1" if enabled is None else enabled.get("max", "1")
    clients = () if enabled is None else children(enabled, "ClientLN")
    if named := " ".join(client.get("iedName", "") for client in clients):
        facts["clients"] = named
    for name, flags in _OPTIONS.items():
        element = first(block, name)
        told = (f for f in flags if _is_set(element, f))
        facts[name] = " ".join(told)
    return facts


def _is_set(element: etree._Element | None, name: str) -> bool:
    default = name in _ON_BY_DEFAULT
    return default if element is None else flag(element, name, default=default)
