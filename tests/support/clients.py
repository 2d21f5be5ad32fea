"""Independent MMS clients with one interface: open61850 (Python), iec61850 (Rust) and libiec61850's own (C).

>>> with CLIENTS["open61850"](port) as client:  # doctest: +SKIP
...     client.read("SMGW001M17/MMXN1.Vol", "MX")
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec

from tests.support.iec61850_client import libiec61850
from tests.support.open61850_client import open61850
from tests.support.scada import Client, Told

CLIENTS: dict[str, Callable[[int], AbstractContextManager[Client]]] = {
    "open61850": open61850,
    "libiec61850": libiec61850,
}
if find_spec("iec61850") is not None:  # it has wheels for x86-64 alone
    from tests.support.rust_client import NAME, rust

    CLIENTS[NAME] = rust


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
