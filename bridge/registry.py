"""The registry: births, statuses and relays become rows of `meter`; a meter gets its IED for life.

Events are folded into the rows in the order in which they came, inside the caller's transaction: rows
are loaded once for a batch and written back once. What replaces what is decided by the rules of every
reader (``broker.fleet``).

>>> next_ied({"SMGW001": 50, "SMGW002": 3}, limit=50)
'SMGW002'
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import singledispatch

from sqlalchemy import Connection, func
from sqlmodel import Session, col, select

from bridge.audit import Event, Kind
from bridge.batch import Dead, Notice, Withdrawal
from bridge.tables import Meter, at_ms, moment, sayable
from broker.admission import Access
from broker.fleet import Session as MeterSession
from broker.fleet import (
    Standing,
    after_birth,
    after_status,
    takes_access,
    takes_birth,
    takes_relay,
)
from broker.messages import (
    EARLIEST,
    MAX_SEQ,
    Birth,
    Message,
    MeterNotice,
    NoticeCode,
    Position,
    Relay,
    Status,
)

_CHUNK = 500
"""Meters in one IN list; SQLite allows 32,766 parameters, older ones 999."""

SHOWN = ("name", "address", "address_code", "vendor", "model", "serial", "firmware")
"""Fields of a meter that stand in the SCD: of `tables.Meter` and of `scl_builder.project.Meter` alike."""

FOREIGN_SERIAL = "birth: meter_id belongs to another hardware serial"


def next_ied(filled: Mapping[str, int], *, limit: int, among: Collection[str] | None = None) -> str:
    """The first IED with room for one more of ``limit`` meters, or a new one: SMGW001, SMGW002, …

    Of those that have meters only the ones in ``among`` count, if it is given.
    """
    number = 1
    while (ied := ied_name(number)) in filled and (
        filled[ied] >= limit or (among is not None and ied not in among)
    ):
        number += 1
    return ied


def ied_name(number: int) -> str:
    """Name of the IED with this number, from 1."""
    return f"SMGW{number:03d}"


def ied_number(name: str) -> int:
    """The inverse of :func:`ied_name`."""
    return int(name.removeprefix("SMGW"))


def rows_for(
    session: Session,
    meter_ids: Collection[str],
    events: Sequence[Notice],
    *,
    now: int,
    admitted: Callable[[Sequence[str]], Sequence[str]] = lambda meter_ids: meter_ids,
) -> dict[str, Meter]:
    """The rows of ``meter_ids`` and of the meters in ``events``.

    One that was never heard of gets a stub, which the SCD leaves out, if it is ``admitted``; a withdrawal
    alone makes none.
    """
    heard = {*meter_ids, *(event.meter_id for event in events if not isinstance(event.message, Withdrawal))}
    rows = _load(session, sorted(heard.union(event.meter_id for event in events)))
    for meter_id in admitted(sorted(heard - rows.keys())):
        rows[meter_id] = Meter(meter_id=meter_id, first_seen=now, last_seen=now)
        session.add(rows[meter_id])
    return rows


def keys_of(connection: Connection, meter_ids: Collection[str]) -> dict[str, int]:
    """The keys of those of ``meter_ids`` that were heard of; a hundredth of the price of their rows."""
    wanted, found = sorted(meter_ids), dict[str, int]()
    for start in range(0, len(wanted), _CHUNK):
        some = col(Meter.meter_id).in_(wanted[start : start + _CHUNK])
        rows = connection.execute(select(Meter.meter_id, Meter.key).where(some))
        found |= {meter_id: key for meter_id, key in rows if key is not None}
    return found


def is_shown(meter: Meter) -> bool:
    """Whether the SCD shows it: born, and not withdrawn."""
    return meter.born_at is not None and meter.retired_at is None


def face(meter: Meter) -> tuple[object, ...]:
    """What of ``meter`` the SCD shows, and first how often that it does has changed."""
    return (meter.changes, meter.has_relay, *(getattr(meter, name) for name in SHOWN))


def comings_and_goings(meters: Iterable[Meter], retired: Collection[str]) -> Iterator[Event]:
    """For the audit: who was taken out of service or came back, when ``retired`` were out before."""
    for meter in meters:
        if (meter.retired_at is not None) != (meter.meter_id in retired):
            kind = Kind.METER_RETURNED if meter.retired_at is None else Kind.METER_RETIRED
            detail = {"name": meter.name, "ied": meter.ied}
            yield Event(kind, meter_id=meter.meter_id, identity=meter.serial, detail=detail)


def _load(session: Session, meter_ids: Sequence[str]) -> dict[str, Meter]:
    found: dict[str, Meter] = {}
    for start in range(0, len(meter_ids), _CHUNK):
        some = select(Meter).where(col(Meter.meter_id).in_(meter_ids[start : start + _CHUNK]))
        found |= {meter.meter_id: meter for meter in session.exec(some)}
    return found


def apply(session: Session, events: Iterable[Notice], rows: dict[str, Meter], *, now: int) -> list[Dead]:
    """Fold ``events`` into ``rows`` (in ms ``now``); what is refused comes back as dead letters."""
    dead = []
    for event in events:
        meter = rows.get(event.meter_id)
        if meter is None:
            continue
        if isinstance(event.message, Birth) and meter.serial not in ("", event.message.hardware.serial):
            dead.append(Dead(event.source.topic, event.source.payload, FOREIGN_SERIAL))
            continue
        if not isinstance(event.message, Access):  # the registrar's words, not the meter's
            meter.last_seen = max(meter.last_seen, now)
        fold(event.message, meter, now, live=event.live)
    return dead


def refusals(dead: Iterable[Dead], *, now: int) -> Iterator[tuple[str, MeterNotice]]:
    """What the meters are told whose births were refused (meter_id, notice); in ms ``now``."""
    for letter in dead:
        kind, _, cause = letter.cause.partition(": ")
        if kind == "birth":
            meter_id = letter.topic.decode().split("/")[-2]
            if letter.cause == FOREIGN_SERIAL:
                cause += f"; if its sensor was replaced: meter61850 meters replace {meter_id} --serial SERIAL"
            yield meter_id, MeterNotice(code=NoticeCode.BIRTH_REFUSED, reason=cause, ts=sayable(now))


def assign(session: Session, meters: Iterable[Meter], *, limit: int, by_address_code: bool) -> None:
    """Give every born meter without an IED one, if told one of its address code; retired ones keep theirs."""
    homeless = [meter for meter in meters if meter.born_at is not None and meter.ied is None]
    if not homeless:
        return
    group = (col(Meter.ied), col(Meter.address_code))
    filled: Counter[str] = Counter()
    homes: dict[str, set[str]] = defaultdict(set)
    for ied, code, count in session.exec(
        select(*group, func.count()).where(group[0].is_not(None)).group_by(*group)
    ):
        filled[str(ied)] += count
        homes[code].add(str(ied))
    for meter in homeless:
        among = homes[meter.address_code] if by_address_code else None
        meter.ied = next_ied(filled, limit=limit, among=among)
        filled[meter.ied] += 1
        homes[meter.address_code].add(meter.ied)


@singledispatch
def fold(message: Message, meter: Meter, now: int, *, live: bool = True) -> None:
    """Let ``message`` change ``meter`` if it is not older than what is known; ``now`` in ms since 1970.

    Not ``live``: the broker had it retained before we subscribed.
    """
    raise NotImplementedError(type(message).__name__)


@fold.register
def _birth(birth: Birth, meter: Meter, now: int, *, live: bool = True) -> None:
    """It registers (again); whether it is online is for its status to say."""
    session, live = session_of(meter), live and not birth.repeated
    if not takes_birth(born_or_retired(meter), birth, session, live=live, now=moment(now)):
        return
    _enter(meter, after_birth(session, birth, live=live, now=moment(now)))
    for name in ("name", "owner", "address", "address_code", "ip", "firmware", "interval"):
        setattr(meter, name, getattr(birth, name))
    for name in ("vendor", "model", "serial"):
        setattr(meter, name, getattr(birth.hardware, name))
    meter.quantities = ",".join(birth.quantities)
    meter.clock_synchronized = birth.clock_synchronized
    if is_shown(meter) and meter.has_relay != birth.relay:
        meter.changes += 1  # it joins or leaves the data set of positions
    meter.has_relay = birth.relay
    if not birth.relay:  # what is known is of a relay that was removed
        _forget_relay(meter)
    meter.changes += not is_shown(meter)
    meter.born_at = at_ms(birth.ts)
    meter.retired_at = None
    _judge(meter)


@fold.register
def _status(status: Status, meter: Meter, now: int, *, live: bool = True) -> None:
    live = live and not status.repeated
    session, taken = after_status(session_of(meter), status, live=live, now=moment(now))
    _enter(meter, session)
    if taken:
        meter.outbox = min(status.outbox, MAX_SEQ)
        meter.dropped = min(status.dropped, MAX_SEQ)
    _judge(meter)


@fold.register
def _relay(relay: Relay, meter: Meter, now: int, *, live: bool = True) -> None:
    if is_shown(meter) and not meter.has_relay:
        return
    first = live and not relay.repeated and meter.relay_session != meter.session
    if not takes_relay(known_relay(meter), relay, first=first, now=moment(now)):
        return
    meter.relay = relay.position
    meter.relay_operations = relay.operations
    meter.relay_local = relay.local
    meter.relay_at = at_ms(relay.ts)
    meter.relay_session = meter.session


@fold.register
def _access(access: Access, meter: Meter, now: int, *, live: bool = True) -> None:
    """Blocked or let in again; it keeps its place."""
    known = None if meter.access_at is None else moment(meter.access_at)
    if takes_access(known, access, now=moment(now)):
        meter.blocked = "" if access.allowed else access.reason or "blocked"
        meter.access_at = at_ms(access.ts)
        _judge(meter)


@fold.register
def _withdrawal(withdrawal: Withdrawal, meter: Meter, now: int, *, live: bool = True) -> None:
    """What was told is taken back. Without its birth it is out of service; its rows, key and place stay."""
    match withdrawal.kind:
        case "birth" if is_shown(meter):
            meter.changes += 1
            meter.retired_at = now
        case "status":
            _enter(meter, session_of(meter).forgotten())
        case "relay":
            _forget_relay(meter)
        case "access":
            meter.blocked, meter.access_at = "", None
    _judge(meter)


def session_of(meter: Meter) -> MeterSession:
    """What the row knows of the meter's session."""
    at = EARLIEST if meter.session_at is None else moment(meter.session_at)
    return MeterSession(meter.session, at, meter.session_before, Standing(meter.standing))


def _enter(meter: Meter, session: MeterSession) -> None:
    if not meter.session:  # what was heard before the first session is taken as of it
        meter.relay_session = session.name
    meter.session, meter.session_before, meter.standing = session.name, session.before, session.standing
    meter.session_at = at_ms(session.at) if session.name else None


def _forget_relay(meter: Meter) -> None:
    meter.relay, meter.relay_operations, meter.relay_local, meter.relay_at = "", 0, False, None


def _judge(meter: Meter) -> None:
    """Whether it is online: its session stands, and nothing keeps it out of service."""
    meter.online = session_of(meter).online and not meter.blocked and meter.retired_at is None


def born_or_retired(meter: Meter) -> datetime | None:
    """The time that a birth must not be older than; None before the first."""
    if meter.retired_at is not None:
        return max(moment(meter.retired_at), session_of(meter).at)
    return None if meter.born_at is None else moment(meter.born_at)


def known_relay(meter: Meter) -> Relay | None:
    """The relay as the row has it; None before it was told."""
    if not meter.relay or meter.relay_at is None:
        return None
    return Relay(
        position=Position(meter.relay),
        operations=meter.relay_operations,
        local=meter.relay_local,
        ts=moment(meter.relay_at),
    )
