"""The one rule for raw text on a terminal, in a log or in a JSON document: only printable characters.

Not printable are control characters (C0, DEL and C1: escape sequences), marks that change the direction of
text, marks without width, line separators, and lone surrogates. Hostile names and files contain them.

>>> plain("House\\x1b[2J \\u202e7"), escaped('"\\x9b1m"'), plain("Käthe")
('House�[2J �7', '"\\\\u009b1m"', 'Käthe')
"""

from __future__ import annotations

import json
import re

_REPLACEMENT = "�"
_NOT_ASCII = re.compile(r"[^ -~]+")


def plain(text: str, *, keep: str = "") -> str:
    """``text`` with a replacement character for each that is not printable, but for those of ``keep``."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in keep else _REPLACEMENT for sign in text)


def escaped(document: str) -> str:
    """A JSON text with what is not printable as JSON escapes; it means the same."""
    if document.isprintable():
        return document
    return _NOT_ASCII.sub(_escape, document)


def _escape(found: re.Match[str]) -> str:
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in found[0])
