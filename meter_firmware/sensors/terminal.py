"""A pseudo-terminal, on which simulated meters speak.

>>> async with terminal() as (master, name):  # doctest: +SKIP
...     os.write(master, b"what the meter sends")
"""

from __future__ import annotations

import os
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def terminal() -> AsyncIterator[tuple[int, str]]:
    """The meter's end, which does not block, and the name of ours."""
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    try:
        yield master, os.ttyname(slave)
    finally:
        os.close(master)
        os.close(slave)
