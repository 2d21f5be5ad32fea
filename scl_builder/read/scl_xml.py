"""Reads the XML of an SCL file for every reader of ours: the tree has what is SCL's, and nothing else.

IEC 61850-6 allows comments, processing instructions, elements and attributes of other name spaces, and
anything at all in Private. They mean nothing to us, and so are taken out here, once: no reader can trip over
them. The prefix of SCL's own name space is free.

>>> read(b'<s:SCL xmlns:s="http://www.iec.ch/61850/2003/SCL"><!-- x --><v:a xmlns:v="v"/></s:SCL>').root[:]
[]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from scl_builder.read.findings import Finding, tag
from scl_builder.read.prolog import fault, no_xml

NS = "{http://www.iec.ch/61850/2003/SCL}"

_IS_OTHER = f"namespace-uri() != '' and namespace-uri() != '{NS[1:-1]}'"
_find_other = etree.XPath(f"//*[{_IS_OTHER}]")
_find_private = etree.XPath("//s:Private", namespaces={"s": NS[1:-1]})


class NoXmlError(ValueError):
    """No XML that can be read; ``finding`` says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


@dataclass(frozen=True)
class Tree:
    """A file's elements."""

    root: etree._Element
    written: list[etree._Element] | None
    """All elements of the file in its order, if some were taken out."""
    misplaced: list[tuple[etree._Element, str]]
    """Elements of other name spaces behind those of SCL, and the names of their parents."""

    def elements(self) -> Iterator[etree._Element]:
        """Every element of the file, in its order."""
        return iter(self.written) if self.written is not None else self.root.iter("*")


def read(xml: bytes) -> Tree:
    """The SCL file ``xml``; NoXmlError if it is no XML, or has a document type definition.

    The root may be anything.
    """
    if prolog := fault(xml):
        raise NoXmlError(prolog)
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=True,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(xml, parser)
    except etree.XMLSyntaxError as error:
        raise NoXmlError(no_xml(error.lineno or 0, error.msg or "syntax error")) from error
    others, privates = _find_other(root), _find_private(root)
    if not others and not privates:
        return Tree(root, None, [])
    written = list(root.iter("*"))
    misplaced = list(_misplaced(others))
    for private in privates:
        private[:] = []
    for element in others:
        _take_out(element)
    return Tree(root, written, misplaced)


def _misplaced(others: list[etree._Element]) -> Iterator[tuple[etree._Element, str]]:
    """The schema has elements of other name spaces before all else in an element of SCL."""
    for parent in dict.fromkeys(element.getparent() for element in others):
        if parent is None or not _is_ours(parent):
            continue
        is_late = False
        for child in parent.iterchildren("*"):
            if _is_ours(child):
                is_late = True
            elif is_late:
                yield child, tag(parent)


def _is_ours(element: etree._Element) -> bool:
    return str(element.tag).startswith(NS)


def _take_out(element: etree._Element) -> None:
    """Remove ``element``; the text behind it stays."""
    parent, before = element.getparent(), element.getprevious()
    if parent is None:
        return
    if element.tail and before is not None:
        before.tail = (before.tail or "") + element.tail
    elif element.tail:
        parent.text = (parent.text or "") + element.tail
    parent.remove(element)
