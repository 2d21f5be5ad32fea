"""Calls of the kernel that Python has no function for: the state of the clock, the end of the parent.

Beside ``mms_bridge/libiec61850/`` the only place that uses ``ctypes``.

>>> isinstance(clock_synchronized(), bool)
True
"""

from __future__ import annotations

import ctypes
import signal
import sys
import time
from pathlib import Path

_LIBC = ctypes.CDLL(None)
"""Loaded at import: between fork and exec it must not be looked for."""
_PR_SET_PDEATHSIG = 1
"""``<sys/prctl.h>``."""
_TIME_ERROR = 5
"""``<sys/timex.h>``: the clock is not synchronized."""
_TIMEX_BYTES = 512
"""More than ``struct timex`` has on any platform (208 on 64 bit); all zero means: only ask."""


def clock_synchronized() -> bool:
    """Whether the kernel's clock is kept by NTP; False where the kernel cannot tell, or may not be asked."""
    adjtimex = getattr(_LIBC, "adjtimex", None)
    if adjtimex is None:
        return False
    state: int = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return 0 <= state < _TIME_ERROR


def end_with_parent() -> None:
    """Have the kernel send this process SIGTERM when its parent ends; only Linux can do this.

    It may be called between fork and exec.
    """
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM))


def uptime_ms() -> int:
    """Milliseconds since this machine was started, sleep included: a clock that nobody sets."""
    clock: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # only Linux has the former
    return time.clock_gettime_ns(clock) // 1_000_000


def boot_id() -> str:
    """Names this start of the machine: :func:`uptime_ms` of another one says nothing. Empty if not known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
