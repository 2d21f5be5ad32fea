"""Checks SCL files (IEC 61850-6): the 2007B4 schema, and what no schema sees.

A file is judged by its own edition (`scl_builder.check.edition`), and findings are errors, warnings and
hints.

References, mandatory objects and attributes, enumerations, control models, data sets, report blocks,
Services, Communication. Any bytes may come: what is no XML, or carries a document type definition (and so
may hold entity bombs or read other files), is a finding and never an error.

>>> for finding in check(b"<SCL"):
...     print(finding.rule, finding.line)
xml 1
"""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from scl_builder.check.document import NS, Document
from scl_builder.check.edition import edition_of
from scl_builder.check.rules_control import check_control
from scl_builder.check.rules_names import check_names
from scl_builder.check.rules_reports import check_reports
from scl_builder.check.rules_structure import check_structure, check_version
from scl_builder.check.rules_system import check_system
from scl_builder.check.rules_types import check_types
from scl_builder.check.rules_values import check_values
from scl_builder.check.schema import check_schema
from scl_builder.read.findings import Finding, Findings, Severity, as_written, one_line, tag
from scl_builder.read.prolog import element_lines
from scl_builder.read.scl_xml import NoXmlError, Tree, read

__all__ = ["Finding", "Severity", "check"]

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
    """All findings of an SCL file, by line; empty if there is none."""
    try:
        tree = read(xml)
    except NoXmlError as error:
        return [error.finding]
    root = tree.root
    if root.tag != NS + "SCL":
        cure = f'begin with <SCL xmlns="{NS[1:-1]}" …>'
        return [Finding(root.sourceline or 0, "version", one_line(f"root element is {root.tag!r}"), cure)]
    edition = edition_of(dict(_texts(root)))
    found = Findings(edition.judged if edition else as_written)
    doc = Document(root)
    check_version(root, edition, found)
    for rule in RULES:
        rule(doc, found)
    _check_vendors(tree, found)
    check_schema(root, found)
    return _with_lines(found, tree, xml)


def _texts(element: etree._Element) -> Iterator[tuple[str, str]]:
    return ((str(name), str(value)) for name, value in element.attrib.items())


def _check_vendors(tree: Tree, found: Findings) -> None:
    for element, parent in tree.misplaced:
        name = f"{element.prefix}:{tag(element)}" if element.prefix else tag(element)
        message = f"{name} of another name space comes late in {parent}"
        cure = f"put it first in {parent}, or into a Private: tools that validate reject the file"
        found.add(element, "vendor", message, cure=cure, severity=Severity.WARNING)


def _with_lines(found: Findings, tree: Tree, xml: bytes) -> list[Finding]:
    """The findings, each at the line where its element's tag begins."""
    if not found.elements:
        return found.sorted(lambda element: element.sourceline or 0)
    pairs = zip(tree.elements(), element_lines(xml), strict=False)
    lines = {element: line for element, line in pairs if element in found.elements}
    return found.sorted(lambda element: lines.get(element, element.sourceline or 0))
