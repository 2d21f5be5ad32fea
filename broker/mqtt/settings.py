"""How a program of ours reaches the broker: shared by every service's settings.

Values come from keyword arguments (the CLI), then from the environment (``METER61850_MQTT_HOST``
and so on). An unknown key or an impossible value refuses to start, naming the key.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from broker.contract.topics import Topics
from broker.mqtt import keypair
from broker.mqtt.identity import CERTIFICATE, KEY, IdentityFolder, client_context, unguessable


def as_number(value: object) -> object:
    """The number that an environment variable's text is; Literal takes no text."""
    return int(value) if isinstance(value, str) and value.isdigit() else value


Port = Annotated[int, Field(ge=1, le=65535)]

NO_DELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
"""For a client's socket: Nagle's timer and the other end's would hold each answer back for up to 40 ms."""


class MqttSettings(BaseSettings):
    """The broker's address and our login."""

    model_config = SettingsConfigDict(env_prefix="METER61850_MQTT_", extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    """Name or address of the broker."""
    port: Port = 1883
    """Its port; in a deployment 8883."""
    username: str | None = None
    """For a broker with a password file, or with a token."""
    password: SecretStr | None = None
    """Its password or token."""
    prefix: str = "sm/v1"
    """Prefix of all topics."""
    version: Annotated[Literal[4, 5], BeforeValidator(as_number)] = 5
    """MQTT protocol level: 5, or 4 (3.1.1) for an older broker, such as amqtt."""
    keepalive: Annotated[int, Field(ge=1, le=3600)] = 15
    """Seconds; a peer that is silent for 1.5 times this counts as disconnected."""
    identity: Path | None = None
    """Identity folder (docs/security.md); it supplies every setting here that is not set."""
    ca: Path | None = None
    """PEM file of the authorities of the broker's certificate; turns TLS on."""
    cert: Path | None = None
    """Our certificate, PEM."""
    key: Path | None = None
    """Its private key, PEM, mode 0600."""

    @model_validator(mode="before")
    @classmethod
    def _identity_gives_the_rest(cls, told: Any) -> Any:
        folder = told.get("identity") if isinstance(told, dict) else None
        if not folder:
            return told
        keypair.settle(Path(folder) / KEY, Path(folder) / CERTIFICATE)
        given = {key: value for key, value in told.items() if value is not None}
        return IdentityFolder.load(Path(folder)).settings() | given

    @model_validator(mode="after")
    def _credentials_are_of_use(self) -> MqttSettings:
        if self.cert is not None and (self.ca is None or self.key is None):
            raise ValueError("cert needs ca and key beside it")
        self.tls()
        return self

    @field_validator("prefix")
    @classmethod
    def _prefix_is_words(cls, prefix: str) -> str:
        Topics(prefix)
        return prefix

    def tls(self) -> ssl.SSLContext | None:
        """For a new connection; None without TLS. CredentialError names a file that is of no use."""
        return None if self.ca is None else client_context(self.ca, self.cert, self._usable_key)

    @property
    def _usable_key(self) -> Path | None:
        if self.key is None or self.cert is None:
            return self.key
        return keypair.usable(self.key, self.cert)

    def own(self, name: str) -> str:
        """``name`` as only who has our key can say it; as it is without a key.

        Mosquitto disconnects a client when another connects with the same client id, and gives a share of a
        group's messages to every subscriber of its name, even to one that may not read them.
        """
        key = self._usable_key
        return name if key is None else unguessable(name, key)

    @property
    def topics(self) -> Topics:
        """The contract's topics below our prefix."""
        return Topics(self.prefix)
