"""A relay command before it is sent: made, and judged by what the meter last told.

DESIGN guarantee 5: a command runs at most once, in time, or not at all. What is known to be in vain is
not sent, and told to the ledger as refused. Whoever issues commands, the CLI and the web, judges here.

>>> Known("3f2504e0-4f89-41d3-9a0c-0305e82c3301").obstacle(Position.OPEN)
'no such meter'
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import ValidationError

from broker.admission import Access
from broker.fleet import NO_SESSION, Session, Told
from broker.messages import Birth, Block, Command, Message, Origin, Position, Relay, Status, utc_now
from broker.settings import MqttSettings

M = TypeVar("M", bound=Message)
STATES = ("access", "birth", "status", "relay", "block")
"""What a command depends on."""
WITHDRAWN = ("birth", "status", "reading", "relay")
"""What is cleared when a meter is taken out of service; the empty birth is what the bridge acts upon."""
VALIDITY = 5
"""Seconds in which the meter must have the command."""
GRACE = 3.0
"""Seconds more to answer and to move the relay."""
ANSWER_SECONDS = VALIDITY + GRACE


@dataclass
class Known(Told):
    """What is retained of a meter."""

    meter_id: str
    birth: Birth | None = None
    status: Status | None = None
    relay: Relay | None = None
    block: Block | None = None
    access: Access | None = None
    withdrawn: datetime | None = None
    session: Session = NO_SESSION
    relay_session: str = ""

    def __post_init__(self) -> None:
        self.begin()

    @property
    def name(self) -> str:
        """As its birth says; empty without one."""
        return self.birth.name if self.birth else ""

    def hear(self, kind: str, payload: bytes, *, live: bool) -> None:
        """One message of ``kind``, one of STATES; what does not parse is as good as none."""
        with suppress(ValidationError):
            self.take(kind, payload, live=live)

    def obstacle(self, position: Position) -> str | None:
        """Why a command to ``position`` would be in vain; None if it would not."""
        what = "opening" if position is Position.OPEN else "closing"
        relay = self.relay
        rules = (
            (self.birth is None, "no such meter"),
            (self.kept_out is not None, "the meter is blocked by the registrar"),
            (not self.online, "the meter is offline"),
            (relay is None, "the meter has not told its relay's position"),
            (relay is not None and relay.local, "the relay is switched locally"),
            (self.block is not None and self.block.forbids(position), f"{what} is blocked"),
            (relay is not None and relay.position is position, f"the relay is {position} already"),
        )
        return next((reason for stands, reason in rules if stands), None)


def parsed(model: type[M], payload: bytes | None) -> M | None:
    """The message in ``payload``; None without one, or when it is not of the contract."""
    try:
        return model.model_validate_json(payload) if payload else None
    except ValidationError:
        return None


def new_command(position: Position, origin: Origin, *, command_id: str = "") -> Command:
    """A command of now; ``command_id`` is made up unless told."""
    now = utc_now()
    return Command(
        command_id=command_id or str(uuid.uuid4()),
        position=position,
        issued_at=now,
        expires_at=now + timedelta(seconds=VALIDITY),
        origin=origin,
    )


def expiring(settings: MqttSettings, seconds: int) -> Properties | None:
    """MQTT 5's message expiry; 3.1.1 has none, and the meter looks at ``expires_at`` anyway."""
    if settings.version != 5:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.MessageExpiryInterval = seconds
    return properties
