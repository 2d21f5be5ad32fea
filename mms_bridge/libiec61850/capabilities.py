"""How fast the library lets us be: for how long reports are gathered, and the limits of a server.

>>> capabilities(wait_hook=True)  # doctest: +SKIP
Capabilities(wait_hook=True, gather_seconds=0.002, limits=Limits(associations=5))
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from mms_bridge.libiec61850 import wait_hook as hook
from mms_bridge.libiec61850.bindings import lib, library_path
from mms_bridge.libiec61850.mms_server import Limits

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.002
"""For which reports are gathered: readings that arrive together leave together."""
WAITING_GATHER_SECONDS = 0.02
"""The same where the library waits for up to 1 ms at each sending."""


@dataclass(frozen=True)
class Capabilities:
    """What the library lets us do in this process."""

    wait_hook: bool
    """The library does not wait in our calls (``wait_hook.py``)."""
    gather_seconds: float
    limits: Limits


def capabilities(*, wait_hook: bool) -> Capabilities:
    """Install the wait hook if it is wanted and possible, else log why it is off."""
    if wait_hook:
        reason = hook.install(lib, library_path())
    else:
        hook.remove()
        reason = "METER61850_MMS_WAIT_HOOK is false"
    if not reason:
        return Capabilities(True, GATHER_SECONDS, Limits())
    log.warning("the wait hook is off, so reports and reads are slower: %s: %s", library_path(), reason)
    return Capabilities(False, WAITING_GATHER_SECONDS, Limits(associations=1))
