"""An IED's first server is made soon after its CID, one IED after the other: from then on it buffers events.

A server takes 25 ms of the event loop, so the IEDs of a town begin one by one beside the messages. One that
joins a town whose servers run begins at once: it waits only for those that have not begun.

>>> Beginnings(asyncio.get_running_loop()).later("SMGW001", print)  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

SPACING = 0.1
"""Seconds between two beginnings: a quarter of the event loop's time at most."""


class Beginnings:
    """The servers that are to be made; one for all IEDs."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._last = 0.0
        """Loop time of the last one that is planned."""

    def later(self, name: str, begin: Callable[[], object]) -> None:
        """Call ``begin`` of this IED when it is its turn; an error is logged: a client tries again."""

        def now() -> None:
            try:
                begin()
            except Exception as error:  # noqa: BLE001 - one IED must not cost the others theirs
                log.error("%s: no server, so it buffers nothing until a client comes: %s", name, error)

        self._last = max(self._last, self._loop.time()) + SPACING
        self._loop.call_at(self._last, now)
