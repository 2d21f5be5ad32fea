"""How fast the library lets us be: for how long reports are gathered, and the limits of a server.

>>> pace()  # doctest: +SKIP
(0.002, Limits(associations=5))
"""

from __future__ import annotations

import logging

from mms_bridge.libiec61850.bindings import lib, library_path
from mms_bridge.libiec61850.mms_server import Limits
from mms_bridge.libiec61850.wait_hook import unblock

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.002
"""For which reports are gathered: readings that arrive together leave together."""
BLOCKED_GATHER_SECONDS = 0.02
"""The same where the library waits for up to 1 ms at each sending (``unblocked.py`` found no way)."""


def pace() -> tuple[float, Limits]:
    """For how long to gather reports, and the servers' limits: what the library lets us do."""
    if unblock(lib, library_path()):
        return GATHER_SECONDS, Limits()
    log.warning("libiec61850 at %s waits at each call: reports are slower", library_path())
    return BLOCKED_GATHER_SECONDS, Limits(associations=1)
