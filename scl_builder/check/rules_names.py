"""Rules on names: syntax, length, uniqueness (rule 2).

IEC 61850-6 clause 8.2 for names, IEC 61850-8-1 for the 64 characters of an MMS name.
"""

from __future__ import annotations

import re

from lxml import etree

from scl_builder.check.document import (
    NS,
    Attr,
    Device,
    Document,
    IedEntry,
    ObjectType,
    children,
    ends_first,
    number,
)
from scl_builder.model.reference import MMS_NAME_LIMIT
from scl_builder.read.findings import Findings, Severity

NAME = re.compile(r"[A-Za-z][0-9A-Za-z_]*")
DEFAULT_NAME_LENGTH = 32
NAME_CURE = f"use letters, digits and '_', a letter first, at most {MMS_NAME_LIMIT} characters"
_FC_LENGTH = 3
"""Characters of a functional constraint and what parts it from the rest."""


def check_names(doc: Document, found: Findings) -> None:
    """Names of IEDs, logical devices and MMS items of the whole file."""
    for ied in doc.ieds:
        _check_name(ied.element, "name", "IED name", found)
        for device in ied.devices.values():
            _check_name(device.element, "ldName", "logical device name", found)
        _check_name_length(ied, found)
    _check_duplicates(doc, found)
    _check_item_names(doc, found)


def _check_name(element: etree._Element, attribute: str, what: str, found: Findings) -> None:
    name = element.get(attribute)
    if name is None:
        return
    if len(name) > MMS_NAME_LIMIT:
        found.add(element, "name", f"{what} {name!r} has {len(name)} characters", cure=NAME_CURE, value=name)
    elif not NAME.fullmatch(name):
        found.add(element, "name", f"{what} {name!r} is no IEC 61850 name", cure=NAME_CURE, value=name)


def _check_name_length(ied: IedEntry, found: Findings) -> None:
    """nameLength covers the names, and IED name + inst still is an MMS name."""
    for device in ied.devices.values():
        if len(device.domain) > MMS_NAME_LIMIT and "ldName" not in device.element.attrib:
            message = f"MMS domain {device.domain!r} has {len(device.domain)} characters"
            cure = f"shorten IED name or inst to {MMS_NAME_LIMIT} together"
            found.add(device.element, "mms-name", message, cure=cure)
    services = next(children(ied.element, "Services"), None)
    length = services.get("nameLength") if services is not None else None
    allowed = number(length) or DEFAULT_NAME_LENGTH
    longest = max((device.domain for device in ied.devices.values()), key=len, default="")
    if allowed < len(longest) <= MMS_NAME_LIMIT:
        place = ied.element if services is None else services
        message = f"nameLength is {allowed}, {longest!r} has {len(longest)} characters"
        cure = 'write <Services nameLength="64">'
        found.add(place, "services", message, cure=cure, severity=Severity.WARNING)


def _check_duplicates(doc: Document, found: Findings) -> None:
    ieds: set[str] = set()
    domains: set[str] = set()
    for ied in doc.ieds:
        if ied.name in ieds:
            message = f"IED name {ied.name!r} occurs twice"
            found.add(ied.element, "duplicate", message, cure="give every IED its own name")
        ieds.add(ied.name)
        _check_insts(ied.element, found)
        for device in ied.devices.values():
            _check_domain(device, domains, found)


def _check_insts(ied: etree._Element, found: Findings) -> None:
    seen: set[str] = set()
    for device in ied.iter(NS + "LDevice"):
        inst = device.get("inst", "")
        if inst in seen:
            message = f"LDevice inst {inst!r} occurs twice in IED {ied.get('name', '')!r}"
            found.add(device, "duplicate", message, cure="give every LDevice its own inst")
        seen.add(inst)


def _check_domain(device: Device, domains: set[str], found: Findings) -> None:
    if device.domain in domains:
        message = f"logical device name {device.domain!r} occurs twice"
        found.add(device.element, "duplicate", message, cure="give every logical device its own ldName")
    domains.add(device.domain)


def _check_item_names(doc: Document, found: Findings) -> None:
    """MMS item names, node and functional constraint included, are at most 64 characters."""
    lengths = _ItemLengths(doc)
    for _, device in doc.devices:
        for name, node in device.nodes.items():
            length = len(name) + lengths.of_node(node.get("lnType", ""))
            if length > MMS_NAME_LIMIT:
                message = f"the longest MMS name in {device.domain}/{name} has {length} characters"
                cure = f"shorten prefix, data object or attribute names: {MMS_NAME_LIMIT} is the limit"
                found.add(node, "mms-name", message, cure=cure)


class _ItemLengths:
    """Longest MMS item name below each type, shortest types first; what is in a loop has no length."""

    def __init__(self, doc: Document) -> None:
        self._doc = doc
        self._structs: dict[str, int] = {}
        self._objects: dict[str, int] = {}
        self._nodes: dict[str, int] = {}
        for key in ends_first(doc.struct_graph):
            members = doc.struct_types[key].values()
            self._structs[key] = max(map(self._of_attribute, members), default=0)
        for key in ends_first(doc.object_graph):
            self._objects[key] = self._of_object(doc.object_types[key])

    def of_node(self, ln_type: str) -> int:
        """Characters after the node's name, in the longest item of LNodeType ``ln_type``."""
        if ln_type not in self._nodes:
            node_type = self._doc.node_types.get(ln_type)
            objects = node_type.objects.items() if node_type else ()
            lengths = (1 + len(name) + self._objects.get(do.get("type", ""), 0) for name, do in objects)
            self._nodes[ln_type] = _FC_LENGTH + max(lengths, default=0)
        return self._nodes[ln_type]

    def _of_object(self, object_type: ObjectType) -> int:
        subs = (1 + len(name) + self._objects.get(sub, 0) for name, sub in object_type.sub_objects.items())
        return max((*subs, *map(self._of_attribute, object_type.attributes.values())), default=0)

    def _of_attribute(self, attr: Attr) -> int:
        below = self._structs.get(attr.type, 0) if attr.btype == "Struct" else 0
        return 1 + len(attr.name) + below
