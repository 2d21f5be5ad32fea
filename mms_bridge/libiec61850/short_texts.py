"""Texts in the library's values, in no more memory than they take.

The library gives every VisString255 a buffer of 256 octets when it makes a server, whatever stands in it, and
a longer one when a longer text comes: the ten texts of a meter's name plates take 3 kB. Once they are there
(only a new CID changes them) the buffers are cut.

It rests on where a MmsValue has the pointer to its buffer and the buffer's size (mms_value_internal.h). Both
are looked for in one of the library's values, and believed if the library then reads and replaces the text
as before; else texts keep their buffers.

>>> shorten(value)  # doctest: +SKIP
"""

from __future__ import annotations

import ctypes
from struct import Struct
from typing import NamedTuple

from mms_bridge.libiec61850.bindings import lib
from mms_bridge.libiec61850.memory import MEMORY

_POINTER, _SIZE = Struct("=Q"), Struct("=h")
_LONGEST = 255
_SEARCHED = 21
"""Octets of a MmsValue."""


class _Places(NamedTuple):
    buffer: int
    size: int


def shorten(value: int) -> None:
    """Cut the buffer of a VisString255 or Unicode255 to its text."""
    if _PLACES is not None:
        _shorten(value, _PLACES)


def _shorten(value: int, places: _Places) -> None:
    (buffer,) = _POINTER.unpack_from(MEMORY, value + places.buffer)
    length = len(ctypes.string_at(buffer))
    shorter = lib.Memory_realloc(buffer, length + 1)
    if shorter:
        _POINTER.pack_into(MEMORY, value + places.buffer, shorter)
        _SIZE.pack_into(MEMORY, value + places.size, length)


def text(value: int) -> bytes:
    """What stands in it."""
    return ctypes.string_at(lib.MmsValue_toString(value))


def _places() -> _Places | None:
    value = lib.MmsValue_newVisibleStringWithSize(_LONGEST)
    try:
        lib.MmsValue_setVisibleString(value, b"short")
        octets = ctypes.string_at(value, _SEARCHED)
        buffer = octets.find(_POINTER.pack(lib.MmsValue_toString(value)))
        size = buffer + _POINTER.size
        if buffer < 0 or octets[size : size + _SIZE.size] != _SIZE.pack(_LONGEST):
            return None
        places = _Places(buffer, size)
        _shorten(value, places)
        read = text(value)
        lib.MmsValue_setVisibleString(value, b"a longer text")
        return places if (read, text(value)) == (b"short", b"a longer text") else None
    finally:
        lib.MmsValue_delete(value)


_PLACES = _places()
