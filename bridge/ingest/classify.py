"""What a batch of messages means: rows, notices for registry and ledger, dead letters, `stored` ranges.

Pure: messages in, values out; no database, no socket, and the clock is an argument. One bad message
never hurts the others: it becomes a dead letter, and the next one is looked at.

>>> topic = b"sm/v1/3f2504e0-4f89-41d3-9a0c-0305e82c3301/reading"
>>> message = Publish(topic, b'{"epoch":1,"seq":1,"ts":"2026-11-23T12:00:00.000Z"}', b"", 0)
>>> work = Sorter(Topics("sm/v1"), keys={}).sort([message], now=1_795_435_200_000)
>>> work.rows[0][:4], work.dead
(('3f2504e0-4f89-41d3-9a0c-0305e82c3301', 1, 1, 1795435200000), [])
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bridge.ingest import parse, rate_limits
from bridge.ingest.parse import FutureError, RejectedError
from bridge.ingest.rate_limits import UNLIMITED, Allowance, Allowances, Limits
from bridge.ingest.rows import OTHER, Row
from bridge.ingest.work import Acknowledged, Work
from bridge.meters import twins
from bridge.meters.twins import Twins
from bridge.mqtt.notice import BadCommand, Dead, Early, Notice, Withdrawal
from bridge.store.alarms import Raised
from broker.contract.alarms import Acknowledgement
from broker.contract.birth import Birth
from broker.contract.block import Block
from broker.contract.enrolment import Access
from broker.contract.errors import ContractError
from broker.contract.messages import FUTURE_TOLERANCE
from broker.contract.relay import Relay
from broker.contract.result import Refusal
from broker.contract.roles import Role
from broker.contract.specs import METER_KINDS, SPECS, heard_by
from broker.contract.status import ServiceStatus, Status
from broker.contract.topics import Topics, checked_meter_id
from broker.mqtt.packets import IDENTIFIED, Publish

TOLERANCE_MS = round(FUTURE_TOLERANCE.total_seconds() * 1000)
_WAITS_MS = 12 * 3_600_000
"""What is ahead by less waits until its time has come: a clock that was set by hand, or to local time."""
_MAX_ROUTES = 200_000
"""Topics remembered: the kinds of more than 20,000 meters, and a bound for invented ones."""

_HEARD = frozenset(heard_by(Role.BRIDGE))
"""Other kinds are the bridge's own, other services', or for the registrar."""

_CLEARED = frozenset(kind for kind, spec in SPECS.items() if spec.retained or spec.live_only)
"""Kinds that someone may clear with an empty retained message."""


@dataclass(frozen=True, slots=True)
class _Route:
    """What a topic is; ``name`` is the meter, the service, or the fault of a topic that is ``bad``."""

    kind: str
    name: str
    messages: Allowance
    """What its meter may still publish."""
    stored: bytes = b""
    """The topic on which the meter's readings are confirmed."""
    refused_of: str = ""
    """The meter of which a person tells a refusal, or acknowledges an alarm."""


