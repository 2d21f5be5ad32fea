"""The registry: births, statuses and relays become rows of `meter`; a meter gets its IED for life.

Events are folded into the rows in the order in which they came, inside the caller's transaction: rows
are loaded once for a batch and written back once. What replaces what is decided by the rules of every
reader (``broker.contract.known``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import singledispatch
from typing import Any

from sqlalchemy import Connection
from sqlmodel import Session, col, select

from bridge.mqtt.notice import Dead, Notice, Withdrawal
from bridge.store.alarms import Raised
from bridge.store.audit import Event, Kind
from bridge.store.tables import Meter, at_ms, moment, sayable
from broker.contract.birth import Birth
from broker.contract.enrolment import Access
from broker.contract.known import Known
from broker.contract.messages import EARLIEST, MAX_SEQ, Message
from broker.contract.notice import MeterNotice, NoticeCode
from broker.contract.relay import Position, Relay
from broker.contract.session import Session as MeterSession
from broker.contract.session import Standing
from broker.contract.status import Status
from scl_builder.model import logical_devices
from scl_builder.model.logical_devices import Profile

_CHUNK = 500
"""Meters in one IN list; SQLite allows 32,766 parameters, older ones 999."""

SHOWN = ("name", "address", "address_code", "vendor", "model", "serial", "firmware")
"""Fields of a meter that stand in the SCD: of `tables.Meter` and of `scl_builder.build.project.Meter`
alike."""

FOREIGN_SERIAL = "birth: meter_id belongs to another hardware serial"


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
    place = (meter.changes, meter.number, meter.has_relay, profile_of(meter).name)
    return (*place, *(getattr(meter, name) for name in SHOWN))


def profile_of(meter: Meter) -> Profile:
    """What its logical device measures."""
    return logical_devices.profile_of(meter.quantities.split(","))


def comings_and_goings(meters: Iterable[Meter], retired: Collection[str]) -> Iterator[Event]:
    """For the audit: who was taken out of service or came back, when ``retired`` were out before."""
    for meter in meters:
        if (meter.retired_at is not None) != (meter.meter_id in retired):
            kind = Kind.METER_RETURNED if meter.retired_at is None else Kind.METER_RETIRED
            detail = {"name": meter.name, "ied": meter.ied}
            yield Event(kind, meter_id=meter.meter_id, identity=meter.serial, detail=detail)


def drops(meters: Iterable[Meter], before: Mapping[str, int]) -> Iterator[Raised]:
    """The meters whose outbox has dropped more readings than ``before`` (by meter_id, of those known)."""
    for meter in meters:
        if (more := meter.dropped - before.get(meter.meter_id, meter.dropped)) > 0:
            detail = f"{more} readings more, {meter.dropped} in all, {meter.outbox} wait"
            yield Raised(meter.meter_id, "outbox-dropping", detail, more)


def _load(session: Session, meter_ids: Sequence[str]) -> dict[str, Meter]:
    found: dict[str, Meter] = {}
    for start in range(0, len(meter_ids), _CHUNK):
        some = select(Meter).where(col(Meter.meter_id).in_(meter_ids[start : start + _CHUNK]))
        found |= {meter.meter_id: meter for meter in session.exec(some)}
    return found


def apply(events: Iterable[Notice], rows: dict[str, Meter], *, now: int) -> list[Dead]:
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


def fold(message: Message, meter: Meter, now: int, *, live: bool = True) -> None:
    """Let ``message`` change ``meter`` if it is not older than what is known; ``now`` in ms since 1970.

    Not ``live``: the broker had it retained before we subscribed.
    """
    state, before = known(meter), _served(meter)
    if isinstance(message, Withdrawal):
        state.clear(message.kind, now=moment(now))
    elif state.hear(message, live=live, now=moment(now)):
        _note(message, meter)
    _write(meter, state)
    if before != _served(meter):
        meter.changes += 1  # it joins or leaves its IED, or data sets of it


def _served(meter: Meter) -> tuple[bool, str] | None:
    """What its IED has of it besides texts; None while it is out of service."""
    return (meter.has_relay, profile_of(meter).name) if is_shown(meter) else None


def known(meter: Meter) -> Known:
    """What the row knows of the meter; its birth has the time and the relay alone."""
    birth = access = relay = None
    if meter.born_at is not None and meter.retired_at is None:
        told: dict[str, Any] = {"ts": moment(meter.born_at), "relay": meter.has_relay}
        birth = Birth.model_construct(**told)
    if meter.access_at is not None:
        at, allowed = moment(meter.access_at), not meter.blocked
        access = Access.model_construct(ts=at, allowed=allowed, reason=meter.blocked)
    if meter.relay and meter.relay_at is not None:
        relay = Relay(
            position=Position(meter.relay),
            operations=meter.relay_operations,
            local=meter.relay_local,
            ts=moment(meter.relay_at),
        )
    return Known(
        meter.meter_id,
        birth=birth,
        relay=relay,
        access=access,
        withdrawn=None if meter.retired_at is None else moment(meter.retired_at),
        session=_session(meter),
        relay_session=meter.relay_session,
    )


def _session(meter: Meter) -> MeterSession:
    at = EARLIEST if meter.session_at is None else moment(meter.session_at)
    return MeterSession(meter.session, at, meter.session_before, Standing(meter.standing))


def _write(meter: Meter, state: Known) -> None:
    """The inverse of :func:`known`."""
    for name, value in _columns(meter, state).items():
        if getattr(meter, name) != value:  # SQLAlchemy takes 1.5 µs to set one, and most are the same
            setattr(meter, name, value)


def _columns(meter: Meter, state: Known) -> dict[str, object]:
    session, birth, relay, access = state.session, state.birth, state.relay, state.access
    return {
        "session": session.name,
        "session_before": session.before,
        "standing": session.standing,
        "session_at": at_ms(session.at) if session.name else None,
        "born_at": at_ms(birth.ts) if birth else meter.born_at,
        "has_relay": birth.relay if birth else meter.has_relay,
        "retired_at": at_ms(state.withdrawn) if state.withdrawn else None,
        "relay": relay.position if relay else "",
        "relay_operations": relay.operations if relay else 0,
        "relay_local": relay.local if relay else False,
        "relay_at": at_ms(relay.ts) if relay else None,
        "relay_session": state.relay_session,
        "blocked": access.reason or "blocked" if access and not access.allowed else "",
        "access_at": at_ms(access.ts) if access else None,
        "online": state.online,
    }


@singledispatch
def _note(message: Message, meter: Meter) -> None:
    """Note what of ``message`` the rules do not look at."""


@_note.register
def _birth(birth: Birth, meter: Meter) -> None:
    for name in ("name", "owner", "address", "address_code", "ip", "firmware", "interval"):
        setattr(meter, name, getattr(birth, name))
    for name in ("vendor", "model", "serial"):
        setattr(meter, name, getattr(birth.hardware, name))
    meter.quantities = ",".join(birth.quantities)
    meter.clock_synchronized = birth.clock_synchronized


@_note.register
def _status(status: Status, meter: Meter) -> None:
    meter.outbox = min(status.outbox, MAX_SEQ)
    meter.dropped = min(status.dropped, MAX_SEQ)
