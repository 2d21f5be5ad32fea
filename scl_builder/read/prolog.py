"""What is looked at in a file's bytes before and beside the tree: its prolog, and the lines of its tags.

libxml2 forgets line numbers above 65,535 and counts to the end of a start tag; expat counts exactly.

>>> fault("<!DOCTYPE a><a/>".encode()).rule
'xml'
>>> element_lines(b"<a>\\n<b\\n/><c/></a>")
[1, 2, 3]
"""

from __future__ import annotations

from xml.parsers import expat

from scl_builder.read.findings import Finding, one_line

_CHUNK = 65_536


class _RootReachedError(Exception):
    """The prolog is over."""


class _DoctypeError(Exception):
    """The prolog has a document type definition."""


def no_xml(line: int, reason: str) -> Finding:
    """The finding for what is no XML."""
    return Finding(line, "xml", f"no well-formed XML: {one_line(reason)}", "save the file as XML 1.0, UTF-8")


def fault(xml: bytes) -> Finding | None:
    """What forbids to parse ``xml``: emptiness, or a document type definition before the root."""
    if not xml.strip():
        return no_xml(0, "the file is empty")
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
    except (expat.ExpatError, LookupError, ValueError) as error:
        return no_xml(parser.ErrorLineNumber, str(error))
    return no_xml(parser.CurrentLineNumber, "no element found")


def element_lines(xml: bytes) -> list[int]:
    """Line of each start tag, in document order; those before the first error only."""
    lines: list[int] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda *_: lines.append(parser.CurrentLineNumber)
    try:
        parser.Parse(xml, True)
    except (expat.ExpatError, LookupError, ValueError):
        return lines
    return lines


def _refuse_doctype(*_: object) -> None:
    raise _DoctypeError


def _end_prolog(*_: object) -> None:
    raise _RootReachedError
