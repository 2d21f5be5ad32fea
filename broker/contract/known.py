"""What is known of one meter, and which message replaces what: one set of rules for every reader.

MMS bridge, web, registry and command line give the messages of the contract to :class:`Known`, so one
sequence of messages has one answer. Pure: no socket, and the clock is an argument. `broker.contract.session`
defines *live*, *replay* and session. Older never replaces newer:

- **Birth and access** are ordered by ``ts``; a live birth always counts.
- **Relay** is older when neither ``ts`` nor ``operations`` is larger. The first live one of a new session
  always counts.
- **Reading** is ordered by ``seq`` in its epoch (a smaller ``seq`` needs a later ``ts``), and by ``ts``
  between two epochs; the first live one of a new session always counts.
- **Block**: of each direction the newest change counts (`broker.contract.block.Block`).

>>> known = Known("3f2504e0-4f89-41d3-9a0c-0305e82c3301")
>>> known.take("status", b'{"online":true,"session":"s1","ts":"2026-11-23T12:00:00Z"}', now=utc_now())
True
>>> known.online
True
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from broker.contract.birth import Birth
from broker.contract.block import Block
from broker.contract.enrolment import Access
from broker.contract.messages import Message, utc_now
from broker.contract.reading import Reading
from broker.contract.relay import Position, Relay
from broker.contract.session import NO_SESSION, Session, after_birth, after_status, is_later
from broker.contract.specs import SPECS
from broker.contract.status import Status


def takes_birth(known: datetime | None, birth: Birth, session: Session, *, live: bool, now: datetime) -> bool:
    """Whether ``birth`` replaces what was born, or withdrawn, at ``known``."""
    if known is None or live:
        return True
    return birth.session != session.before and not is_later(known, birth.ts, now=now)


def takes_relay(known: Relay | None, relay: Relay, *, first: bool, now: datetime) -> bool:
    """Whether ``relay`` replaces ``known``; ``first``: it is the first live one of a new session."""
    if known is None or first or relay.operations > known.operations:
        return True
    if relay.operations == known.operations:
        return not is_later(known.ts, relay.ts, now=now)
    return is_later(relay.ts, known.ts, now=now)


def takes_access(known: datetime | None, access: Access, *, now: datetime) -> bool:
    """Whether ``access`` replaces the registrar's decision of ``known``; a live one may be old, too."""
    return known is None or not is_later(known, access.ts, now=now)


def takes_reading(known: Reading | None, reading: Reading, *, first: bool, now: datetime) -> bool:
    """Whether ``reading`` replaces ``known``; ``first``: it is the first live one of a new session."""
    if known is None:
        return True
    if reading.epoch == known.epoch:
        return reading.seq >= known.seq or is_later(reading.ts, known.ts, now=now)
    # an epoch is the birth of an outbox by a clock that may have been wrong: it has no order
    return first or not is_later(known.ts, reading.ts, now=now)


@dataclass(slots=True)
class Known:
    """What the retained topics say of one meter."""

    meter_id: str
    birth: Birth | None = None
    status: Status | None = None
    relay: Relay | None = None
    block: Block | None = None
    """None when nothing was ever blocked or released."""
    access: Access | None = None
    withdrawn: datetime | None = None
    """When its birth was taken back: it is out of service until it is born again."""
    session: Session = NO_SESSION
    relay_session: str = ""
    """The session in which the relay was heard; empty before any."""

    @property
    def name(self) -> str:
        """The name in its birth; empty without one."""
        return self.birth.name if self.birth else ""

    @property
    def kept_out(self) -> datetime | None:
        """Since when the registrar does not let it in."""
        return None if self.access is None or self.access.allowed else self.access.ts

    @property
    def out_since(self) -> datetime | None:
        """Since when it is out of service, withdrawn or kept out; None when it is in, or was never born."""
        kept_out = self.kept_out
        if self.withdrawn is None or kept_out is None:
            return kept_out or self.withdrawn
        return min(self.withdrawn, kept_out)

    @property
    def in_service(self) -> bool:
        """Born, and neither withdrawn nor kept out."""
        return self.birth is not None and self.out_since is None

    @property
    def online(self) -> bool:
        """In service as far as we know, with a session that stands."""
        return self.session.online and self.out_since is None

    @property
    def position(self) -> Position | None:
        """The relay's position, None while it is unknown."""
        return None if self.relay is None else self.relay.position

    def take(self, kind: str, payload: bytes, *, live: bool = True, now: datetime | None = None) -> bool:
        """Note one message of ``kind``, one of STATE_KINDS; False when it is older than what is known.

        An empty one takes back what was published, save a block. ValidationError if it is not of the
        contract.
        """
        now = now or utc_now()
        if not payload:
            self.clear(kind, now=now)
            return True
        model = SPECS[kind].model
        assert model is not None, kind
        return self.hear(model.model_validate_json(payload), live=live, now=now)

    def take_if_valid(self, kind: str, payload: bytes, *, live: bool) -> None:
        """The same; what does not parse is as good as none."""
        with suppress(ValidationError):
            self.take(kind, payload, live=live)

    def hear(self, message: Message, *, live: bool, now: datetime) -> bool:
        """Note ``message``; False when it is older than what is known."""
        match message:
            case Birth():
                return self._birth(message, live=live and not message.repeated, now=now)
            case Status():
                return self._status(message, live=live and not message.repeated, now=now)
            case Relay():
                return self._relay(message, live=live and not message.repeated, now=now)
            case Access():
                return self._access(message, now=now)
            case Block():
                self.block = message.merged(self.block)
                return True
        raise NotImplementedError(type(message).__name__)

    def clear(self, kind: str, *, now: datetime) -> None:
        """Take back what was published on ``kind``; without its birth the meter is out of service."""
        match kind:
            case "birth" if self.birth is not None:
                self.birth, self.withdrawn = None, now
            case "status":
                self.status, self.session = None, self.session.forgotten()
            case "relay":
                self.relay = None
            case "access":
                self.access = None

    def _enter(self, session: Session) -> None:
        if not self.session.name:  # what was heard before the first session is taken as of it
            self.relay_session = session.name
        self.session = session

    def _birth(self, birth: Birth, *, live: bool, now: datetime) -> bool:
        known = self.birth.ts if self.birth else None
        if self.withdrawn:
            known = max(self.withdrawn, self.session.at)
        if not takes_birth(known, birth, self.session, live=live, now=now):
            return False
        self._enter(after_birth(self.session, birth, live=live, now=now))
        self.birth, self.withdrawn = birth, None
        if not birth.relay:  # what is known is of a relay that was removed
            self.relay = None
        return True

    def _status(self, status: Status, *, live: bool, now: datetime) -> bool:
        session, taken = after_status(self.session, status, live=live, now=now)
        self._enter(session)
        if taken:
            self.status = status
        return taken

    def _relay(self, relay: Relay, *, live: bool, now: datetime) -> bool:
        if self.birth is not None and not self.birth.relay:
            return False
        first = live and self.relay_session != self.session.name
        if not takes_relay(self.relay, relay, first=first, now=now):
            return False
        self.relay, self.relay_session = relay, self.session.name
        return True

    def _access(self, access: Access, *, now: datetime) -> bool:
        if self.access is not None and not takes_access(self.access.ts, access, now=now):
            return False
        self.access = access
        return True
