"""The clock of the machine that the gateway runs on, and whether it is kept.

>>> Clock(ClockSettings(clock_synchronized=False), changed=print).now().synchronized
False
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from broker.host_clock import ClockSettings
from mms_bridge.datamodel import moment
from mms_bridge.datamodel.moment import Moment

log = logging.getLogger(__name__)


class Clock:
    """Tells the time, and when the kernel changes its mind about it."""

    def __init__(self, settings: ClockSettings, *, changed: Callable[[], None]) -> None:
        self._settings = settings
        self._changed = changed
        self._kept = settings.kept()

    def now(self) -> Moment:
        """The present time, with the quality that the last look found."""
        return moment.now(synchronized=self._kept)

    def look(self) -> None:
        """Ask the kernel again; ``changed`` is called if its answer is another one."""
        kept = self._settings.kept()
        if kept != self._kept:
            self._kept = kept
            log.warning("the clock of this machine is %s", "synchronized" if kept else "not synchronized")
            self._changed()
