"""Rules on values: enumeration literals, Val of types and instances, DOI and DAI, ldNs (rules 5, 7).

Literals are compared letter for letter with IEC 61850-7-2, 7-3 and 7-4 (nsd_enums).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from lxml import etree

from scl_builder.document import Attr, Document, NodeType, ObjectType, children, value_of
from scl_builder.findings import Findings
from scl_builder.nsd_cdcs import CDCS, CTL_VALUES, STRUCTS
from scl_builder.nsd_enums import ENUMERATIONS
from scl_builder.nsd_nodes import rule
from scl_builder.tables import LD_NAMESPACE

_INTEGERS = {
    "INT8": (-(2**7), 2**7 - 1),
    "INT16": (-(2**15), 2**15 - 1),
    "INT32": (-(2**31), 2**31 - 1),
    "INT64": (-(2**63), 2**63 - 1),
    "INT8U": (0, 2**8 - 1),
    "INT16U": (0, 2**16 - 1),
    "INT24U": (0, 2**24 - 1),
    "INT32U": (0, 2**32 - 1),
}
_WORDS = {
    "BOOLEAN": ("true", "false", "1", "0"),
    "Dbpos": ("intermediate", "off", "on", "bad", "00", "01", "10", "11"),
    "Tcmd": ("stop", "lower", "higher", "reserved", "00", "01", "10", "11"),
}
_INTEGER = re.compile(r"[+-]?\d{1,20}")
_VISIBLE = re.compile(r"[ -~]*")


def check_values(doc: Document, found: Findings) -> None:
    """Enumerations and values of the whole file."""
    for node_type in doc.node_types.values():
        _check_enumerations(doc, node_type, found)
    for object_type in doc.object_types.values():
        _check_fixed_enumerations(doc, object_type, found)
    for attr in _all_attributes(doc):
        if attr.value is not None:
            _check_value(doc, attr, attr.element, attr.value, found)
    for _, device in doc.devices:
        for node in device.nodes.values():
            _check_instances(doc, node, found)
        if "LLN0" in device.nodes:
            _check_namespace(doc, device.nodes["LLN0"], found)


def _all_attributes(doc: Document) -> Iterator[Attr]:
    for object_type in doc.object_types.values():
        yield from object_type.attributes.values()
    for members in doc.struct_types.values():
        yield from members.values()


def _check_enumerations(doc: Document, node_type: NodeType, found: Findings) -> None:
    """Enumerations that the data object decides: stVal, setVal, subVal and ctlVal."""
    for name, do in node_type.objects.items():
        wanted = rule(node_type.ln_class, name)
        object_type = doc.object_types.get(do.get("type", ""))
        if wanted is None or not wanted.enum or object_type is None or object_type.cdc != wanted.cdc:
            continue
        for attr in object_type.attributes.values():
            if attr.btype == "Enum" and attr.name in ("stVal", "setVal", "subVal"):
                _check_kind(doc, do, f"{node_type.ln_class}.{name}", attr.type, wanted.enum, found)
            elif attr.btype == "Struct" and attr.fc == "CO":
                ctl_value = doc.struct_types.get(attr.type, {}).get("ctlVal")
                if ctl_value and ctl_value.btype == "Enum":
                    _check_kind(doc, do, f"{name}.{attr.name}", ctl_value.type, wanted.enum, found)


def _check_fixed_enumerations(doc: Document, object_type: ObjectType, found: Findings) -> None:
    """Enumerations that the common data class decides, such as ctlModel and units."""
    wanted = {attribute.name: attribute for attribute in CDCS.get(object_type.cdc, ())}
    for attr in object_type.attributes.values():
        if attr.name not in wanted:
            _check_members(doc, attr, attr.name if object_type.cdc in CTL_VALUES else "", found)
        elif attr.btype == "Enum" and wanted[attr.name].type:
            _check_kind(doc, attr.element, attr.name, attr.type, wanted[attr.name].type, found)
        elif attr.btype == "Struct":
            _check_members(doc, attr, wanted[attr.name].type, found)


def _check_members(doc: Document, attr: Attr, struct: str, found: Findings) -> None:
    known = {member.name: member for member in STRUCTS.get(struct, ())}
    for member in doc.struct_types.get(attr.type, {}).values():
        wanted = known.get(member.name)
        if wanted is None:
            continue
        if member.btype == "Enum" and wanted.type:
            where = f"{attr.name}.{member.name}"
            _check_kind(doc, member.element, where, member.type, wanted.type, found)
        elif member.btype == "Struct" and wanted.type and wanted.type != struct:
            _check_members(doc, member, wanted.type, found)


def _check_kind(
    doc: Document, user: etree._Element, where: str, enum_id: str, kind: str, found: Findings
) -> None:
    """EnumType ``enum_id`` says what the standard's ``kind`` says; one wrong literal or the wrong type."""
    literals, standard = doc.enums.get(enum_id), ENUMERATIONS.get(kind)
    if literals is None or standard is None:
        return
    wrong = [(text, val) for text, val in literals.items() if standard.get(_ordinal(val), None) != text]
    listed = ", ".join(f"{number} {text!r}" for number, text in list(standard.items())[:6])
    if wrong and (2 * len(wrong) > len(literals) or _is_other_kind(literals, kind)):
        message = f"{where} has enumeration {enum_id!r}, which is no {kind}"
        found.add(user, "enum", message, cure=f"use an EnumType with {listed}")
        return
    for text, val in wrong:
        message = f"EnumType {enum_id!r} has {val.get('ord', '')} {text!r}, {kind} has not"
        right = standard.get(_ordinal(val))
        cure = f"write {right!r}" if right is not None else f"{kind} is {listed}"
        found.add(val, "enum", message, cure=cure)


