"""The one session rule: which message of a meter, or of a service, begins a session, and if it is online.

A message is *live* when the meter (or its last will) has published it just now. It is a *replay* when the
broker had it retained before the reader subscribed, or when the bridge repeats what a broker has lost
(``repeated``). Older never replaces newer:

- A replay begins a new session only with a later ``ts`` than all that is known of the current session.
- A live birth or a live online status always begins one: a meter whose clock was set back is heard again.
- A live offline status of another session is an old will and changes nothing.
- The session before the current one never returns by a replay. A session that has ended stays ended for
  replays that are not later.
- A ``ts`` of the future (five minutes ahead of the reader's clock) orders nothing: any other wins.

>>> from broker.contract.messages import utc_now
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
from broker.contract.messages import EARLIEST, FUTURE_TOLERANCE
from broker.contract.status import ServiceStatus, Status


class Standing(StrEnum):
    """What the statuses say of the current session."""

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
        """Whether it is open, as far as we know."""
        return self.standing is Standing.OPEN

    def forgotten(self) -> Session:
        """The same while the broker is away: whether it is open is not known."""
        return self._replace(standing=Standing.UNKNOWN)


NO_SESSION = Session()


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