class Sorter:
    """Sorts messages; ``keys`` maps a meter_id to the key of its row, and may grow meanwhile.

    What seems to come from the future is not judged at once, for it may be our clock that is wrong: readings
    stay with their meters, other messages wait. Only what is far ahead of a clock that is ``clock_kept`` (by
    NTP) is kept aside as a dead letter, else it would come again for years. ``doubled``: commands come twice,
    and those count that are marked `packets.IDENTIFIED`.
    """

    def __init__(
        self,
        topics: Topics,
        *,
        keys: Mapping[str, int],
        limits: Limits | None = None,
        clock_kept: Callable[[], bool] = lambda: True,
        doubled: bool = False,
    ) -> None:
        self._topics = topics
        self._keys = keys
        self._clock_kept = clock_kept
        self._doubled = doubled
        self._allowances = Allowances(limits or Limits())
        self._twins = Twins()
        self._routes: dict[bytes, _Route] = {}

    def sort(self, messages: Sequence[Publish], *, now: int) -> Work:
        """The work in ``messages``; ``now`` in ms since 1970 UTC."""
        work, latest = Work(now), now + TOLERANCE_MS
        routes, keys = self._routes, self._keys
        for message in messages:
            route = routes.get(message.topic) or self._route(message.topic, now=now)
            allowed = route.messages
            left = allowed.left = allowed.left - 1  # as `take` does, without the price of a call
            if left < 0 and not allowed.refill(1, now=now):
                work.limit(message.topic, rate_limits.REFUSALS if route.refused_of else rate_limits.MESSAGES)
                continue
            try:
                if route.kind == "reading" and message.payload:  # inline: nearly all messages are these
                    meter = keys.get(route.name, route.name)
                    row, sender = parse.reading_row(message.payload, meter, latest=latest)
                    work.add(route.stored, row, sender)
                    if row[OTHER] is not None:
                        _note_spoiled(work, message, row)
                else:
                    self._other(work, route, message, latest=latest)
            except parse.RepeatedError:
                pass
            except FutureError as error:
                self._postpone(work, route, message, payload=message.payload, ts=error.ts)
            except RejectedError as error:
                self._reject(work, route, message, payload=message.payload, cause=str(error))
        return work

    def reject(self, message: Publish, cause: str, *, now: int) -> Work:
        """The work of keeping ``message`` aside for ``cause``."""
        work = Work(now)
        route = self._route(message.topic, now=now)
        self._reject(work, route, message, payload=message.payload, cause=cause)
        return work

    def answers(self, work: Work, *, blocks: bool) -> Iterator[tuple[bytes, bytes]]:
        """All that the meters are told after the commit of ``work``, as (topic, payload).

        ``blocks``: the broker retains every block of the ledger.
        """
        yield from work.stored(blocks=blocks)
        for meter_id, notice in work.notices:
            told = notice.model_copy(update={"blocks": blocks})
            yield self._topics.meter(meter_id, "notice").encode(), told.payload()

    def _route(self, topic: bytes, *, now: int) -> _Route:
        if len(self._routes) >= _MAX_ROUTES:
            self._routes.clear()
        kind, name, refused_of = _routed(self._topics, topic)
        stored = self._topics.meter(name, "stored").encode() if kind in METER_KINDS else b""
        if stored or kind == "bad":
            messages = self._allowances.meter(name if stored else "", now=now).messages
        elif refused_of:
            messages = self._allowances.meter(name, now=now).commands  # of all that this person tells
        else:
            messages = Allowance(UNLIMITED, now=now)
        route = self._routes[topic] = _Route(kind, name, messages, stored, refused_of)
        return route

    def _other(self, work: Work, route: _Route, message: Publish, *, latest: int) -> None:
        """Anything but a reading; RejectedError if it is not of the contract."""
        if route.kind == "bad":
            raise RejectedError(route.name)
        if route.kind not in _HEARD or _is_of_alarms(work, route, message):
            return
        if self._doubled and route.kind == "command" and not message.flags & IDENTIFIED:
            return
        if not message.payload and route.kind in _CLEARED:
            if route.kind == "block":
                work.blocks.append((route.name, None))
            elif SPECS[route.kind].state:
                work.events.append(Notice(route.name, Withdrawal(kind=route.kind), message))
        elif route.kind == "history":
            self._history(work, route, message, latest=latest)
        else:
            self._note(work, message, _notice(route, message, latest=latest))

    def _note(self, work: Work, message: Publish, notice: Notice) -> None:
        """For the registry or the ledger."""
        if isinstance(notice.message, Block):
            work.blocks.append((notice.meter_id, notice.message))
        if isinstance(notice.message, Birth | Status | Relay | Access):
            work.events.append(notice)
            self._look_for_twins(work, notice)
        elif cause := self._allowances.excess(notice.message, notice.meter_id, now=work.now):
            work.limit(message.topic, cause)
        else:
            work.entries.append(notice)

    def _history(self, work: Work, route: _Route, message: Publish, *, latest: int) -> None:
        """Each reading for itself."""
        meter, items = self._keys.get(route.name, route.name), parse.history_items(message.payload)
        if not self._allowances.meter(route.name, now=work.now).readings.take(len(items), now=work.now):
            work.limit(message.topic, rate_limits.READINGS)
            return
        for item in items:
            try:
                row, sender = parse.reading_row(item, meter, latest=latest)
            except parse.RepeatedError:
                pass
            except FutureError as error:
                self._postpone(work, route, message, payload=item, ts=error.ts)
            except RejectedError as error:
                self._reject(work, route, message, payload=item, cause=str(error))
            else:
                work.add(route.stored, row, sender)
                if row[OTHER] is not None:
                    _note_spoiled(work, message, row)

    def _look_for_twins(self, work: Work, notice: Notice) -> None:
        message, meter_id = notice.message, notice.meter_id
        if (
            isinstance(message, Birth | Status)
            and not message.repeated
            and (names := self._twins.look(meter_id, twins.signs(message), now=work.now))
        ):
            work.alarms.append(Raised(meter_id, "twin", f"two meters have this identity: {names}"))

    def _postpone(self, work: Work, route: _Route, message: Publish, *, payload: bytes, ts: int) -> None:
        """What seems to come from the future comes again, or waits; what is far ahead is kept aside."""
        doubtful = not self._clock_kept()
        if ts > work.now + _WAITS_MS and not doubtful:
            self._reject(work, route, message, payload=payload, cause=parse.FUTURE)
            return
        work.limit(message.topic, parse.DOUBTFUL if doubtful else parse.EARLY)
        if route.kind not in ("reading", "history"):
            work.early.append(Early(message, ts))

    def _reject(self, work: Work, route: _Route, message: Publish, *, payload: bytes, cause: str) -> None:
        """Keep ``payload`` aside; a reading that says which one it is need not be sent again."""
        identity = parse.identity(payload) if route.kind in ("reading", "history") else None
        reading = (route.stored, *identity) if identity else None
        told = f"{route.kind}: {cause}" if route.stored else cause
        work.dead.append(Dead(message.topic, payload, told, reading))
        if route.kind == "block":
            work.blocks.append((route.name, None))
        if reading:
            work.confirm(*reading)
        elif route.kind == "command" and (command_id := parse.command_id(payload)):
            bad = BadCommand(command_id=command_id, reason=cause)
            if not self._allowances.excess(bad, route.name, now=work.now):
                work.entries.append(Notice(route.name, bad, message))


