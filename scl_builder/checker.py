"""Checks SCL files (IEC 61850-6 Ed 2.1): the 2007B4 schema, then what no schema sees.

References, mandatory objects and attributes, enumerations, control models, data sets, report blocks,
Services, Communication. Any bytes may come: what is no XML, or carries a document type definition (and so
may hold entity bombs or read other files), is a finding and never an error.

>>> for finding in check(b"<SCL"):
...     print(finding.rule, finding.line)
xml 1
"""

from __future__ import annotations

from xml.parsers import expat

from lxml import etree

from scl_builder.document import NS, Document
from scl_builder.findings import Finding, Findings
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
_CHUNK = 65_536


def check(xml: bytes) -> list[Finding]:
    """All faults of an SCL file, by line; empty if there is none."""
    prolog = _prolog_fault(xml)
    if prolog:
        return [prolog]
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)
    try:
        root = etree.fromstring(xml, parser)
    except etree.XMLSyntaxError as error:
        return [_no_xml(error.lineno or 0, error.msg or "syntax error")]
    if root.tag != NS + "SCL":
        cure = f'begin with <SCL xmlns="{NS[1:-1]}" …>'
        return [Finding(root.sourceline or 0, "version", f"root element is {root.tag!r}", cure)]
    found = Findings()
    doc = Document(root)
    for rule in RULES:
        rule(doc, found)
    check_schema(root, found)
    return found.sorted()


def _no_xml(line: int, reason: str) -> Finding:
    return Finding(line, "xml", f"no well-formed XML: {reason}", "save the file as XML 1.0, UTF-8")


class _RootReachedError(Exception):
    """The prolog is over."""


class _DoctypeError(Exception):
    """The prolog has a document type definition."""


def _prolog_fault(xml: bytes) -> Finding | None:
    """What forbids to parse ``xml``: emptiness, or a document type definition before the root."""
    if not xml.strip():
        return _no_xml(0, "the file is empty")
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = _end_prolog
    try:
        for start in range(0, len(xml), _CHUNK):
            parser.Parse(xml[start : start + _CHUNK], False)
    except _DoctypeError:
        cure = "remove the document type definition: SCL has none, and it can hide entities"
        return Finding(parser.CurrentLineNumber, "xml", "the file has a DOCTYPE", cure)
    except _RootReachedError:
        return None
    except expat.ExpatError as error:
        return _no_xml(error.lineno, expat.ErrorString(error.code) or str(error))
    return _no_xml(parser.CurrentLineNumber, "no element found")


def _refuse_doctype(*_: object) -> None:
    raise _DoctypeError


def _end_prolog(*_: object) -> None:
    raise _RootReachedError
