"""What is retained of those who are there: the status of meters and services, and which SCD is current.

>>> Status.model_validate_json('{"online":true,"session":"a1","ts":"2026-11-23T12:00:00Z"}').online
True
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from broker.contract.messages import Message, Text, Timestamp, Token


class Status(Message):
    """Online or not; also the meter's last will (``online`` false). Retained."""

    online: bool
    session: Token
    ts: Timestamp
    """When the status was written; in a last will the time of the connect."""
    outbox: Annotated[int, Field(ge=0)] = 0
    """Readings that wait in the meter's outbox for ``stored``."""
    dropped: Annotated[int, Field(ge=0)] = 0
    """Readings that a full outbox has dropped since it was created."""
    repeated: bool | None = None
    """True: the bridge repeats what a broker has lost, for a meter that may be away; no sign of life."""


class Revision(Message):
    """Which SCD is current. Retained, published after the SCD and the CIDs."""

    revision: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """Of the SCD's bytes."""
    meters: Annotated[int, Field(ge=0)]
    ieds: Annotated[int, Field(ge=0)]
    ts: Timestamp


class ServiceStatus(Message):
    """A service is there, and what it has counted; also its last will. Retained."""

    online: bool
    version: Text
    session: Token
    ts: Timestamp
    counters: dict[str, int] = Field(default_factory=dict)
    warnings: tuple[Text, ...] = ()
    """What somebody should look at, one line each: the registrar's are certificates that end soon, those of
    the bridge a wrong topology file and IEDs without an address."""
    audit_head: Text | None = None
    """The bridge's: NO:HASH of the last row of the audit, to be remembered outside of the database."""
