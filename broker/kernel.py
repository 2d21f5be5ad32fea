"""What the kernel tells of this machine's clock: whether NTP (or PTP) keeps it, adjtimex(2).

>>> isinstance(clock_synchronized(), bool)
True
"""

from __future__ import annotations

import ctypes

_TIME_ERROR = 5
"""``<sys/timex.h>``: the clock is not synchronized."""
_TIMEX_BYTES = 512
"""More than ``struct timex`` has on any platform (208 on 64 bit); all zero means: only ask."""


def clock_synchronized() -> bool:
    """Whether the kernel's clock is kept by NTP; False where the kernel cannot tell, or may not be asked."""
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return False
    state: int = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return 0 <= state < _TIME_ERROR
