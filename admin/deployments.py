"""A command with a deployment takes settings and identity from its folder.

>>> enter_deployment(Path("/var/lib/meter61850"), "bridge")  # doctest: +SKIP
"""

from __future__ import annotations

import os
from pathlib import Path

from admin.options import DATA_DIR
from broker.environment import ENV, check_whole, read
from broker.mqtt.identity import check_secret
from broker.no_deployment import UP_LOCK, no_deployment

DIR = "METER61850_DIR"
"""Environment variable: the deployment's folder; empty: there is none, whatever is in ``./data``."""
IDENTITY = "METER61850_MQTT_IDENTITY"
ALONE = frozenset({"init", "up", "meter"})
"""Groups that make a deployment, or run where there is none."""
SERVICES = {
    "bridge": "bridge",
    "mms": "mms",
    "enrol": "registrar",
    "web": "web",
    "homeassistant": "homeassistant",
    "sparkplug": "sparkplug",
    "credit": "credit",
}
"""Group of commands → identity; all others are the administrator's."""


def enter_deployment(folder: Path | None, group: str) -> None:
    """Put the deployment's settings into our environment, below what is there already.

    ``folder`` None: ``./data``, if it is one and :data:`DIR` is not empty. ConfigurationError if a named one
    is none, or open to others, or its settings are gone or cut short.
    """
    if group in ALONE or (folder is None and os.environ.get(DIR) == ""):
        return
    check_whole(folder or DATA_DIR)
    if folder is None and not (DATA_DIR / ENV).exists():
        if (
            (wanted := os.environ.get(IDENTITY))
            and not Path(wanted).exists()
            and (DATA_DIR / UP_LOCK).exists()
        ):
            raise no_deployment(DATA_DIR)
        return
    folder = (folder or DATA_DIR).absolute()
    if not (folder / ENV).exists():
        raise no_deployment(folder)
    check_secret(folder / ENV)  # it may hold the database's password
    told = read(folder / ENV)  # first: half a file changes nothing
    os.environ[DIR] = str(folder)
    for key, value in told.items():
        os.environ.setdefault(key, value)
    identity = folder / "identities" / SERVICES.get(group, "admin")
    if identity.exists():
        os.environ.setdefault(IDENTITY, str(identity))
