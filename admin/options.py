"""Options that several commands share, and the settings that they make.

An option overrides the environment variable of the same setting. A password is taken from the environment
only (``METER61850_MQTT_PASSWORD``), because every user of the machine can see a command line.
"""

from __future__ import annotations

import os
import pwd
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from admin.lazy import load
from broker.contract.errors import ConfigurationError
from broker.durations import duration_of
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


def metrics_option(envvar: str | None = None) -> Any:
    """``--metrics-port``, which may also come from the environment."""
    told = "Serve /metrics (Prometheus) and /healthz on this port."
    return typer.Option(envvar=envvar, min=1, max=65535, show_default=False, help=told)


def metrics_address_option(envvar: str | None = None) -> Any:
    """``--metrics-address``, which may also come from the environment."""
    told = "Local address of the metrics; 0.0.0.0 in a container."
    return typer.Option(envvar=envvar, metavar="IP", help=told)


MetricsPort = Annotated[int | None, metrics_option()]
MetricsAddress = Annotated[str, metrics_address_option()]
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


def meter_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """For the shell; imported only when it asks."""
    completion = load("admin.completion")
    found: list[str] = completion.meter_names(ctx, incomplete, usual=DATABASE, data_dir=DATA_DIR)
    return found


Meter = Annotated[
    str,
    typer.Argument(
        metavar="METER",
        help="meter_id, SMGW001M17, or a name that only one meter has.",
        autocompletion=meter_names,
    ),
]


DeploymentDir = Annotated[
    Path, typer.Option("--dir", envvar="METER61850_DIR", metavar="DIR", help="The deployment.")
]


class BrokerKind(StrEnum):
    """Which broker to start."""

    AUTO = "auto"
    MOSQUITTO = "mosquitto"
    EMBEDDED = "embedded"


def metrics_place(port: int | None, address: str) -> tuple[str, int] | None:
    """Where to serve metrics; None without a port."""
    return (address, port) if port else None


def broker_address(text: str) -> dict[str, str]:
    """``HOST[:PORT]`` as settings of a broker; an IPv6 address with a port is in brackets.

    >>> broker_address("plant.local:8883"), broker_address("[2001:db8::1]")
    ({'host': 'plant.local', 'port': '8883'}, {'host': '2001:db8::1'})
    """
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    told = {"host": (host if colon else text).strip("[]") or "127.0.0.1"}
    return told | ({"port": port} if colon else {})


def mqtt_settings(mqtt: str | None, prefix: str | None, version: int | None = None) -> MqttSettings:
    """The broker's address and login; ConfigurationError names what is wrong."""
    given: dict[str, Any] = dict(broker_address(mqtt)) if mqtt is not None else {}
    given |= {"prefix": prefix} if prefix is not None else {}
    given |= {"version": version} if version is not None else {}
    return MqttSettings(**given)


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
