"""Settings of the web service: keyword arguments (the CLI), then ``METER61850_WEB_*``.

>>> WebSettings(host="0.0.0.0")  # doctest: +IGNORE_EXCEPTION_DETAIL
Traceback (most recent call last):
pydantic_core._pydantic_core.ValidationError: 1 validation error for WebSettings
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bridge.credit.settings import CreditSettings
from broker.calendar import CalendarSettings
from broker.mqtt.settings import MqttSettings, Port
from web.serving.addresses import Network

_ROOT = re.compile(r"(/[0-9A-Za-z._~-]+)+")


class WebSettings(BaseSettings):
    """Addresses, files and limits of the web service."""

    model_config = SettingsConfigDict(env_prefix="METER61850_WEB_", extra="forbid", frozen=True)

    mqtt: MqttSettings = Field(default_factory=MqttSettings)
    calendar: CalendarSettings = Field(default_factory=CalendarSettings)
    credit: CreditSettings = Field(default_factory=CreditSettings)
    database_url: str = "sqlite:///data/meter61850.sqlite"
    """``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/NAME``; read only, except for the audit and
    dead letters that are retried or purged."""
    host: str = "127.0.0.1"
    """IP address to listen on. Any other than loopback needs a certificate, or ``behind_proxy``."""
    port: Port = 8061
    """TCP port."""
    users: Path = Path("data/web-users.json")
    """Accounts with their scrypt hashes; mode 0600."""
    spool: Path | None = None
    """Entries of the audit wait in this file while the database is locked or away; default:
    ``web-audit.sqlite`` beside the accounts."""
    certificate: Path | None = None
    """PEM file with the server's certificate chain: HTTPS."""
    key: Path | None = None
    """PEM file with its private key."""
    behind_proxy: bool = False
    """A reverse proxy ends TLS: cookies are Secure, and headers of the ``proxies`` are used."""
    proxies: str = "127.0.0.1, ::1"
    """Addresses or networks of the reverse proxies, with commas; X-Forwarded-* of others is ignored."""
    root_path: str = ""
    """Path at which the reverse proxy publishes the service, such as /meters; it may remove it or not."""
    names: str = ""
    """Host names of the service, separated by commas; others are refused. On loopback they are known."""
    session_hours: Annotated[float, Field(gt=0, le=24 * 30)] = 12.0
    """Hours after which a login ends."""
    stale_intervals: Annotated[float, Field(ge=1, le=1000)] = 3.0
    """Reading intervals without a reading after which a meter is stale, as in MMS."""
    stream_clients: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Live streams at the same time; a further one receives 503."""
    streams_per_account: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Live streams of one account."""
    connections_per_address: Annotated[int, Field(ge=1, le=100_000)] = 250
    """Connections of one IPv4 address, or of one /64 of IPv6; the proxies have no such limit."""
    commands_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 120
    """Relay commands of one account in any minute, as `relay open --all` sends; further ones receive 429."""
    thesis: bool = False
    """Accept meters that use plain HTTP (POST /SmartMeter, POST /Readings/{id})."""
    thesis_meters: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Maximum number of these meters."""
    thesis_interval: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """Seconds between their readings, as in the thesis's script; after three intervals they are offline."""

    @model_validator(mode="after")
    def _strangers_need_tls(self) -> WebSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: name both or none")
        if not (self.loopback or self.secure):
            raise ValueError(
                f"host={self.host} would send passwords in clear text over the network: name a certificate "
                "and its key, or set behind_proxy if a reverse proxy ends TLS, or listen on 127.0.0.1"
            )
        return self

    @field_validator("root_path")
    @classmethod
    def _root_is_a_path(cls, root: str) -> str:
        root = root.rstrip("/")
        if root and not _ROOT.fullmatch(root):
            raise ValueError(
                f"root_path {root[:64]!r}: a path such as /meters, of letters, digits and . _ ~ -"
            )
        return root

    @field_validator("proxies")
    @classmethod
    def _proxies_are_networks(cls, proxies: str) -> str:
        _networks(proxies)
        return proxies

    @property
    def believed(self) -> tuple[Network, ...]:
        """The networks of the proxies in front of us; none without ``behind_proxy``."""
        return _networks(self.proxies) if self.behind_proxy else ()

    @property
    def loopback(self) -> bool:
        """True when only programs on this machine can reach us."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    @property
    def secure(self) -> bool:
        """Whether browsers reach us over TLS."""
        return self.certificate is not None or self.behind_proxy

    @property
    def allowed_names(self) -> frozenset[str] | None:
        """Host names that a request may have; None: any name (no ``names``, not on loopback)."""
        told = {name.strip().lower() for name in self.names.split(",") if name.strip()}
        if told or self.loopback:
            return frozenset(told | {"127.0.0.1", "localhost", "[::1]", self.host})
        return None

    @property
    def spool_file(self) -> Path:
        """Where events wait for the audit."""
        return self.spool or self.users.with_name("web-audit.sqlite")

    @property
    def url(self) -> str:
        """What a browser on this machine opens."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/"


def _networks(told: str) -> tuple[Network, ...]:
    """ValueError names what is no address and no network."""
    words = [word for part in told.split(",") if (word := part.strip())]
    return tuple(ipaddress.ip_network(word) for word in words)
