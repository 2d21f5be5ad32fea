"""Text from births, made fit for XML and for IEC 61850 strings. Births are hostile: anything may come.

IEC 61850-7-2 knows VisibleString (ASCII 32–126) and Unicode255 (UTF-8). Characters that XML 1.0
forbids, control characters and lone surrogates go; runs of white space become one space.

>>> visible("Çiğdem Sokağı\\x00 7", 255)
'Cigdem Sokag? 7'
>>> unicode("Çiğdem Sokağı\\x00 7", 255)
'Çiğdem Sokağı 7'
"""

from __future__ import annotations

import unicodedata
from base64 import b32encode
from collections.abc import Iterable
from hashlib import blake2b
from html import escape as _escape

_DROPPED = frozenset({"Cc", "Cs", "Cn", "Co"})
"""Unicode categories that never reach a file: controls, surrogates, unassigned, private use."""


def _clean(text: str) -> str:
    kept = (char for char in text if char.isspace() or unicodedata.category(char) not in _DROPPED)
    return " ".join("".join(kept).split())


def visible(text: str, limit: int) -> str:
    """``text`` as a VisibleString of at most ``limit`` characters; what has no ASCII form becomes '?'."""
    folded = unicodedata.normalize("NFKD", _clean(text))
    plain = (char if " " <= char <= "~" else "?" for char in folded if not unicodedata.combining(char))
    return " ".join("".join(plain).split())[:limit].strip()  # some signs fold to a space


def unicode(text: str, limit: int) -> str:
    """``text`` as a Unicode string of at most ``limit`` bytes of UTF-8."""
    return _clean(text).encode()[:limit].decode(errors="ignore").strip()


def escape(text: str) -> str:
    """``text`` as XML character data or attribute value."""
    return _escape(text, quote=True)


def digest(pairs: Iterable[tuple[str, str]]) -> str:
    """Eight letters and digits that stand for ``pairs``."""
    written = "\0".join(f"{name}={text}" for name, text in pairs)
    return b32encode(blake2b(written.encode(errors="surrogatepass"), digest_size=5).digest()).decode()
