"""Options that several commands share, and the settings that they make.

An option overrides the environment variable of the same setting. A password is taken from the environment
only (``METER61850_MQTT_PASSWORD``), because every user of the machine can see a command line.
"""

from __future__ import annotations

import os
import pwd
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.contract.errors import ConfigurationError
from broker.durations import UNITS, duration_of
from broker.mqtt.settings import MqttSettings

DATA_DIR = Path("data")

Mqtt = Annotated[
    str | None,
    typer.Option(
        "--mqtt",
        metavar="HOST[:PORT]",
        help="Address of the broker; default: 127.0.0.1:1883.",
        show_default=False,
    ),
]
Prefix = Annotated[str | None, typer.Option(help="Prefix of all topics; default: sm/v1.", show_default=False)]
MqttVersion = Annotated[
    int | None,
    typer.Option(
        min=4, max=5, show_default=False, help="MQTT protocol level: 5, or 4 (3.1.1) for an older broker."
    ),
]
Database = Annotated[
    str,
    typer.Option(
        envvar="METER61850_DATABASE_URL",
        metavar="URL",
        help="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME.",
    ),
]
DATABASE = f"sqlite:///{DATA_DIR}/meter61850.sqlite"
MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=1, max=65535, show_default=False, help="Serve /metrics (Prometheus) and /healthz on this port."
    ),
]
MetricsAddress = Annotated[
    str, typer.Option(metavar="IP", help="Local address of the metrics; 0.0.0.0 in a container.")
]
METRICS_ADDRESS = "127.0.0.1"
Keep = Annotated[
    str | None,
    typer.Option(
        envvar="METER61850_KEEP",
        metavar="TIME",
        show_default=False,
        help="Delete readings older than this, such as 400d; roll-ups stay. Default: never.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Meter = Annotated[
    str, typer.Argument(metavar="METER", help="meter_id, SM_ name, or a name that only one meter has.")
]


DeploymentDir = Annotated[
    Path, typer.Option("--dir", envvar="METER61850_DIR", metavar="DIR", help="The deployment.")
]


class BrokerKind(StrEnum):
    """Which broker to start."""

    AUTO = "auto"
    MOSQUITTO = "mosquitto"
    EMBEDDED = "embedded"


def mqtt_settings(mqtt: str | None, prefix: str | None, version: int | None = None) -> MqttSettings:
    """The broker's address and login; ConfigurationError names what is wrong."""
    given: dict[str, Any] = {}
    if mqtt is not None:
        host, colon, port = mqtt.rpartition(":") if not mqtt.endswith("]") else (mqtt, "", "")
        given["host"] = (host if colon else mqtt).strip("[]") or "127.0.0.1"
        if colon:
            given["port"] = port
    given |= {"prefix": prefix} if prefix is not None else {}
    given |= {"version": version} if version is not None else {}
    return MqttSettings(**given)


def since(text: str) -> datetime:
    """``90s``, ``15m``, ``24h``, ``7d`` ago, or an ISO 8601 time (default: UTC)."""
    number, unit = text[:-1], text[-1:]
    try:
        if unit in UNITS and number:
            return datetime.now(UTC) - timedelta(**{UNITS[unit]: float(number)})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"--since {text!r}: use 15m, 24h, 7d, or a time such as 2026-11-23T12:00"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def duration(text: str, *, option: str) -> timedelta:
    """``90s``, ``15m``, ``24h`` or ``7d``; ConfigurationError names ``option``."""
    length = duration_of(text)
    if length is None:
        raise ConfigurationError(f"{option} {text!r}: use 30m, 24h or 7d")
    return length


def enrolment_place(broker: str, default: int) -> tuple[str, int]:
    """Host and port of the listener for enrolment; ConfigurationError names a bad port."""
    host, _, port = broker.partition(":") if broker.count(":") == 1 else (broker.strip("[]"), "", "")
    if port and not (port.isdecimal() and 0 < int(port) < 65536):
        raise ConfigurationError(f"--broker: {port!r} is no port")
    return host, int(port) if port else default


def user_name() -> str:
    """The operating system's user, at most 64 octets (orIdent): the issuer of a command."""
    user = os.getuid()
    name = os.environ.get("SUDO_USER") if user == 0 else None
    if name is None:
        try:
            name = pwd.getpwuid(user).pw_name
        except KeyError:  # a container's user without an entry
            name = f"uid {user}"
    return name.encode()[:64].decode(errors="ignore")


def make_folder(database: str) -> None:
    """Make the folder of a SQLite file, so that the first start needs no preparation."""
    file = database.removeprefix("sqlite:///")
    if file != database:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
