"""The 2007B4 schema of IEC 61850-6, as the package scl_loader ships it; its errors with a cure.

What a rule of ours has told already is not told again: our rules know the cure, the schema only the place.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import as_file, files
from itertools import islice

from lxml import etree

from scl_builder.read.findings import Findings, Severity, tag

# fmt: off
_CURES = {
    "SCHEMAV_ELEMENT_CONTENT": "keep the order and nesting of IEC 61850-6: put here what is expected",
    "SCHEMAV_CVC_COMPLEX_TYPE_4": "add the attribute",
    "SCHEMAV_CVC_COMPLEX_TYPE_3_2_2": "remove the attribute, or write it as IEC 61850-6 spells it",
    "SCHEMAV_CVC_IDC": "make the name unique, or point it at something that exists",
    "SCHEMAV_CVC_AU": "write the value that 2007B4 fixes",
    "SCHEMAV_CVC_PATTERN_VALID": "write a value that fits the pattern",
    "SCHEMAV_CVC_MAXLENGTH_VALID": "shorten the value",
    "SCHEMAV_CVC_DATATYPE_VALID_1_2_3": "write a value of this type",
    "SCHEMAV_CVC_ENUMERATION_VALID": "write one of the values that the schema lists",
}
# fmt: on
VERSION = {"version": "2007", "revision": "B", "release": "4"}
"""What the schema fixes."""
_OTHER_CURE = "write what the 2007B4 schema allows here"
_IGNORED = re.compile(
    "No precomputed value available|Not all fields of key"
    "|keyref 'ref2(LNodeTypeLLN0|LNodeTypeDomain2|DOType|DOTypeForSDO|EnumTypeDAType|DataSet[A-Za-z0]*)'"
)
"""Messages that only follow from another error, and references that our rules look up themselves."""
_MAX_ERRORS = 1000

_NAMESPACED = re.compile(r"\{http://www\.iec\.ch/61850/2003/SCL\}")
_ELEMENT = re.compile(r"Element '([^']+)'")
_VENDOR_ATTRIBUTE = re.compile(r"attribute '(\{[^']*)' is not allowed")
_VALUE = re.compile(r"(?:value '|key-sequence \['|': ')([^']*)'")


@lru_cache(maxsize=1)
def load_schema() -> etree.XMLSchema:
    """The 2007B4 schema, loaded once."""
    with as_file(files("scl_loader") / "resources" / "SCL_Schema") as folder:
        return etree.XMLSchema(etree.parse(folder / "SCL.xsd"))


def check_schema(root: etree._Element, found: Findings) -> None:
    """Add the schema's errors that are not told yet; the first thousand are looked at.

    The schema fixes the version attributes of its own release: rules_structure judges those, and ``root`` has
    the fixed ones afterwards.
    """
    schema = load_schema()
    root.attrib.update(VERSION)
    if schema.validate(root):
        return
    for count, error in enumerate(schema.error_log):
        if count == _MAX_ERRORS:
            found.add_schema(0, f"more than {_MAX_ERRORS} schema errors", "cure the others first")
            return
        _add(root, error, found)


def _add(root: etree._Element, error: etree._LogEntry, found: Findings) -> None:
    message = _NAMESPACED.sub("", error.message)
    if _IGNORED.search(message):
        return
    place = _place(root, error)
    name, value = _ELEMENT.search(message), _VALUE.search(message)
    if found.is_told(error.line if place is None else place, name[1] if name else ""):
        return
    if value and found.is_value_told(value[1]):
        return
    is_content = error.type_name == "SCHEMAV_ELEMENT_CONTENT"
    if is_content and place is not None and found.is_content_told(place):
        return
    if place is not None and (vendor := _VENDOR_ATTRIBUTE.search(message)):
        message = f"attribute {vendor[1]} of another name space stands in {name[1] if name else 'an element'}"
        cure = "remove it: IEC 61850-6 has no room for it there, and tools that validate reject the file"
        found.add(place, "vendor", message, cure=cure, severity=Severity.WARNING)
        return
    cure = _CURES.get(error.type_name, _OTHER_CURE)
    found.add_schema(error.line if place is None else place, message, cure)


def _place(root: etree._Element, error: etree._LogEntry) -> etree._Element | None:
    """The element that an error means; identity constraints do not tell theirs.

    libxml2 writes its path with the prefixes of the file, which XPath would have to be given: a step is the
    element's name as written, or ``*`` for any, and its number among the siblings of that name.
    """
    if not error.path:
        return None
    element = root
    for step in error.path.strip("/").split("/")[1:]:
        if step.startswith("@"):
            break
        name, _, number = step.removesuffix("]").partition("[")
        alike = (child for child in element.iterchildren("*") if name in ("*", _written(child)))
        found = next(islice(alike, int(number or 1) - 1, None), None)
        if found is None:
            return None
        element = found
    return element


def _written(element: etree._Element) -> str:
    """The element's name with its prefix."""
    return f"{element.prefix}:{tag(element)}" if element.prefix else tag(element)
