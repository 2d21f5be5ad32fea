"""Mosquitto, the broker: finds it, writes its configuration, starts it.

The options are those of mosquitto.conf(5) for 2.0.11 (Debian 12) and newer; :data:`OPTIONS` is the
table of them, with the reason for each value. The ``mosquitto.conf`` at the top of the project is
the output of :func:`render` for the defaults: one plain listener on loopback, for a trial. With
``security`` (the folder that `meter61850 init` makes) there are three TLS listeners instead.

>>> print(render(BrokerSettings()).splitlines()[2])
listener 1883 127.0.0.1
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from broker.contract.errors import ConfigurationError, UnavailableError
from broker.daemon.security_files import SERVER_FILES, check_files
from broker.mqtt import keypair
from broker.mqtt.identity import CIPHERS
from broker.mqtt.settings import Port

SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/sbin")
"""Where packages put mosquitto; Debian's /usr/sbin is not on a user's PATH."""

MAX_PACKET = 1024 * 1024
"""Bytes. The largest message is the retained SCD: as xz 0.4 MB at 10,000 meters
(`broker.contract.compressed`)."""


class BrokerSettings(BaseSettings):
    """Where the broker listens and keeps its data."""

    model_config = SettingsConfigDict(env_prefix="METER61850_BROKER_", extra="forbid", frozen=True)

    bind: str = "127.0.0.1"
    """IP address to listen on. Any other than loopback needs ``security`` or ``password_file``."""
    port: Port = 1883
    """MQTT port; with ``security`` the port for clients with certificates, usually 8883."""
    password_port: Port = 8884
    """With ``security``: the port for enrolment and for meters with a token."""
    services_bind: str = "127.0.0.1"
    """With ``security``: the listener of our services. Its clients choose their client id."""
    services_port: Port = 8882
    """With ``security``: the port of this listener."""
    security: Path | None = None
    """Folder with ca.crt, server.crt, server.key, crl.pem, acl and passwords (`meter61850 init`)."""
    data_dir: Path = Path("/var/lib/mosquitto")
    """Folder of retained messages and sessions."""
    persistence: bool = True
    """Save them on disk."""
    autosave: Annotated[int, Field(ge=1)] = 300
    """Seconds between saves."""
    memory_limit: Annotated[int, Field(ge=64 * 1024 * 1024)] = 1024 * 1024 * 1024
    """Bytes for Mosquitto without those of TLS (50 kB for each connection); its unit has 2 GiB."""
    password_file: Path | None = None
    """Made with mosquitto_passwd(1)."""
    user: str = "mosquitto"
    """The user of the process, if root starts it."""

    @model_validator(mode="after")
    def _strangers_need_a_password(self) -> BrokerSettings:
        if not self.loopback and self.password_file is None and self.security is None:
            raise ValueError(
                f"bind={self.bind} lets anyone on the network in: make a deployment (meter61850 init DIR), "
                "set password_file (mosquitto_passwd(1)), or bind 127.0.0.1"
            )
        if self.security is not None:
            keypair.settle(self.security / "server.key", self.security / "server.crt")
            check_files(self.security)
        return self

    @property
    def loopback(self) -> bool:
        """True when only programs on this machine can reach the broker."""
        return self.bind == "localhost" or ipaddress.ip_address(self.bind).is_loopback


@dataclass(frozen=True)
class Listener:
    """One TLS listener."""

    why: str
    connections: int
    """Maximum: the broker closes further connections at once."""
    certificate: bool
    """A client certificate is required; its common name is the user name."""
    authority: str
    """Prefix of the file names of its authority."""
    bound: bool
    """The broker uses the user name as client id: no client can take over the session of another."""


LISTENERS: dict[str, Listener] = {
    "port": Listener(
        "Meters, operators and command issuers: the common name of the certificate is the identity.",
        connections=20_000,
        certificate=True,
        authority="",
        bound=True,
    ),
    "password_port": Listener(
        "Enrolment, and meters that cannot keep a certificate: user name and password.",
        connections=2_000,
        certificate=False,
        authority="",
        bound=True,
    ),
    "services_port": Listener(
        "Our services: certificates too, and several connections of one identity.",
        connections=200,
        certificate=True,
        authority="services-",
        bound=False,
    ),
}

# fmt: off
OPTIONS: tuple[tuple[str, str, str], ...] = (
    ("listener", "{port} {bind}", ""),
    ("allow_anonymous", "{anonymous}",
     "True only where the one listener is on loopback, for programs of this machine."),
    ("user", "{user}",
     "Started by root, it becomes this user, who must be able to write to the data folder."),
    ("persistence", "{persistence}",
     "Retained messages and the bridge's session outlive a restart. No reading depends on it: a meter\n"
     "keeps each reading until the bridge confirms that the database has it, and sends it again otherwise."),
    ("persistence_location", "{location}", ""),
    ("autosave_interval", "{autosave}",
     "Seconds. A save writes everything and stops the broker meanwhile (some 100 ms at 10,000 meters), so\n"
     "not often; a broker that is killed loses what came since, which every program publishes again when\n"
     "it reconnects, so not seldom. A clean stop always saves."),
    ("autosave_on_changes", "false", ""),
    ("max_inflight_messages", "10000",
     "Messages to one client that wait for its PUBACK. The bridge acknowledges after the database commit,\n"
     "in batches: with the default of 20 it would wait for each 20 readings. 10,000 is two large batches."),
    ("max_queued_messages", "100000",
     "Messages kept for one client beyond those in flight, while it is slow or away. More is dropped here,\n"
     "not lost: the meters send it again from their outboxes."),
    ("max_inflight_bytes", "8388608",
     "Bytes to one client that wait for its PUBACK, before more is queued (8 MiB): 10,000 readings have 2."),
    ("max_queued_bytes", "67108864",
     "Bytes queued for one client (64 MiB): all that is retained in a town of 10,000 meters is 32 MiB."),
    ("max_packet_size", str(MAX_PACKET),
     "Bytes of one whole message (1 MiB): lets the SCD of 10,000 meters through, which is sent compressed.\n"
     "The sender of a larger one is disconnected before the broker has taken it into memory."),
    ("memory_limit", "{memory_limit}",
     "Bytes that the broker itself may take, beside those of TLS: less than its unit's MemoryMax, so that\n"
     "it is never killed. At the limit the sender of a large message is disconnected; small ones pass."),
    ("persistent_client_expiration", "7d",
     "A client that stays away for longer is forgotten, with its queue."),
    ("set_tcp_nodelay", "true", "A relay command must not wait for Nagle's timer."),
    ("log_dest", "stderr", "For the supervisor (systemd, a container, meter61850 up) to keep."),
    ("log_type", "error", ""),
    ("log_type", "warning", ""),
    ("log_type", "notice", ""),
    ("log_type", "information", ""),
    ("log_timestamp_format", "%Y-%m-%dT%H:%M:%S%z", ""),
)
# fmt: on

_HEAD = "# Mosquitto for meter61850: `meter61850 broker config` writes this file, see mosquitto.conf(5).\n"


def render(settings: BrokerSettings) -> str:
    """The text of mosquitto.conf for ``settings``."""
    values = _values(settings)
    text = _HEAD
    for name, value, why in OPTIONS:
        if name == "listener" and settings.security is not None:
            continue
        text += "".join(f"\n# {line}" for line in why.splitlines()) if why else ""
        text += f"\n{name} {value.format_map(values)}"
    if settings.password_file is not None:
        text += f"\npassword_file {settings.password_file.absolute()}"
    return text + "\n" + _listeners(settings)


def _listeners(settings: BrokerSettings) -> str:
    """The listeners of a deployment; they come last, since what follows a listener belongs to it."""
    folder = settings.security
    if folder is None:
        return ""
    folder = folder.absolute()
    text = f"\n# Rights: written by meter61850, read again at SIGHUP.\nacl_file {folder}/acl\n"
    text += f"password_file {folder}/passwords\n"
    for name, listener in LISTENERS.items():
        bind = settings.services_bind if name == "services_port" else settings.bind
        lines = [
            f"# {listener.why}",
            f"listener {getattr(settings, name)} {bind}",
            f"max_connections {listener.connections}",
            f"cafile {folder}/{listener.authority}ca.crt",
            *(f"{option} {folder}/{file}" for option, file in SERVER_FILES.items()),
            f"tls_version tlsv1.2\nciphers {CIPHERS}",
        ]
        if listener.certificate:
            lines += [
                f"crlfile {folder}/{listener.authority}crl.pem",
                "require_certificate true",
                "use_identity_as_username true",
            ]
        if listener.bound:
            lines.append("use_username_as_clientid true")
        text += "\n" + "\n".join(lines) + "\n"
    return text


def _values(settings: BrokerSettings) -> dict[str, object]:
    return {
        "port": settings.port,
        "bind": settings.bind,
        "anonymous": "true" if settings.password_file is None and settings.security is None else "false",
        "user": settings.user,
        "persistence": "true" if settings.persistence else "false",
        "location": settings.data_dir.absolute(),
        "autosave": settings.autosave,
        "memory_limit": settings.memory_limit,
    }


def find() -> Path | None:
    """The mosquitto binary on PATH or where packages put it; None when it is not installed."""
    folders = os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS))
    found = shutil.which("mosquitto", path=folders)
    return Path(found) if found else None


def command(settings: BrokerSettings) -> list[str]:
    """Write the configuration into the data folder; the command line that starts Mosquitto with it."""
    binary = find()
    if binary is None:
        raise UnavailableError(
            "Mosquitto is not installed: apt-get install mosquitto, or use the embedded broker "
            "(--broker embedded)"
        )
    config = settings.data_dir / "mosquitto.conf"
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        config.write_text(render(settings))
    except OSError as error:
        raise ConfigurationError(
            f"data_dir {settings.data_dir}: {error.strerror}; choose a folder that you can write to"
        ) from error
    return [str(binary), "-c", str(config)]


def version(binary: Path) -> str:
    """Mosquitto's version, such as ``2.0.11``; empty when the binary does not tell."""
    # -h ends with 3 by design; its first line is "mosquitto version 2.0.11".
    try:
        done = subprocess.run([binary, "-h"], capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:  # it is a word in a report: nothing may fail for it
        return ""
    words = done.stdout.split()
    return words[2] if words[:2] == ["mosquitto", "version"] else ""
