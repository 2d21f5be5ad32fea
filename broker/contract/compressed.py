"""An SCL document as the payload of a message: XML while it is small, its xz form beyond.

The limit on packets holds for everyone who may connect, so the largest document decides how much memory a
stolen identity can take of the broker. The SCD of 10,000 meters has 9 MB, and 0.4 MB as xz.

>>> unpacked(packed(b"<SCL/>"))
b'<SCL/>'
"""

from __future__ import annotations

import lzma

from broker.contract.errors import ContractError

PLAIN_BYTES = 256 * 1024
"""A document up to this size is published as it is."""
MAX_DOCUMENT = 256 * 1024 * 1024
"""Bytes. A payload that becomes more is not of ours."""
_MAX_MEMORY = 64 * 1024 * 1024
_MAGIC = b"\xfd7zXZ\0"
_PRESET = 1
"""The fastest; its window of 1 MiB finds what gzip's of 32 KiB does not: 36 octets a meter instead of 64."""


def packed(document: bytes) -> bytes:
    """The payload for ``document``; the same document gives the same octets."""
    return document if len(document) <= PLAIN_BYTES else lzma.compress(document, preset=_PRESET)


def unpacked(payload: bytes) -> bytes:
    """The document in ``payload``; ContractError for an xz form that is broken or has no end."""
    if not payload.startswith(_MAGIC):
        return payload
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_MEMORY)
    try:
        document = decompressor.decompress(payload, max_length=MAX_DOCUMENT)
    except lzma.LZMAError as error:
        raise ContractError(f"an SCL document of {len(payload)} bytes is no xz: {error}") from error
    if not decompressor.eof or decompressor.unused_data:
        raise ContractError(
            f"an SCL document of {len(payload)} bytes is cut off, has something behind its end, "
            f"or becomes more than {MAX_DOCUMENT} bytes"
        )
    return document
