"""Checks SCL files (IEC 61850-6 Ed 2.1): the 2007B4 schema, and what no schema sees.

References, mandatory objects and attributes, enumerations, control models, data sets, report blocks,
Services, Communication. Any bytes may come: what is no XML, or carries a document type definition (and so
may hold entity bombs or read other files), is a finding and never an error.

>>> for finding in check(b"<SCL"):
...     print(finding.rule, finding.line)
xml 1
"""

from __future__ import annotations

from lxml import etree

from scl_builder.document import NS, Document
from scl_builder.findings import Finding, Findings
from scl_builder.prolog import element_lines, fault, no_xml
from scl_builder.rules_control import check_control
from scl_builder.rules_names import check_names
from scl_builder.rules_reports import check_reports
from scl_builder.rules_structure import check_structure
from scl_builder.rules_system import check_system
from scl_builder.rules_types import check_types
from scl_builder.rules_values import check_values
from scl_builder.schema import check_schema

__all__ = ["Finding", "check"]

RULES = (
    check_structure,
    check_names,
    check_reports,
    check_types,
    check_values,
    check_control,
    check_system,
)


def check(xml: bytes) -> list[Finding]:
    """All faults of an SCL file, by line; empty if there is none."""
    if prolog := fault(xml):
        return [prolog]
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)
    try:
        root = etree.fromstring(xml, parser)
    except etree.XMLSyntaxError as error:
        return [no_xml(error.lineno or 0, error.msg or "syntax error")]
    if root.tag != NS + "SCL":
        cure = f'begin with <SCL xmlns="{NS[1:-1]}" …>'
        return [Finding(root.sourceline or 0, "version", f"root element is {root.tag!r}", cure)]
    found = Findings()
    doc = Document(root)
    for rule in RULES:
        rule(doc, found)
    check_schema(root, found)
    return _with_lines(found, root, xml)


def _with_lines(found: Findings, root: etree._Element, xml: bytes) -> list[Finding]:
    """The findings, each at the line where its element's tag begins."""
    if not found.elements:
        return found.sorted(lambda element: element.sourceline or 0)
    pairs = zip(root.iter("*"), element_lines(xml), strict=False)
    lines = {element: line for element, line in pairs if element in found.elements}
    return found.sorted(lambda element: lines.get(element, element.sourceline or 0))
