"""An SCL file as the checker's rules need it: types, devices and nodes by name, each with its element.

Faulty files are the rule here: whatever is missing or doubled is left out or taken once, never an error.

>>> from lxml import etree
>>> doc = Document(etree.fromstring('<SCL xmlns="http://www.iec.ch/61850/2003/SCL"><IED name="A"/></SCL>'))
>>> [ied.name for ied in doc.ieds]
['A']
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from lxml import etree

from scl_builder.read import scl_xml

NS = scl_xml.NS
MOST_OBJECTS = 5_000
"""Data objects and sub data objects of one LNodeType: types of types of types could be billions."""
_DEEPEST = 8
"""Sub data objects in sub data objects that are followed: types may hold themselves."""
INSTANCE_NS = "{http://www.w3.org/2001/XMLSchema-instance}"


def children(element: etree._Element, *tags: str) -> Iterator[etree._Element]:
    """Children of the SCL namespace, those called ``tags`` if any are given."""
    return element.iterchildren(*(NS + tag for tag in tags)) if tags else element.iterchildren(NS + "*")


def first(element: etree._Element, tag: str) -> etree._Element | None:
    """The first child called ``tag``."""
    return next(children(element, tag), None)


def value_of(element: etree._Element) -> str | None:
    """Text of the element's first Val; None without one."""
    val = first(element, "Val")
    return None if val is None else (val.text or "").strip()


def flag(element: etree._Element, name: str, *, default: bool) -> bool:
    """An xs:boolean attribute."""
    return element.get(name, str(default).lower()).strip() in ("true", "1")


def number(text: str | None) -> int | None:
    """``text`` as a natural number; None if it is not one (then the schema says so)."""
    return int(text) if text and text.isdecimal() and len(text) < 12 else None


