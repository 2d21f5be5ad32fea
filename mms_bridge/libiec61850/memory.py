"""This process's memory as one buffer, and where in the library's values a time and a float stand.

To write a float into a MmsValue costs 70 ns this way and 300 ns by a call through ``ctypes``; a reading is
seven values and seven times. The library tells where the octets of a time are (``MmsValue_getUtcTimeBuffer``
of mms_value.h); those of a float, which it keeps in the machine's own format, are looked for in one of its
values, and believed if what is written there is what the library then reads. On a build that holds them
elsewhere ``FLOAT_AT`` is None, and floats are written by the library's own function.

>>> put_float(MEMORY, value + FLOAT_AT, 230.4)  # doctest: +SKIP
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from struct import Struct

from mms_bridge.libiec61850.bindings import lib

MEMORY = memoryview((ctypes.c_ubyte * (1 << 62)).from_address(0)).cast("B")
"""Indexed by address. As with every pointer: an address that is not ours ends the process."""

_FLOAT = Struct("=f")
_TIME = Struct("8s")
_SIZE = 16
"""Octets in which a float is looked for: no MmsValue is smaller."""

put_float = _FLOAT.pack_into
"""(MEMORY, address, float): OverflowError if it is no FLOAT32."""
put_time = _TIME.pack_into
"""(MEMORY, address, 8 octets of a UtcTime)."""

_stamp = lib.MmsValue_newUtcTimeByMsTime(0)
_stamp_at = int(lib.MmsValue_getUtcTimeBuffer(_stamp))


def _float_at() -> int | None:
    """Where in a MmsValue its float stands; None if it is not found."""
    value = lib.MmsValue_newFloat(230.4)
    try:
        at: int = ctypes.string_at(value, _SIZE).find(_FLOAT.pack(230.4))
        if at < 0:
            return None
        put_float(MEMORY, value + at, -49.5)
        return at if lib.MmsValue_toFloat(value) == -49.5 else None
    finally:
        lib.MmsValue_delete(value)


TIME_AT: int = _stamp_at - _stamp
FLOAT_AT = _float_at()


@lru_cache(maxsize=4)  # a reading has one time, for seven values
def utc_time(t_ms: int, quality: int) -> bytes:
    """The octets of a UtcTime (IEC 61850-8-1, 8.1.3.6), made by the library; ms since 1970, time quality."""
    lib.MmsValue_setUtcTimeMsEx(_stamp, t_ms, quality)
    return bytes(MEMORY[_stamp_at : _stamp_at + 8])
