"""The ledger of relay commands: who wanted what, when, and the one outcome that it had.

The first outcome of a command_id stands; what comes later for it is counted or ignored, never acted
on. But a service that lost the broker while it sent a command tells it as refused, and the meter may have
obeyed: what the meter says counts more than what a service says. And a meter that says `done` has moved its
relay, whatever was thought of the command before (bad, retained, timed out): the entry ends as done. A result
whose command was not seen is kept too, with all that it says of the command. A command that was published
retained, or that does not parse, or that a service refused, is in the ledger as refused. Changes of a block
have a table of their own, beside the commands. What changes in the ledger is an event of the audit as well:
rows here can be changed, rows there cannot.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import singledispatch

from sqlalchemy import ColumnElement, Engine, update
from sqlmodel import Session, col, select

from bridge.meters import block_ledger, moves
from bridge.meters.block_ledger import Entered, block_told
from bridge.mqtt.notice import BadCommand, Dead, Notice
from bridge.store import audit
from bridge.store.audit import Event, Kind
from bridge.store.clock import Clock
from bridge.store.tables import Command as Row
from bridge.store.tables import at_ms, sayable
from broker.contract.commands import NOT_ANSWERED, NOT_MOVED, TIMED_OUT
from broker.contract.messages import Message
from broker.contract.notice import MeterNotice, NoticeCode
from broker.contract.relay import Command
from broker.contract.result import Outcome, Refusal, Result
from broker.mqtt.packets import Publish

RETAINED = "the command was published retained, which could switch at any later time"
FOREIGN_METER = "command_id belongs to another meter"
_CHUNK = 500
_REMEMBERED = 10_000
"""Commands; one that comes again does so within its validity of a minute, or is refused by the meter."""


class Hearing:
    """Which delivery of a command a bridge has heard first.

    In a group (``leads`` tells whether this is the bridge that leads) each bridge hears every command, so
    that one that is in the ledger already need not be a repetition: the leader tells by what it has heard.
    """

    def __init__(self, leads: Callable[[], bool] | None = None) -> None:
        self._leads = leads
        self._first: OrderedDict[str, Publish] = OrderedDict()

    def repeated(self, command: Notice) -> bool:
        """Whether a command that is in the ledger was published again; asked twice, it says the same."""
        if command.again or command.retained:
            return False
        if self._leads is None:
            return True
        first = self._first.setdefault(_command_id(command.message), command.source)
        if len(self._first) > _REMEMBERED:
            self._first.popitem(last=False)
        return first is not command.source and self._leads()


def apply(
    session: Session,
    entries: Sequence[Notice],
    *,
    now: int,
    hearing: Hearing | None = None,
    relays: Sequence[Notice] = (),
) -> Entered:
    """Write ``entries`` into the ledger (in ms ``now``); what is refused comes back as dead letters.

    ``relays``: what the relays have told meanwhile, which is in the registry.
    """
    hearing = hearing or Hearing()
    entered = block_ledger.noted(session, entries, now=now)
    entries = [entry for entry in entries if block_told(entry.message) is None]
    shown = moves.shown_by(relays)
    command_ids = {_command_id(entry.message) for entry in entries} | moves.command_ids(relays)
    rows = _load(session, sorted(command_ids))
    rows |= {row.command_id: row for row in moves.waiting(session, relays)}
    done: dict[str, tuple[Row, Result]] = {}
    for entry in entries:
        command_id = _command_id(entry.message)
        row = rows.get(command_id)
        if row is None:
            row = rows[command_id] = Row(command_id=command_id, meter_id=entry.meter_id, received_at=now)
            session.add(row)
        if row.meter_id != entry.meter_id:
            entered.dead.append(Dead(entry.source.topic, entry.source.payload, FOREIGN_METER))
            entered.events += _foreign(entry, now=now)
        else:
            before = _told(row)
            if isinstance(entry.message, Command):
                row.repeats += hearing.repeated(entry) and row.issued_at is not None
            enter(entry.message, row, entry)
            entered.events += _events(row, before, entry)
            if isinstance(entry.message, Result) and entry.message.outcome == Outcome.DONE:
                done[command_id] = row, entry.message
        if isinstance(entry.message, Result):
            entered.answers.append((entry.meter_id, _recorded(entry.message, now)))
    for row in rows.values():
        before = _told(row)
        if (relay := moves.note(row, shown, fresh=row.command_id in done)) is not None:
            entered.events += _events(row, before, relay)
    if done:
        moves.expect(session, done, now=now)
    return entered


def _recorded(result: Result, now: int) -> MeterNotice:
    """That it is in the ledger; of a foreign command_id in the audit."""
    code, command_id = NoticeCode.RECORDED, result.command_id
    return MeterNotice(code=code, command_id=command_id, reason=result.outcome, ts=sayable(now))


def _told(row: Row) -> tuple[bool, int, tuple[str, str, str]]:
    """What the audit tells of a command: issued, how often again, and how it ended."""
    return row.issued_at is not None, row.repeats, (row.outcome, row.late_outcome, row.reason)


def _events(row: Row, before: tuple[bool, int, tuple[str, str, str]], entry: Notice) -> Iterator[Event]:
    """What has become of the command by ``entry``."""
    issued, repeats, ended = before
    told_by = entry.source.topic.decode(errors="replace")
    if row.issued_at is not None and not issued:
        yield _event(Kind.COMMAND_ISSUED, row, _via(entry.message) or told_by)
    if row.repeats > repeats:
        yield _event(Kind.COMMAND_REPEATED, row, told_by)
    if _told(row)[2] != ended:
        late, outcome = ended[0] == TIMED_OUT, row.late_outcome or row.outcome
        yield _event(Kind.COMMAND_ENDED, row, told_by, outcome=outcome, late=late)


def _foreign(entry: Notice, *, now: int) -> Iterator[Event]:
    """What has no row here, since its command_id is another meter's: that meter obeys it all the same."""
    row = Row(command_id=_command_id(entry.message), meter_id=entry.meter_id, received_at=now)
    before = _told(row)
    enter(entry.message, row, entry)
    for event in _events(row, before, entry):
        yield replace(event, detail={**event.detail, "ledger": FOREIGN_METER})


