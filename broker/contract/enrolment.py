"""Payloads of enrolment and credentials: how a meter becomes one of ours, and whether it still is.

No message holds a secret: a private key or a password is made by the meter and stays there; what travels is a
signing request (PKCS #10, RFC 2986), or the password's hash as Mosquitto keeps it.

>>> Access.model_validate_json('{"allowed":false,"reason":"stolen","ts":"2026-11-25T12:00:00Z"}').allowed
False
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from broker.contract.birth import Hardware
from broker.contract.messages import Message, Text, Timestamp, legible_json, utc_now, whole

MAX_PEM = 8192
MAX_BYTES = 8 * MAX_PEM
"""Of a payload with certificates."""


MeterId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Pem = Annotated[str, StringConstraints(max_length=MAX_PEM)]
Authorities = Annotated[str, StringConstraints(max_length=4 * MAX_PEM)]
PasswordHash = Annotated[
    str,
    StringConstraints(pattern=r"^\$7\$(10[1-9]|1[1-9]\d|[2-9]\d\d)\$[A-Za-z0-9+/]{16}\$[A-Za-z0-9+/]{86}==$"),
]
"""PBKDF2 with SHA-512, 101 to 999 iterations, 12 octets of salt: `$7$101$SALT$HASH`, both in Base64."""
Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Ask(Message):
    """A new meter asks to be let in, for its one key or password."""

    MAX_BYTES: ClassVar[int] = MAX_BYTES

    meter_id: MeterId
    hardware: Hardware
    """A meter_id belongs to one serial for ever, and a serial to one meter_id."""
    name: Text = ""
    owner: Text = ""
    address: Text = ""
    address_code: Text = ""
    firmware: Text = ""
    csr: Pem | None = None
    """Signing request in PEM; only its key counts: the certificate's name will be the meter_id."""
    password: PasswordHash | None = None
    """Instead of it, from a meter that cannot keep a certificate: the hash of the password it has made."""
    ts: Timestamp

    @model_validator(mode="after")
    def _one_credential(self) -> Ask:
        if (self.csr is None) == (self.password is None):
            raise ValueError("csr: exactly one of csr and password")
        return self

    @property
    def question(self) -> str:
        """SHA-256 of what is asked for, in hex: an answer names it."""
        return hashlib.sha256((self.csr or self.password or "").encode()).hexdigest()


class Verdict(StrEnum):
    """What became of it."""

    PENDING = "pending"
    GRANTED = "granted"
    REFUSED = "refused"


class Answer(Message):
    """What became of an :class:`Ask`. Retained while the meter may come back for it."""

    MAX_BYTES: ClassVar[int] = MAX_BYTES

    meter_id: MeterId
    """Who has asked here: the slot is no other meter's any more."""
    question: Fingerprint
    """Of the Ask: an answer to another one is none for us."""
    verdict: Verdict
    reason: Text = ""
    certificate: Pem | None = None
    """PEM; with verdict ``granted``, for the key of the signing request."""
    authorities: Authorities = ""
    """PEM certificates that the broker's certificate may come from."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Where the broker takes the new credential, on the same host."""
    ts: Timestamp


class Access(Message):
    """Whether a meter may connect. Absent: it may. Retained.

    A meter that is shut out is so although the reason or the time cannot be read: without a time, as of now.
    """

    allowed: bool
    reason: Text = ""
    ts: Timestamp

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """As of any message, or that the meter is shut out; ValidationError when that cannot be read."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError:
            told = legible_json(whole(json_data)) if len(json_data) <= cls.MAX_BYTES else {}
            if told.get("allowed") is not False:
                raise
            with suppress(ValidationError):
                return cls.model_validate({"allowed": False, "ts": told.get("ts")})
            return cls(allowed=False, ts=utc_now())


class Renewal(Message):
    """A meter asks for a new certificate, over its own connection, or says that it uses the one it got."""

    MAX_BYTES: ClassVar[int] = MAX_BYTES

    csr: Pem | None = None
    """Signing request in PEM, for a new key."""
    using: Fingerprint | None = None
    """SHA-256 of the certificate of this connection: the meter's older ones may be revoked."""
    ts: Timestamp


class Credential(Message):
    """What the registrar has for a meter: authorities, a new certificate. Retained until it is used."""

    MAX_BYTES: ClassVar[int] = MAX_BYTES

    authorities: Authorities
    """PEM certificates that the broker's certificate may come from, from now on."""
    certificate: Pem | None = None
    """PEM, for the key of the last Renewal."""
    renew: bool = False
    """The meter shall ask for a new certificate now, whatever is left of its own."""
    ts: Timestamp
