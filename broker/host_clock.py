"""Whether this machine's clock is right: the kernel's answer, or that of who set it up.

``METER61850_CLOCK_SYNCHRONIZED`` overrules the kernel, for a machine that keeps its time by other means.

>>> ClockSettings(clock_synchronized=True).kept(), kept(False)
(True, False)
"""

from __future__ import annotations

import logging
from functools import lru_cache

from pydantic_settings import BaseSettings, SettingsConfigDict

from broker.kernel import clock_synchronized

log = logging.getLogger(__name__)


def kept(told: bool | None) -> bool:
    """Whether the clock is right now: what somebody has ``told``, else the kernel's answer."""
    return clock_synchronized() if told is None else told


class ClockSettings(BaseSettings):
    """What is known of the clock without the kernel."""

    model_config = SettingsConfigDict(env_prefix="METER61850_", extra="forbid", frozen=True)

    clock_synchronized: bool | None = None
    """Whether this machine's clock is right; default: the kernel's answer whether NTP keeps it."""

    def kept(self) -> bool:
        """Whether the clock is right now."""
        return kept(self.clock_synchronized)


@lru_cache(maxsize=64)
def warn_unless_kept(made: str) -> None:
    """Log, once for each kind of thing that is ``made``, that its times may be wrong."""
    if not ClockSettings().kept():
        log.warning(
            "NTP does not keep the clock of this machine: check that the time is right, because %s made now "
            "begin and end by it; METER61850_CLOCK_SYNCHRONIZED=true says that it is right (told once)",
            made,
        )
