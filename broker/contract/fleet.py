"""What is known of one meter, and which message replaces what: one set of rules for every reader.

MMS bridge, web, registry and command line feed the messages of the contract to the functions here, so one
sequence of messages has one answer. Pure: no socket, and the clock is an argument.

A message is *live* when the meter (or its last will) has published it just now. It is a *replay* when the
broker had it retained before the reader subscribed, or when the bridge repeats what a broker has lost
(``repeated``). Older never replaces newer:

- **Session.** A replay begins a new session only with a later ``ts`` than all that the known session has
  told. A live birth or a live online status always begins one: a meter whose clock was set back is heard
  again. A live offline status of another session is an old will and changes nothing. The session before the
  current one never returns by a replay. A session that has ended stays ended for replays that are not later.
- **Birth and access** are ordered by ``ts``; a live birth always counts.
- **Relay** is older when neither ``ts`` nor ``operations`` is larger. The first live one of a new session
  always counts.
- **Reading** is ordered by ``seq`` in its epoch (a smaller ``seq`` needs a later ``ts``), and by ``ts``
  between two epochs; the first live one of a new session always counts.
- A ``ts`` of the future (five minutes ahead of the reader's clock) orders nothing: any other wins.

>>> now = utc_now()
>>> session = after_status(Session(), Status(online=True, session="s2", ts=now), live=True, now=now)[0]
>>> session = after_status(session, Status(online=False, session="s1", ts=now), live=True, now=now)[0]
>>> session.name, session.online
('s2', True)
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from broker.contract.birth import Birth
from broker.contract.block import Block
from broker.contract.enrolment import Access
from broker.contract.messages import EARLIEST, FUTURE_TOLERANCE, utc_now
from broker.contract.reading import Reading
from broker.contract.relay import Relay
from broker.contract.status import ServiceStatus, Status

STALE_INTERVALS = 3.0
"""A meter is stale after so many intervals without a reading."""

SKEW_SECONDS = 2.0
"""Two clocks that NTP keeps differ by less; a retained reading further ahead has no known age."""


class State(StrEnum):
    """How far the values of a meter can be trusted."""

    ONLINE = "online"
    STALE = "stale"
    OFFLINE = "offline"
    OUT = "out"
    """Out of service: never born, withdrawn, or kept out by the registrar."""


class Standing(StrEnum):
    """What the statuses tell of the current session."""

    UNKNOWN = ""
    """No status was heard."""
    OPEN = "open"
    ENDED = "ended"


class Session(NamedTuple):
    """The current session of a meter, or of a service."""

    name: str = ""
    """``session`` of its messages; empty while none is known."""
    at: datetime = EARLIEST
    """The latest ``ts`` of its messages."""
    before: str = ""
    """The session that it has replaced."""
    standing: Standing = Standing.UNKNOWN

    @property
    def online(self) -> bool:
        """Whether it stands."""
        return self.standing is Standing.OPEN

    def forgotten(self) -> Session:
        """The same while the broker is away: whether it stands is not known."""
        return self._replace(standing=Standing.UNKNOWN)


NO_SESSION = Session()


def state_of(*, broker_up: bool, out: bool, online: bool, stale: bool) -> State:
    """The one state of a meter; without the broker nobody knows, so it is stale."""
    if out:
        return State.OUT
    if not broker_up:
        return State.STALE
    if not online:
        return State.OFFLINE
    return State.STALE if stale else State.ONLINE


def is_later(ts: datetime, known: datetime, *, now: datetime) -> bool:
    """Whether ``ts`` is after ``known``; a time that is ahead of ``now`` is before any other."""
    horizon = now + FUTURE_TOLERANCE
    return (ts <= horizon, ts) > (known <= horizon, known)


def after_birth(known: Session, birth: Birth, *, live: bool, now: datetime) -> Session:
    """The session when ``birth`` was heard."""
    if birth.session == known.name:
        return known._replace(at=birth.ts if live else max(known.at, birth.ts))
    if not _begins(known, birth.session, birth.ts, live=live, now=now):
        return known
    # of the sessions that were heard the newest has not ended
    standing = Standing.UNKNOWN if known.standing is Standing.UNKNOWN else Standing.OPEN
    return Session(birth.session, birth.ts, known.name, standing)


def after_status(
    known: Session, status: Status | ServiceStatus, *, live: bool, now: datetime
) -> tuple[Session, bool]:
    """The session when ``status`` was heard, and whether ``status`` is of it and not older."""
    if status.session == known.name:
        return _same_session(known, status, live=live, now=now)
    old_will = live and not status.online and known.name
    if not old_will and _begins(known, status.session, status.ts, live=live, now=now):
        standing = Standing.OPEN if status.online else Standing.ENDED
        return Session(status.session, status.ts, known.name, standing), True
    if known.standing is Standing.UNKNOWN:  # the current session's own end would have replaced this one
        known = known._replace(standing=Standing.OPEN)
    return known, False


def _same_session(
    known: Session, status: Status | ServiceStatus, *, live: bool, now: datetime
) -> tuple[Session, bool]:
    later = is_later(status.ts, known.at, now=now)
    at = max(known.at, status.ts)
    if not status.online:  # also a last will, whose ts is the time of the connect
        return known._replace(at=at, standing=Standing.ENDED), True
    if live:
        return known._replace(at=status.ts, standing=Standing.OPEN), True
    if later or known.standing is not Standing.ENDED:
        return known._replace(at=at, standing=Standing.OPEN), True
    return known, False


def _begins(known: Session, name: str, ts: datetime, *, live: bool, now: datetime) -> bool:
    """Whether a message of session ``name`` begins a new session."""
    if not known.name or live:
        return True
    return name != known.before and is_later(ts, known.at, now=now)


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


def age_of(ts: datetime, *, now: datetime) -> float:
    """Seconds since ``ts``; infinite when it is ahead of our clock, so that its age is not known."""
    age = (now - ts).total_seconds()
    return float("inf") if age < -SKEW_SECONDS else max(0.0, age)


class Told:
    """What one meter has told; dataclasses of the readers have the fields."""

    meter_id: str
    birth: Birth | None
    status: Status | None
    relay: Relay | None
    block: Block | None
    """None when nothing was ever blocked or released."""
    access: Access | None
    withdrawn: datetime | None
    """When its birth was taken back: it is out of service until it is born again."""
    session: Session
    relay_session: str
    """The session in which the relay was heard; empty before any."""

    def begin(self) -> None:
        """Let the session follow from the birth and the status that are known already."""
        now = utc_now()
        if self.birth is not None:
            self._enter(after_birth(self.session, self.birth, live=False, now=now))
        if self.status is not None:
            self._enter(after_status(self.session, self.status, live=False, now=now)[0])

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

    def take(self, kind: str, payload: bytes, *, live: bool = True, now: datetime | None = None) -> bool:
        """Note one message of ``kind``; False when it is older than what is known.

        An empty one takes back what was told, save a block. ValidationError if it is not of the contract.
        """
        now = now or utc_now()
        match kind:
            case "birth":
                return self._take_birth(payload, live=live, now=now)
            case "status":
                return self._take_status(payload, live=live, now=now)
            case "relay":
                return self._take_relay(payload, live=live, now=now)
            case "access":
                return self._take_access(payload, now=now)
            case "block" if payload:
                self.block = Block.model_validate_json(payload).merged(self.block)
        return True

    def _enter(self, session: Session) -> None:
        if not self.session.name:  # what was heard before the first session is taken as of it
            self.relay_session = session.name
        self.session = session

    def _take_birth(self, payload: bytes, *, live: bool, now: datetime) -> bool:
        if not payload:
            if self.birth is not None:
                self.birth, self.withdrawn = None, now
            return True
        birth = Birth.model_validate_json(payload)
        live = live and not birth.repeated
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

    def _take_status(self, payload: bytes, *, live: bool, now: datetime) -> bool:
        if not payload:
            self.status, self.session = None, self.session.forgotten()
            return True
        status = Status.model_validate_json(payload)
        live = live and not status.repeated
        session, taken = after_status(self.session, status, live=live, now=now)
        self._enter(session)
        if taken:
            self.status = status
        return taken

    def _take_relay(self, payload: bytes, *, live: bool, now: datetime) -> bool:
        if not payload:
            self.relay = None
            return True
        relay = Relay.model_validate_json(payload)
        if self.birth is not None and not self.birth.relay:
            return False
        live = live and not relay.repeated
        first = live and self.relay_session != self.session.name
        if not takes_relay(self.relay, relay, first=first, now=now):
            return False
        self.relay, self.relay_session = relay, self.session.name
        return True

    def _take_access(self, payload: bytes, *, now: datetime) -> bool:
        access = Access.model_validate_json(payload) if payload else None
        known = self.access
        if access and known and not takes_access(known.ts, access, now=now):
            return False
        self.access = access
        return True
