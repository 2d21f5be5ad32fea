"""Settings of the MMS bridge: keyword arguments (the CLI), then ``METER61850_MMS_*``."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from broker.host_clock import ClockSettings
from broker.mqtt import keypair
from broker.mqtt.identity import CIPHERS
from broker.mqtt.settings import MqttSettings, Port
from mms_bridge.ied_filter import IedSelection, selection
from scl_builder.model.logical_devices import OPERATE_TIMEOUT


class Right(StrEnum):
    """What a client may do."""

    OBSERVE = "observe"
    """Read, enable reports, make data sets for its own association."""
    CONTROL = "control"
    """All that, and operate."""


class TlsFiles(NamedTuple):
    """PEM files."""

    cert: Path
    key: Path
    ca: Path
    crl: Path | None
    more: tuple[tuple[Path, Path], ...] = ()
    """Further certificates with their keys, of other kinds (RSA beside ECDSA)."""

    @property
    def pairs(self) -> tuple[tuple[Path, Path], ...]:
        """Every certificate and its key."""
        return (self.cert, self.key), *self.more


def _by_comma(value: object) -> object:
    """The items of a list that is written with commas."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def _paths(value: object) -> object:
    """One file, or several that are written with commas."""
    listed = _by_comma(str(value) if isinstance(value, Path) else value)
    return () if listed is None else listed


EACH = "ied"
"""As a local address: that of each IED, as in its CID."""


class MmsSettings(BaseSettings):
    """What the MMS bridge needs; where it listens stands in each CID's Communication section."""

    model_config = SettingsConfigDict(env_prefix="METER61850_MMS_", extra="forbid", frozen=True)

    mqtt: MqttSettings = Field(default_factory=MqttSettings)
    clock: ClockSettings = Field(default_factory=ClockSettings)
    metrics_port: Port | None = None
    """Port for /metrics and /healthz; default: they are not served."""
    metrics_address: str = "127.0.0.1"
    """Local address for them; 0.0.0.0 in a container."""
    bind: str | None = None
    """Local address to listen on for TLS; default: the IP of the CID, which is ``ied``."""
    tls_cert: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_paths)] = ()
    """The server's certificate and chain, PEM; or two with a comma, ECDSA and RSA, so that clients of both
    kinds are served. TLS needs this, ``tls_key``, ``tls_ca`` and ``clients``."""
    tls_key: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_paths)] = ()
    """The private key of each certificate, in the same order, PEM, mode 0600: the bridge does not start if
    others can read it."""
    tls_ca: Path | None = None
    """The CAs that issue clients' certificates, PEM."""
    tls_crl: Path | None = None
    """Revocation lists, PEM, a current one of each of these CAs; read again when the file changes."""
    tls_ciphers: str = CIPHERS
    """Cipher list for TLS 1.2, in OpenSSL's format."""
    clients: Path | None = None
    """TOML file of the clients and their rights (docs/scada.md); read again when it changes."""
    allow: Annotated[tuple[IPv4Network, ...], NoDecode, BeforeValidator(_by_comma)] = ()
    """Addresses and networks that may connect, such as 10.0.0.5,10.1.0.0/24; default: all."""
    plain: bool = True
    """Also serve the plain port; false: TLS only, on the CID's TLS port or its only port."""
    plain_bind: str | None = None
    """Local address of the plain port, or ``ied``: the IP of the CID. Default: loopback. This port has no
    login and no encryption."""
    plain_rights: Right | None = None
    """Rights on the plain port: observe or control; default: control from loopback, else observe."""
    associations_per_address: Annotated[int, Field(ge=0)] = 20
    """Associations of one client address, plus two for each served IED."""
    ieds: Annotated[IedSelection, BeforeValidator(selection)] | None = None
    """Serve only these IEDs, such as SMGW001-SMGW100,SMGW150, so that several processes can share a town."""
    drain_seconds: Annotated[float, Field(ge=1)] | None = None
    """Seconds for which an association may keep a replaced configuration; default: no limit."""
    tick: Annotated[float, Field(ge=0.01, le=1.0)] = 0.1
    """Seconds between periodic tasks (integrity reports, select timeouts)."""
    control_tick: Annotated[float, Field(ge=0.005, le=1.0)] = 0.01
    """The same while a command is running."""
    operate_limit: Annotated[float, Field(gt=0, le=60)] = OPERATE_TIMEOUT / 1000
    """Seconds for the meter's action and answer if the CID has no operTimeout (normal security). The bridge
    writes the same setting into the SCD as operTimeout; that value has priority."""
    stale_intervals: Annotated[float, Field(ge=1, le=1000)] = 3.0
    """Reading intervals without a reading after which the values are questionable."""

    begin_at_once: bool = True
    """Make each IED's server soon after its CID, so that it buffers events before a client comes; false: with
    the first client, so that an IED without clients costs a tenth of the memory."""
    wait_hook: bool = True
    """Take libiec61850's waits out of our calls, if its file is one that was tested; false: slower."""

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        needed = {"tls_cert": self.tls_cert, "tls_key": self.tls_key, "tls_ca": self.tls_ca,
                  "clients": self.clients}  # fmt: skip
        missing = [name for name, file in needed.items() if not file]
        if missing and (len(missing) < len(needed) or self.tls_crl is not None):
            raise ValueError(f"MMS over TLS needs {', '.join(missing)} too (METER61850_MMS_…)")
        if missing and not self.plain:
            raise ValueError("plain is false and TLS is not set up: nothing would be served")
        if len(self.tls_cert) != len(self.tls_key):
            counts = f"{len(self.tls_cert)} certificates, {len(self.tls_key)} keys"
            raise ValueError(f"tls_cert and tls_key have {counts}: give each certificate its key")
        return self

    @property
    def tls_files(self) -> TlsFiles | None:
        """The PEM files; None without TLS."""
        if not self.tls_cert or not self.tls_key or self.tls_ca is None:
            return None
        for cert, key in zip(self.tls_cert, self.tls_key, strict=True):
            keypair.settle(key, cert)
        (cert, key), *more = (
            (cert, keypair.usable(key, cert)) for cert, key in zip(self.tls_cert, self.tls_key, strict=True)
        )
        return TlsFiles(cert, key, self.tls_ca, self.tls_crl, tuple(more))

    @property
    def service(self) -> str:
        """Name of the service whose status we publish."""
        return "mms" if self.ieds is None else f"mms_{self.ieds.first}"
