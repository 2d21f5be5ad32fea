"""Any JSON document of ours as XML: one element for each member, one ``item`` for each entry of a list.

A member without value is left out; characters that XML 1.0 does not allow become U+FFFD.

>>> xml_document("meter", {"name": "House <7>", "on": True}).decode().partition("\\n")[2]
'<meter><name>House &lt;7&gt;</name><on>true</on></meter>'
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

_NAME = re.compile(r"[A-Za-z_][0-9A-Za-z_.-]*")
_IMPOSSIBLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_document(root: str, data: Any) -> bytes:
    """The document; ``root`` is the name of its only outermost element."""
    text = "".join(_element(root, data))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def _element(name: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    tag = name if _NAME.fullmatch(name) else "member"
    yield f"<{tag}>" if tag == name else f"<{tag} name={quoteattr(_possible(name))}>"
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _element(str(key), inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _element("item", inner)
    else:
        yield escape(_possible(_text(value)))
    yield f"</{tag}>"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _possible(text: str) -> str:
    return _IMPOSSIBLE.sub("\ufffd", text)
