"""Rules on values: enumeration literals, Val of types and instances, DOI and DAI, ldNs (rules 5, 7).

Literals are compared letter for letter with IEC 61850-7-2, 7-3 and 7-4 (nsd_enums).
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Iterator

from lxml import etree

from scl_builder.check.document import NS, Attr, Document, ObjectType, children, number, value_of
from scl_builder.model.logical_devices import LD_NAMESPACE
from scl_builder.model.nsd_cdcs import CDCS, SERVICE_ATTRIBUTES, STRUCTS, Attribute
from scl_builder.model.nsd_enums import ENUMERATIONS
from scl_builder.model.nsd_nodes import rule
from scl_builder.read.findings import Findings, Severity

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
_NO_ORDINAL = 2**31
"""Of an EnumVal without one: it is neither the standard's nor private."""
_VISIBLE = re.compile(r"[ -~]*")


def check_values(doc: Document, found: Findings) -> None:
    """Enumerations and values of the whole file."""
    _Enumerations(doc, found).check()
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


class _Enumerations:
    """Compares every EnumType with the standard's, as the attributes that use it ask; each use once."""

    def __init__(self, doc: Document, found: Findings) -> None:
        self._doc = doc
        self._found = found
        self._done: set[tuple[etree._Element, str]] = set()

    def check(self) -> None:
        """All uses in the file."""
        for node_type in self._doc.node_types.values():
            for name, do in node_type.objects.items():
                wanted = rule(node_type.ln_class, name)
                object_type = self._doc.object_types.get(do.get("type", ""))
                if wanted and wanted.enum and object_type and object_type.cdc == wanted.cdc:
                    self._check_value_kind(f"{node_type.ln_class}.{name}", object_type, wanted.enum)
        for object_type in self._doc.object_types.values():
            for attribute in (*CDCS.get(object_type.cdc, ()), *SERVICE_ATTRIBUTES.values()):
                if attribute.name in object_type.attributes:
                    self._check_attribute(object_type.attributes[attribute.name], attribute)

    def _check_value_kind(self, where: str, object_type: ObjectType, kind: str) -> None:
        """Where the data object decides: stVal, setVal, subVal, and ctlVal of the services."""
        for attr in object_type.attributes.values():
            if attr.btype == "Enum" and attr.name in ("stVal", "setVal", "subVal"):
                self._compare(attr, where, kind)
            elif attr.btype == "Struct" and attr.name in SERVICE_ATTRIBUTES:
                value = self._doc.struct_types.get(attr.type, {}).get("ctlVal")
                if value and value.btype == "Enum":
                    self._compare(value, f"{where}.{attr.name}", kind)

    def _check_attribute(self, attr: Attr, wanted: Attribute) -> None:
        """Where the common data class decides, such as ctlModel and units."""
        if attr.btype != wanted.btype:
            return
        if attr.btype == "Enum" and wanted.type:
            self._compare(attr, attr.name, wanted.type)
        elif attr.btype == "Struct":
            members = self._doc.struct_types.get(attr.type, {})
            for member in STRUCTS.get(wanted.type, ()):
                if member.name in members:
                    self._check_attribute(members[member.name], member)

    def _compare(self, user: Attr, where: str, kind: str) -> None:
        """The EnumType of ``user`` says what the standard's ``kind`` says; negative ordinals are private."""
        every, standard = self._doc.enums.get(user.type), ENUMERATIONS.get(kind)
        if every is None or standard is None or (user.element, kind) in self._done:
            return
        self._done.add((user.element, kind))
        literals = {
            text: val for text, val in every.items() if _ordinal(val) >= 0 or _ordinal(val) in standard
        }
        wrong = {text: val for text, val in literals.items() if standard.get(_ordinal(val)) != text}
        listed = ", ".join(f"{number} {text!r}" for number, text in list(standard.items())[:6])
        if wrong and (2 * len(wrong) > len(literals) or _is_other_kind(literals, kind)):
            message = f"{where} has enumeration {user.type!r}, which is no {kind}"
            self._found.add(user.element, "enum", message, cure=f"use an EnumType with {listed}")
            return
        for text, val in wrong.items():
            message = f"EnumType {user.type!r} has {val.get('ord', '')} {text!r}, {kind} has not"
            right = standard.get(_ordinal(val))
            cure = f"write {right!r}" if right is not None else f"{kind} is {listed}"
            self._found.add(val, "enum", message, cure=cure)


def _ordinal(val: etree._Element) -> int:
    text = val.get("ord", "")
    return int(text) if _INTEGER.fullmatch(text) else _NO_ORDINAL


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
    for child in element.iterdescendants(NS + "DAI"):
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
        if doc.is_dangling(ln_type, path[0]):
            return
        message = f"DAI {'.'.join(path)!r}: LNodeType {ln_type!r} has no such attribute"
        found.add(dai, "instance", message, cure="name an attribute of the type, or remove the DAI")
    elif (value := value_of(dai)) is not None:
        _check_value(doc, attribute[0], dai, value, found)


def _check_value(doc: Document, attr: Attr, place: etree._Element, value: str, found: Findings) -> None:
    expected = _expected(doc, attr, value)
    if expected:
        message = f"{attr.name} has value {value!r}"
        found.add(place, "value", message, cure=f"write {expected}")


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
    is_text = btype.startswith(("VisString", "Unicode"))
    limit = number(btype.lstrip(string.ascii_letters)) if is_text else None
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
        severity = Severity.WARNING if value else Severity.ERROR  # that of another release or standard
        found.add(place, "ld-ns", message, cure=f"write {LD_NAMESPACE}", severity=severity)