def _ordinal(val: etree._Element) -> int:
    text = val.get("ord", "")
    return int(text) if _INTEGER.fullmatch(text) else -(2**31)


def _is_other_kind(literals: dict[str, etree._Element], kind: str) -> bool:
    """Whether the literals are those of another standard enumeration."""
    pairs = {(_ordinal(val), text) for text, val in literals.items()}
    return any(pairs == set(other.items()) for name, other in ENUMERATIONS.items() if name != kind)


def _check_instances(doc: Document, node: etree._Element, found: Findings) -> None:
    """DOI, SDI and DAI of one node name what its type has, and their values fit."""
    ln_type = node.get("lnType", "")
    node_type = doc.node_types.get(ln_type)
    if node_type is None:
        return
    for doi in children(node, "DOI"):
        name = doi.get("name", "")
        if name in node_type.objects:
            for dai, path in _instances(doi, (name,)):
                _check_instance(doc, ln_type, dai, path, found)
        else:
            message = f"DOI {name!r}: LNodeType {ln_type!r} has no such data object"
            found.add(doi, "instance", message, cure="name a data object of the type, or remove the DOI")


def _instances(
    element: etree._Element, path: tuple[str, ...]
) -> Iterator[tuple[etree._Element, tuple[str, ...]]]:
    """Every DAI below ``element`` with its path of names."""
    for child in element.iterdescendants("{*}DAI"):
        names = [child.get("name", "")]
        parent = child.getparent()
        while parent is not None and parent is not element:
            names.append(parent.get("name", ""))
            parent = parent.getparent()
        yield child, (*path, *reversed(names))


def _check_instance(
    doc: Document, ln_type: str, dai: etree._Element, path: tuple[str, ...], found: Findings
) -> None:
    attribute = doc.find_attribute(ln_type, path)
    if attribute is None:
        message = f"DAI {'.'.join(path)!r}: LNodeType {ln_type!r} has no such attribute"
        found.add(dai, "instance", message, cure="name an attribute of the type, or remove the DAI")
    elif (value := value_of(dai)) is not None:
        _check_value(doc, attribute[0], dai, value, found)


def _check_value(doc: Document, attr: Attr, place: etree._Element, value: str, found: Findings) -> None:
    expected = _expected(doc, attr, value)
    if expected:
        message = f"{attr.name} has value {value!r}"
        found.add(place, "value", message, cure=f"write {expected}", value=value)


def _expected(doc: Document, attr: Attr, value: str) -> str:
    """What ``value`` should be; empty if it is fit for ``attr``."""
    btype = attr.btype
    if btype == "Enum":
        literals = doc.enums.get(attr.type)
        if literals is None or value in literals:
            return ""
        return f"a literal of EnumType {attr.type!r}: {', '.join(map(repr, list(literals)[:8]))}"
    if btype in _WORDS:
        return "" if value in _WORDS[btype] else " or ".join(_WORDS[btype])
    if btype in _INTEGERS:
        low, high = _INTEGERS[btype]
        fits = _INTEGER.fullmatch(value) and low <= int(value) <= high
        return "" if fits else f"an integer from {low} to {high}"
    if btype in ("FLOAT32", "FLOAT64"):
        return "" if _is_number(value) else "a number"
    return _expected_text(btype, value)


def _expected_text(btype: str, value: str) -> str:
    limit = int(btype[-3:].lstrip("ge")) if btype in ("VisString129", "VisString255", "Unicode255") else 0
    limit = {"VisString32": 32, "VisString64": 64, "VisString65": 65}.get(btype, limit)
    if limit and len(value) > limit:
        return f"at most {limit} characters"
    if btype.startswith("VisString") and not _VISIBLE.fullmatch(value):
        return "visible ASCII only, and the rest in a Unicode255 attribute (dU)"
    return ""


def _is_number(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _check_namespace(doc: Document, node: etree._Element, found: Findings) -> None:
    """ldNs of LLN0.NamPlt names 7-4: without it validators skip the logical nodes."""
    ln_type = node.get("lnType", "")
    plate = doc.object_type(ln_type, "NamPlt")
    if plate is None:
        return
    attr = plate.attributes.get("ldNs")
    values = [
        value_of(dai)
        for doi in children(node, "DOI")
        if doi.get("name") == "NamPlt"
        for dai in children(doi, "DAI")
        if dai.get("name") == "ldNs"
    ]
    value = values[0] if values else attr.value if attr else None
    if attr is None:
        message = f"NamPlt of LLN0 ({plate.id}) lacks ldNs"
        cure = f'add <DA name="ldNs" fc="EX" bType="VisString255"> with Val {LD_NAMESPACE}'
        found.add(plate.element, "ld-ns", message, cure=cure)
    elif value != LD_NAMESPACE:
        message = f"ldNs is {value!r}" if value else "ldNs has no value"
        place = node if values or attr.value is None else attr.element
        found.add(place, "ld-ns", message, cure=f"write {LD_NAMESPACE}")