def ends_first(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """The graph's nodes, each after all that it leads to; what is in a loop or leads to one is left out."""
    sorter = TopologicalSorter(
        {key: {target for target in targets if target in graph} for key, targets in graph.items()}
    )
    with suppress(CycleError):
        sorter.prepare()
    ordered: list[str] = []
    while ready := sorter.get_ready():
        ordered += ready
        sorter.done(*ready)
    return ordered


@dataclass(frozen=True, eq=False)
class Attr:
    """A DA or BDA."""

    element: etree._Element
    name: str
    fc: str
    btype: str
    type: str
    value: str | None
    """Val that the type carries."""


@dataclass(frozen=True, eq=False)
class ObjectType:
    """A DOType: attributes, and sub data objects (name → DOType id)."""

    element: etree._Element
    id: str
    cdc: str
    attributes: dict[str, Attr]
    sub_objects: dict[str, str]


@dataclass(frozen=True, eq=False)
class NodeType:
    """An LNodeType: data object → its DO element."""

    element: etree._Element
    id: str
    ln_class: str
    objects: dict[str, etree._Element]


@dataclass(frozen=True, eq=False)
class Device:
    """An LDevice; ``nodes`` are its LN0 and LN by MMS name."""

    element: etree._Element
    inst: str
    domain: str
    """MMS name: ldName, or IED name + inst."""
    nodes: dict[str, etree._Element]


@dataclass(frozen=True, eq=False)
class IedEntry:
    """An IED and its logical devices by inst."""

    element: etree._Element
    name: str
    devices: dict[str, Device] = field(default_factory=dict)


def node_name(element: etree._Element, inst: str = "inst") -> str:
    """MMS name of an LN, or of the LN that an FCDA or LNode names (``inst`` = ``lnInst``)."""
    return element.get("prefix", "") + element.get("lnClass", "") + element.get(inst, "")


def _attrs(element: etree._Element, tag: str) -> dict[str, Attr]:
    found: dict[str, Attr] = {}
    for row in children(element, tag):
        get = row.get
        name = get("name", "")
        attr = Attr(row, name, get("fc", ""), get("bType", ""), get("type", ""), value_of(row))
        found.setdefault(name, attr)
    return found


class Document:
    """One parsed file."""

    def __init__(self, root: etree._Element) -> None:
        self.root = root

    def _templates(self, tag: str) -> Iterator[tuple[str, etree._Element]]:
        """(id, element) of each template called ``tag``; the first of an id only."""
        seen: set[str] = set()
        for section in children(self.root, "DataTypeTemplates"):
            for element in children(section, tag):
                if (type_id := element.get("id", "")) not in seen:
                    seen.add(type_id)
                    yield type_id, element

    @cached_property
    def node_types(self) -> dict[str, NodeType]:
        """LNodeType by id."""
        return {
            key: NodeType(
                element,
                key,
                element.get("lnClass", ""),
                {do.get("name", ""): do for do in children(element, "DO")},
            )
            for key, element in self._templates("LNodeType")
        }

    @cached_property
    def object_types(self) -> dict[str, ObjectType]:
        """DOType by id."""
        return {
            key: ObjectType(
                element,
                key,
                element.get("cdc", ""),
                _attrs(element, "DA"),
                {sdo.get("name", ""): sdo.get("type", "") for sdo in children(element, "SDO")},
            )
            for key, element in self._templates("DOType")
        }

    @cached_property
    def struct_types(self) -> dict[str, dict[str, Attr]]:
        """Members of each DAType by id."""
        return {key: _attrs(element, "BDA") for key, element in self._templates("DAType")}

    @cached_property
    def struct_elements(self) -> dict[str, etree._Element]:
        """DAType by id."""
        return dict(self._templates("DAType"))

    @cached_property
    def enums(self) -> dict[str, dict[str, etree._Element]]:
        """EnumType by id: literal → its EnumVal."""
        return {
            key: {(val.text or "").strip(): val for val in children(element, "EnumVal")}
            for key, element in self._templates("EnumType")
        }

    @cached_property
    def ieds(self) -> list[IedEntry]:
        """All IEDs, doubled names included."""
        return [self._ied(element) for element in children(self.root, "IED")]

    @cached_property
    def ied_by_name(self) -> dict[str, IedEntry]:
        """IEDs by name."""
        return {ied.name: ied for ied in reversed(self.ieds)}

    @cached_property
    def devices(self) -> list[tuple[IedEntry, Device]]:
        """Every logical device with its IED."""
        return [(ied, device) for ied in self.ieds for device in ied.devices.values()]

    def _ied(self, element: etree._Element) -> IedEntry:
        entry = IedEntry(element, element.get("name", ""))
        for point in children(element, "AccessPoint"):
            for server in children(point, "Server"):
                for device in children(server, "LDevice"):
                    inst = device.get("inst", "")
                    domain = device.get("ldName") or entry.name + inst
                    nodes = {node_name(node): node for node in children(device, "LN0", "LN")}
                    entry.devices.setdefault(inst, Device(device, inst, domain, nodes))
        return entry

    @cached_property
    def struct_graph(self) -> dict[str, list[str]]:
        """DAType → the DATypes that it is made of."""
        return {
            key: [attr.type for attr in members.values() if attr.btype == "Struct"]
            for key, members in self.struct_types.items()
        }

    @cached_property
    def object_graph(self) -> dict[str, list[str]]:
        """DOType → the DOTypes of its sub data objects."""
        return {key: list(entry.sub_objects.values()) for key, entry in self.object_types.items()}

    def objects(self, ln_type: str) -> Iterator[tuple[tuple[str, ...], ObjectType]]:
        """Path and DOType of all data objects and sub data objects; ValueError if they are too many."""
        node_type = self.node_types.get(ln_type)
        top = node_type.objects.items() if node_type else ()
        pending: deque[tuple[tuple[str, ...], str]] = deque(((name,), do.get("type", "")) for name, do in top)
        for _ in range(MOST_OBJECTS):
            if not pending:
                return
            path, type_id = pending.popleft()
            if (found := self.object_types.get(type_id)) and len(path) <= _DEEPEST:
                yield path, found
                pending.extend(((*path, name), sub) for name, sub in found.sub_objects.items())
        raise ValueError(f"LNodeType {ln_type[:64]!r} has more than {MOST_OBJECTS} data objects")

    def object_type(self, ln_type: str, do_name: str) -> ObjectType | None:
        """DOType of data object ``do_name`` of an LNodeType."""
        node_type = self.node_types.get(ln_type)
        do = node_type.objects.get(do_name) if node_type else None
        return None if do is None else self.object_types.get(do.get("type", ""))

    def is_dangling(self, ln_type: str, do_name: str) -> bool:
        """Whether the LNodeType, or the DOType of its data object, is missing: told where it is named."""
        node_type = self.node_types.get(ln_type)
        return node_type is None or (
            do_name in node_type.objects and self.object_type(ln_type, do_name) is None
        )

    def find_object(self, ln_type: str, path: tuple[str, ...]) -> tuple[ObjectType, tuple[str, ...]] | None:
        """The DOType that ``path`` (object, sub objects, attributes) leads to, and what is left of it."""
        found = self.object_type(ln_type, path[0])
        rest = path[1:]
        while found and rest and rest[0] in found.sub_objects:
            found, rest = self.object_types.get(found.sub_objects[rest[0]]), rest[1:]
        return (found, rest) if found else None

    def find_attribute(self, ln_type: str, path: tuple[str, ...]) -> tuple[Attr, str] | None:
        """The attribute that ``path`` names and its functional constraint; None if there is none."""
        found = self.find_object(ln_type, path)
        if found is None or not found[1]:
            return None
        members, fc = found[0].attributes, ""
        attr: Attr | None = None
        for name in found[1]:
            attr = members.get(name)
            if attr is None:
                return None
            fc = fc or attr.fc
            members = self.struct_types.get(attr.type, {}) if attr.btype == "Struct" else {}
        return (attr, fc) if attr else None

    def constraints(self, object_type: ObjectType) -> set[str]:
        """Functional constraints of all attributes below ``object_type``."""
        pending, seen, found = [object_type], {object_type.id}, set[str]()
        while pending:
            current = pending.pop()
            found.update(attr.fc for attr in current.attributes.values())
            for type_id in current.sub_objects.values():
                if type_id not in seen and type_id in self.object_types:
                    seen.add(type_id)
                    pending.append(self.object_types[type_id])
        return found
