"""Why a folder is no deployment, and what makes it one.

>>> str(no_deployment(Path("/nowhere")))
'/nowhere is no deployment: meter61850 init /nowhere makes one'
"""

from __future__ import annotations

from pathlib import Path

from broker.contract.errors import ConfigurationError

UP_LOCK = "up.lock"
"""What `meter61850 up` leaves in its folder."""


def no_deployment(folder: Path) -> ConfigurationError:
    """The error for ``folder``; one that `up` has used without identities needs Mosquitto, not `init`."""
    if not (folder / UP_LOCK).exists():
        return ConfigurationError(f"{folder} is no deployment: meter61850 init {folder} makes one")
    return ConfigurationError(
        f"{folder} is of `meter61850 up` without identities (embedded broker, or --plain), where anyone on "
        "this machine may do everything. For identities and enrolment stop it, install Mosquitto "
        "(apt-get install mosquitto), and start it again without --broker embedded and --plain"
    )
