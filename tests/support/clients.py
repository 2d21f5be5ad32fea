"""Two independent MMS clients behind one face: open61850 (pure Python) and libiec61850's own.

>>> with CLIENTS["open61850"](port) as client:  # doctest: +SKIP
...     client.read("SM_…/MMXN1.Vol", "MX")
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from tests.support.iec61850_client import libiec61850
from tests.support.open61850_client import open61850
from tests.support.scada import Client, Told

CLIENTS: dict[str, Callable[[int], AbstractContextManager[Client]]] = {
    "open61850": open61850,
    "libiec61850": libiec61850,
}


def collect(client: Client, count: int, *, seconds: float = 60.0) -> list[Told]:
    """The next reports, as soon as there are so many, or when none has come for ``seconds``."""
    told: list[Told] = []
    latest = time.monotonic()
    while len(told) < count and time.monotonic() - latest < seconds:
        if new := client.reports():
            told += new
            latest = time.monotonic()
        time.sleep(0.01)
    return told
