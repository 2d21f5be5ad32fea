"""How fast the library lets us be: whether it waits in our calls, and for how long reports are gathered.

>>> wait_hook_installed(wanted=True)
True
"""

from __future__ import annotations

import logging

from mms_bridge.libiec61850 import wait_hook
from mms_bridge.libiec61850.bindings import lib, library_path

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.002
"""For which reports are gathered: readings that arrive together leave together."""
WAITING_GATHER_SECONDS = 0.1
"""The same where the library waits at each sending: up to 1 ms, and 10 ms for each association."""


def wait_hook_installed(*, wanted: bool) -> bool:
    """Install or remove the wait hook in this process; if it is off, the log says why."""
    if wanted:
        reason = wait_hook.install(lib, library_path())
    else:
        wait_hook.remove()
        reason = "METER61850_MMS_WAIT_HOOK is false"
    if reason:
        log.warning("the wait hook is off, so reports and reads are slower: %s: %s", library_path(), reason)
    return not reason


def gather_seconds(*, wait_hook: bool) -> float:
    """For how long reports are gathered."""
    return GATHER_SECONDS if wait_hook else WAITING_GATHER_SECONDS