def _via(message: Message) -> str:
    """From where the service that published a command says that it has it."""
    command = message.command if isinstance(message, Refusal) else message
    origin = command.origin if isinstance(command, Command | Result) else None
    return (origin.via or "") if origin is not None else ""


def _event(kind: Kind, row: Row, origin: str, *, outcome: str = "", late: bool = False) -> Event:
    detail = {"command_id": row.command_id, "position": row.position, "reason": row.reason}
    times = {"issued_at": row.issued_at, "expires_at": row.expires_at, "retained": row.retained or None}
    if kind is Kind.COMMAND_ENDED:
        times = {"late": late or None}
    return Event(
        kind,
        who=f"{row.origin_category} {row.origin_identifier}".strip(),
        origin=origin,
        meter_id=row.meter_id,
        outcome=outcome,
        detail={name: value for name, value in (detail | times).items() if value not in (None, "")},
    )


def _command_id(message: Message) -> str:
    command = message.command if isinstance(message, Refusal) else message
    assert isinstance(command, Command | Result | BadCommand), message
    return command.command_id


def _load(session: Session, command_ids: Sequence[str]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for start in range(0, len(command_ids), _CHUNK):
        some = select(Row).where(col(Row.command_id).in_(command_ids[start : start + _CHUNK]))
        found |= {row.command_id: row for row in session.exec(some)}
    return found


@singledispatch
def enter(message: Message, row: Row, _entry: Notice) -> None:
    """Let ``message`` change ``row``."""
    raise NotImplementedError(type(message).__name__)


@enter.register
def _command(command: Command, row: Row, entry: Notice) -> None:
    if row.issued_at is not None:
        return
    _describe(row, command)
    row.retained = entry.retained
    if entry.retained:
        _finish(row, Outcome.REFUSED, RETAINED, row.received_at)


@enter.register
def _bad_command(command: BadCommand, row: Row, _entry: Notice) -> None:
    if not row.outcome:
        _finish(row, Outcome.REFUSED, command.reason, row.received_at)


@enter.register
def _result(result: Result, row: Row, _entry: Notice) -> None:
    if row.issued_at is None:  # the command itself was not seen, or could not be read
        _describe(row, result)
    _finish(row, result.outcome, result.reason, at_ms(result.ts))


@enter.register
def _refusal(refusal: Refusal, row: Row, _entry: Notice) -> None:
    if row.issued_at is None and refusal.command is not None:
        _describe(row, refusal.command)
    _finish(row, Outcome.REFUSED, refusal.reason, None)


def _describe(row: Row, command: Command | Result) -> None:
    """Note what ``command`` says; a result need not say it."""
    row.position = command.position or row.position
    row.issued_at = at_ms(command.issued_at) if command.issued_at else None
    row.expires_at = at_ms(command.expires_at) if command.expires_at else None
    if command.origin is not None:
        row.origin_category = command.origin.category
        row.origin_identifier = command.origin.identifier


def _finish(row: Row, outcome: str, reason: str, ts: int | None) -> None:
    """The first outcome stands, unless a service gave it and this is the meter's; after a time-out: late.

    ``ts`` is None for a service's: the meter may still answer. When the meter says that it is done, the relay
    has moved, whatever was told before; that stands in the reason.
    """
    if row.outcome == Outcome.DONE or row.reason == NOT_MOVED:
        return
    moved = outcome == Outcome.DONE
    told = row.late_outcome if row.outcome == TIMED_OUT else row.outcome
    if not moved and (row.result_ts is not None or (told and ts is None)):
        return
    if row.outcome == TIMED_OUT and not moved:
        row.late_outcome = outcome
    else:
        before = f"told as {row.outcome} before: {row.reason}" if row.outcome else ""
        row.outcome, row.reason = outcome, "; ".join(filter(None, (reason, before)))
        row.late_outcome = ""
    row.result_ts = ts


class Deadlines:
    """Ends commands that nobody has answered ``grace`` seconds after expiry, and after we heard of them.

    While our clock is in doubt none is ended: by another time it has all its time, or its answer is here.
    """

    def __init__(self, engine: Engine, *, grace: float, clock: Clock | None = None) -> None:
        self._engine = engine
        self._grace_ms = round(grace * 1000)
        self._clock = clock or Clock()

    def enforce(self) -> None:
        """Give every such command the outcome ``timed out``; DBAPIError when the database is away."""
        if self._clock.in_doubt:
            return
        now = audit.now_ms()
        self._end((col(Row.moves_by) > moves.SHOWN) & (col(Row.moves_by) < now), NOT_MOVED, now=now)
        over = now - self._grace_ms  # what came when it had expired is answered, too: by "expired"
        unanswered = (col(Row.outcome) == "") & (col(Row.expires_at) < over) & (col(Row.received_at) < over)
        self._end(unanswered, NOT_ANSWERED, now=now)

    def _end(self, which: ColumnElement[bool], reason: str, *, now: int) -> None:
        told = {"outcome": TIMED_OUT, "reason": reason, "moves_by": None}
        ending = update(Row).where(which).values(**told).returning(Row)
        with Session(self._engine) as session:
            rows = session.scalars(ending).all()
            events = [_event(Kind.COMMAND_ENDED, row, "bridge", outcome=TIMED_OUT) for row in rows]
            if events:
                audit.append(session.connection(), events, now=now)
            session.commit()
