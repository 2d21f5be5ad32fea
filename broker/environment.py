"""The settings file of a deployment, ``meter61850.env``: what it must hold, so that half a file is none.

Without ``METER61850_BROKER_SECURITY``, say, Mosquitto would be started without TLS and without rights.

>>> read(Path("/var/lib/meter61850/meter61850.env"))["METER61850_MQTT_PREFIX"]  # doctest: +SKIP
'sm/v1'
"""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from broker.contract.errors import ConfigurationError

ENV = "meter61850.env"
ESSENTIAL = (
    "METER61850_BROKER_HOSTS",
    "METER61850_BROKER_BIND",
    "METER61850_BROKER_PORT",
    "METER61850_BROKER_PASSWORD_PORT",
    "METER61850_SERVICES_HOST",
    "METER61850_BROKER_SERVICES_BIND",
    "METER61850_BROKER_SERVICES_PORT",
    "METER61850_BROKER_SECURITY",
    "METER61850_MQTT_PREFIX",
    "METER61850_DATA_DIR",
    "METER61850_DATABASE_URL",
)
"""In the file, or in the environment."""
PARTS = ("register.sqlite", "ca/ca.key", "security/acl")
"""A folder with one of these is a deployment, or was one."""


def read(file: Path) -> dict[str, str]:
    """The settings in ``file``; ConfigurationError if it is missing, empty or cut short."""
    try:
        told = StringIO(file.read_text(encoding="utf-8-sig"))
        found = {key: value or "" for key, value in dotenv_values(stream=told).items()}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read ({error}): {RESTORE}") from error
    missing = [key for key in ESSENTIAL if not (found.get(key) or os.environ.get(key))]
    if missing:
        raise ConfigurationError(f"{file} is empty or cut short, {missing[0]} is not in it: {RESTORE}")
    return found


RESTORE = f"restore {ENV} from a copy; init with the same options writes the same file, in another folder"


def check_whole(folder: Path) -> None:
    """ConfigurationError if ``folder`` was a deployment, and its settings are gone."""
    if _is_there(folder / ENV):
        return
    left = [name for name in PARTS if _is_there(folder / name)]
    if left:
        raise ConfigurationError(f"{folder} holds {left[0]} but no {ENV}: {RESTORE}")


def _is_there(path: Path) -> bool:
    """Whether ``path`` is there, or may be: a service may not look into ``ca``."""
    try:
        return path.exists()
    except PermissionError:
        return True
