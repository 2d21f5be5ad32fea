"""``python -m tests.support.bridge_process SETTINGS``: the bridge with these settings, which are JSON.

With ``TEST_CLOCK=FILE`` in its environment its clock is ahead by as many seconds as the file says.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path

import bridge.store.audit
import bridge.store.upkeep
from bridge.run import run
from bridge.settings import BridgeSettings

CLOCK = "TEST_CLOCK"
_time_ns = time.time_ns


def ahead(offset: Path) -> int:
    """The time of that clock."""
    return _time_ns() + int(offset.read_text() or 0) * 10**9  # empty while the test writes it


if __name__ == "__main__":
    if CLOCK in os.environ:
        wrong = Path(os.environ[CLOCK])
        bridge.store.audit.time_ns = bridge.store.upkeep.time_ns = lambda: ahead(wrong)  # type: ignore[attr-defined]
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    run(BridgeSettings.model_validate_json(sys.argv[1]))