def _is_of_alarms(work: Work, route: _Route, message: Publish) -> bool:
    """Note what concerns alarms alone; False for any other kind."""
    match route.kind:
        case "alarms" | "service_alarms":
            work.retained_alarms.append((message.topic, message.payload))
        case "service_status":
            if message.payload:
                work.services.append((route.name, parse.message(ServiceStatus, message.payload)))
        case "acknowledged" | "meter_acknowledged":
            told = parse.message(Acknowledgement, message.payload)
            by, origin = f"{route.name} {told.by}".strip(), message.topic.decode()
            work.acknowledged.append(Acknowledged(told.id, route.refused_of, by, origin))
        case _:
            return False
    return True


def _note_spoiled(work: Work, message: Publish, row: Row) -> None:
    for name in parse.refused(row):
        cause = f"reading: {name} is not a value within its limits: stored without it, see `other`"
        work.spoiled[Dead(message.topic, b"", cause)] += 1


def _routed(topics: Topics, topic: bytes) -> tuple[str, str, str]:
    """Kind and name of a topic, and the meter of a person's refusal; ``bad`` and what is wrong with it."""
    text = topic.decode(errors="replace")
    try:
        parsed = topics.parse(text)
    except ContractError:
        last = text.rpartition("/")[2]
        looks_right = last in METER_KINDS and text.count("/") == topics.prefix.count("/") + 2
        fault = "meter_id is not a UUID in canonical form" if looks_right else "topic is not of the contract"
        return "bad", fault, ""
    return parsed.kind, parsed.name, parsed.meter_id


def _notice(route: _Route, message: Publish, *, latest: int) -> Notice:
    """The notice in a message; only what changes the registry is judged by its time.

    The meter judges a command's times, a block's time is for its order, and a result or a refusal is a record
    of what has happened, whatever the clock of who tells it.
    """
    model = SPECS[route.kind].model
    assert model is not None, f"the bridge hears no XML document, such as {route.kind}"
    parsed = parse.message(model, message.payload)
    if isinstance(parsed, Birth | Status | Relay | Access):
        parse.not_future(parsed.ts, latest=latest)
    if not isinstance(parsed, Refusal):
        return Notice(route.name, parsed, message)
    if parsed.command is None and parsed.block is None:
        raise RejectedError("command: Field required")
    if route.refused_of not in ("", parsed.meter_id):
        raise RejectedError("meter_id: is another than the topic's")
    try:
        return Notice(checked_meter_id(parsed.meter_id), parsed, message)
    except ContractError:
        raise RejectedError("meter_id: is not a UUID in canonical form") from None
