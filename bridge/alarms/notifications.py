"""Notifications to people: each alarm that lasts once, and once that it is over; never a storm.

An alarm is due when it is in force since ``after``, nobody has acknowledged it, and it is bad enough; that it
is over is due if it was sent that it was raised. At most ``per_hour`` messages leave in any hour: an alarm
has a message of its own while there is room, and the last message of the hour, or one for many alarms at
once, is a summary. What is sent is noted in the database, with one time for all alarms of a message, so a
restart sends nothing twice and allows no more; while the database does not take that note (its disk is full),
nothing more is sent. A message that no target takes is tried again, with what is due then.

>>> plan(4, left=10), plan(4, left=4), plan(1, left=1), plan(4, left=0)
(4, 1, 1, 0)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Any

from sqlalchemy import Connection, Engine, or_, select, update
from sqlalchemy.exc import DBAPIError
from sqlmodel import col

from bridge.alarms.targets import Notification, NotSentError, Target
from bridge.store import alarms
from bridge.store.alarms import AlarmRecord
from bridge.store.audit import now_ms
from bridge.store.tables import DAY_MS, HOUR_MS, Alarm, moment
from broker.contract.alarms import KINDS, Severity
from broker.contract.errors import reason
from broker.contract.messages import format_ts
from broker.mqtt.backoff import Backoff

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_JOIN_SECONDS = 2.0
_FORGOTTEN_MS = DAY_MS
"""What is over for longer is not sent any more."""
_MOST_LINES = 50
"""Alarms that a summary names; the rest it counts."""
_MOST_WAITING = 20
"""Messages that wait for one target of several that does not take them."""


@dataclass(frozen=True)
class Policy:
    """What is sent, and how much of it."""

    after: timedelta
    per_hour: int
    severity: Severity
    """Warning: everything."""


@dataclass(frozen=True)
class Due:
    """What is to be sent now."""

    raised: list[AlarmRecord]
    over: list[AlarmRecord]
    left: int
    """Messages that may leave in this hour."""

    @property
    def count(self) -> int:
        """Alarms that are due."""
        return len(self.raised) + len(self.over)


def left(connection: Connection, policy: Policy, *, now: int) -> int:
    """Messages that may leave in the hour before ``now`` (ms)."""
    sent = set[int]()
    for column in (col(Alarm.notified_at), col(Alarm.notified_over_at)):
        recent = or_(col(Alarm.cleared_at).is_(None), col(Alarm.cleared_at) > now - _FORGOTTEN_MS - HOUR_MS)
        wanted = select(column).distinct().where(recent, column > now - HOUR_MS, column <= now)
        sent.update(at for at in connection.scalars(wanted) if at is not None)
    return max(0, policy.per_hour - len(sent))


def due(connection: Connection, policy: Policy, *, now: int) -> Due:
    """What is due at ``now`` (ms); what is over for more than a day is not sent any more."""
    if not (room := left(connection, policy, now=now)):
        return Due([], [], 0)
    before = now - policy.after // timedelta(milliseconds=1)
    worst = [name for name, kind in KINDS.items() if policy.severity in (kind.severity, Severity.WARNING)]
    raised = alarms.records(
        connection,
        *(
            col(Alarm.cleared_at).is_(None),
            col(Alarm.notified_at).is_(None),
            col(Alarm.acknowledged_at).is_(None),
        ),
        *(col(Alarm.since) <= before, col(Alarm.kind).in_(worst)),
    )
    over = alarms.records(
        connection,
        *(col(Alarm.cleared_at) > now - _FORGOTTEN_MS, col(Alarm.notified_at).is_not(None)),
        col(Alarm.notified_over_at).is_(None),
    )
    return Due(raised[::-1], over[::-1], room)


def plan(count: int, *, left: int) -> int:
    """How many messages ``count`` alarms make: one each, one summary, or none while none is ``left``."""
    if not count or not left:
        return 0
    return count if count < left or count == left == 1 else 1


def _line(one: AlarmRecord, *, over: bool) -> str:
    what = f"{one.kind} {one.subject}".strip() if one.subject not in one.detail else one.kind
    if over:
        return f"over: {one.place}: {what}, since {moment(one.cleared_at or 0):%Y-%m-%d %H:%M} UTC"
    return f"{one.severity}: {one.place}: {what}: {one.detail}, since {moment(one.since):%Y-%m-%d %H:%M} UTC"


def _told(one: AlarmRecord, *, over: bool) -> dict[str, Any]:
    names = ("kind", "subject", "detail", "meter_id", "name", "count", "severity")
    times = {"since": format_ts(moment(one.since)), "event": "cleared" if over else "raised"}
    times |= {"cleared_at": format_ts(moment(one.cleared_at))} if over and one.cleared_at else {}
    return {"id": one.key, **{name: getattr(one, name) for name in names}, **times}


def single(one: AlarmRecord, *, over: bool) -> Notification:
    """The message for one alarm."""
    text = _line(one, over=over) + ("" if over or not one.cure else f"\n\nWhat to do: {one.cure}.")
    title = f"meter61850: {'over: ' if over else ''}{one.kind}: {one.place}"
    return Notification(title, text, [_told(one, over=over)])


def summary(raised: Sequence[AlarmRecord], over: Sequence[AlarmRecord], *, last: bool) -> Notification:
    """One message for many; ``last``: no more follows in this hour."""
    lines = [_line(one, over=False) for one in raised] + [_line(one, over=True) for one in over]
    more = [f"and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
    note = ["", "There are many: what follows comes as one message, within an hour."] if last else []
    told = [_told(one, over=False) for one in raised] + [_told(one, over=True) for one in over]
    title = f"meter61850: {len(raised)} alarms raised, {len(over)} over"
    return Notification(title, "\n".join([*lines[:_MOST_LINES], *more, *note]), told[:_MOST_LINES])


@dataclass
class _Post:
    """A target, and what waits for it while others have taken it."""

    target: Target
    waiting: list[Notification] = field(default_factory=list)
    backoff: Backoff = field(default_factory=lambda: Backoff(cap=300.0))
    again: float = 0.0


class Notifier:
    """A thread that sends, while this bridge ``leads``."""

    def __init__(
        self,
        reader: Engine,
        engine: Engine,
        targets: Iterable[Target],
        policy: Policy,
        *,
        leads: Callable[[], bool],
    ) -> None:
        self.sent = self.errors = 0
        """Counters: messages that a target took, and attempts that failed."""
        self._reader = reader
        self._engine = engine
        self._posts = [_Post(target) for target in targets]
        self._policy = policy
        self._leads = leads
        self._unnoted: list[tuple[str, list[int], int]] = []
        """What left and is not in the database yet: column, keys of the alarms, time."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)

    def start(self) -> None:
        """Begin, if there is a target."""
        if self._posts:
            self._thread.start()

    def stop(self) -> None:
        """End; what is on its way is not waited for."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        pause = _LOOK_SECONDS
        while not self._stopping.wait(pause):  # no error is kept over it: it would keep its connection open
            pause = _LOOK_SECONDS
            try:
                if self._leads():
                    self.look(now=now_ms())
            except (DBAPIError, OSError) as error:
                self.errors += 1
                log.warning("notifications come later: %s", reason(error))
                pause = 10 * _LOOK_SECONDS
            except Exception:
                self.errors += 1
                log.exception("a notification failed, and is tried again")
                pause = 60 * _LOOK_SECONDS

    def look(self, *, now: int) -> None:
        """Send what is due at ``now`` (ms), and what waits for a target; DBAPIError without the database."""
        self._note()
        for post in self._posts:
            if post.waiting and self._try(post, post.waiting[0]):
                post.waiting.pop(0)
        with self._reader.connect() as connection:
            found = due(connection, self._policy, now=now)
        messages = plan(found.count, left=found.left)
        if messages == 0:
            return
        if messages < found.count:
            self._send(
                summary(found.raised, found.over, last=found.left == 1), found.raised, found.over, now=now
            )
            return
        for number, one in enumerate(found.raised):
            self._send(single(one, over=False), [one], [], now=now + number)
        for number, one in enumerate(found.over, len(found.raised)):
            self._send(single(one, over=True), [], [one], now=now + number)

    def _send(
        self, message: Notification, raised: Sequence[AlarmRecord], over: Sequence[AlarmRecord], *, now: int
    ) -> None:
        """Send to all targets; when one has taken it, it is sent, and waits for the others."""
        taken = [post for post in self._posts if not post.waiting and self._try(post, message)]
        if not taken:
            return
        for post in self._posts:
            if post not in taken:
                post.waiting = [*post.waiting, message][-_MOST_WAITING:]
        for some, column in ((raised, "notified_at"), (over, "notified_over_at")):
            self._unnoted.append((column, [one.key for one in some], now))
        self._note()

    def _note(self) -> None:
        """Note what left; else it would leave again, and again."""
        if not self._unnoted:
            return
        with self._engine.begin() as connection:
            for column, keys, at in self._unnoted:
                for start in range(0, len(keys), 500):
                    own = col(Alarm.key).in_(keys[start : start + 500])
                    connection.execute(update(Alarm).where(own).values({column: at}))
        self._unnoted.clear()

    def _try(self, post: _Post, message: Notification) -> bool:
        if monotonic() < post.again:
            return False
        try:
            post.target.send(message)
        except Exception as error:  # noqa: BLE001 - the other targets may have taken it: it must be noted
            self.errors += 1
            post.again = monotonic() + 1.0 + post.backoff.next()
            expected = isinstance(error, NotSentError)  # of others the text may have secrets
            why = error if expected else f"{post.target.words}: {type(error).__name__}"
            log.warning("a notification waits: %s", why)
            return False
        post.backoff.reset()
        self.sent += 1
        return True
