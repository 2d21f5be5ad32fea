"""Which text a message may carry, and what stands for anything else: one rule for all who read or write one.

Control characters (C0, DEL, C1), line and paragraph separators, controls of writing direction, halves of a
surrogate pair and noncharacters are no text: a database refuses some of them, others write a second line into
a log, or hide what stands before them.

>>> visible("House\\x1b 7"), identifier("desk 4"), identifier("\\n\\x00\\x00\\x05")
('House\\ufffd 7', 'desk 4', '0x0A000005')
"""

from __future__ import annotations

import re

MAX_IDENTIFIER = 64
"""Characters of an identifier that is text, octets of one that is not: orIdent of 7-3 is no longer."""
MAX_HEX = 2 + 2 * MAX_IDENTIFIER
"""Characters of the longest identifier: one that is no text, in hex."""

_NO_TEXT = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff\\ufdd0-\\ufdef"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
    + "]"
)
_HEX = re.compile(f"0x([0-9A-F]{{2}}){{1,{MAX_IDENTIFIER}}}")


def is_text(text: str) -> bool:
    """Whether every character of ``text`` is text."""
    return _NO_TEXT.search(text) is None


def visible(text: str) -> str:
    """``text`` without white space around it, and U+FFFD in the place of each character that is no text."""
    return _NO_TEXT.sub("\ufffd", text.strip())


def identifier(told: str | bytes) -> str:
    """``told`` as it is, if it is text; otherwise ``0x`` and its octets in hex, the first 64.

    Raises:
        ValueError: it is empty, or text of more than 64 characters.
    """
    try:
        text = told.decode() if isinstance(told, bytes) else told
    except UnicodeDecodeError:
        text = "\0"
    if not text:
        raise ValueError("an identifier has at least 1 character")
    if len(text) > MAX_IDENTIFIER and not _HEX.fullmatch(text):
        raise ValueError(f"an identifier has at most {MAX_IDENTIFIER} characters")
    if is_text(text):
        return text
    octets = told if isinstance(told, bytes) else told.encode(errors="surrogatepass")
    return "0x" + octets[:MAX_IDENTIFIER].hex().upper()
