"""One set of rules for what a meter has told: older never replaces newer, and all four readers agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.ingest import registry
from bridge.mqtt.notice import Withdrawal
from bridge.store.tables import Meter as Row
from bridge.store.tables import at_ms
from broker.contract.birth import Birth, Hardware
from broker.contract.enrolment import Access
from broker.contract.fleet import Fleet, State
from broker.contract.known import Known
from broker.contract.messages import Message, utc_now
from broker.contract.reading import Reading
from broker.contract.relay import Position, Relay
from broker.contract.session import is_later
from broker.contract.status import ServiceStatus, Status
from broker.contract.topics import Topics
from mms_bridge.datamodel.behaviour import Behaviour, behaviour_of
from web.live.hub import Hub
from web.live.state import Live

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
TOPICS = Topics()
NOW = utc_now()
MODELS: dict[str, type[Birth | Status | Relay | Access]] = {
    "birth": Birth,
    "status": Status,
    "relay": Relay,
    "access": Access,
}


@pytest.fixture(autouse=True, scope="module")
def _now() -> None:
    """The module may have been read long before it runs."""
    globals()["NOW"] = utc_now()


def at(seconds: float) -> datetime:
    """So long after now, or before."""
    return NOW + timedelta(seconds=seconds)


def birth(session: str, seconds: float = 0.0, **others: object) -> Birth:
    return Birth.model_validate(
        {
            "name": f"born in {session}",
            "hardware": Hardware(serial="1"),
            "firmware": "1",
            "interval": 10,
            "session": session,
            "ts": at(seconds),
        }
        | others
    )


def status(session: str, seconds: float = 0.0, *, online: bool = True, **others: object) -> Status:
    return Status.model_validate({"online": online, "session": session, "ts": at(seconds)} | others)


def will(session: str, seconds: float = 0.0) -> Status:
    """As the broker publishes it; ``seconds`` is the time of the connect."""
    return status(session, seconds, online=False)


def relay(position: str, seconds: float = 0.0, operations: int = 0, **others: object) -> Relay:
    fields = {"position": position, "operations": operations, "ts": at(seconds)}
    return Relay.model_validate(fields | others)


def access(*, allowed: bool, seconds: float = 0.0) -> Access:
    return Access(allowed=allowed, reason="" if allowed else "stolen", ts=at(seconds))


@dataclass(frozen=True)
class Told:
    """A message as it arrives; no message: the birth is withdrawn."""

    message: Birth | Status | Relay | Access | None
    retained: bool = False
    cleared: str = "birth"
    """Without a message: the kind of the empty one."""

    @property
    def kind(self) -> str:
        """Its topic."""
        return type(self.message).__name__.lower() if self.message else self.cleared

    @property
    def payload(self) -> bytes:
        """On the wire."""
        return self.message.payload() if self.message else b""


@dataclass(frozen=True)
class Answer:
    """What a reader knows of the meter."""

    online: bool
    position: Position | None
    kept_out: bool
    name: str | None


@dataclass
class Readers:
    """MMS bridge, web, registry and command line, which hear the same."""

    fleet: Fleet = field(default_factory=lambda: Fleet(broker_up=True))
    live: Live = field(default_factory=lambda: Live(TOPICS, Hub()))
    row: Row = field(default_factory=lambda: Row(meter_id=METER, first_seen=1, last_seen=1))
    known: Known = field(default_factory=lambda: Known(METER))

    def __post_init__(self) -> None:
        self.live.connected(True)

    def hear(self, *messages: Message | Told | None) -> Readers:
        """Each by all; a message alone is live, None is a withdrawal."""
        for one in messages:
            told = one if isinstance(one, Told) else Told(one)  # type: ignore[arg-type]
            self._hear(told)
        return self

    def _hear(self, told: Told) -> None:
        kind, payload, retained = told.kind, told.payload, told.retained
        meter = self.fleet.meter(METER)
        self.fleet.take_state(meter, kind, payload, now=utc_now(), retained=retained, monotonic=0.0)
        self.live.take(TOPICS.meter(METER, kind), payload, retained=retained)
        message = MODELS[kind].model_validate_json(payload) if payload else Withdrawal(kind=kind)
        registry.fold(message, self.row, at_ms(utc_now()), live=not retained)
        self.known.take_if_valid(kind, payload, live=not retained)

    def answers(self) -> Iterator[Answer]:
        """Of the four."""
        for told in (self.fleet.meter(METER), self.live.fleet.meter(METER), self.known):
            name = told.birth.name if told.birth else None
            position = told.relay.position if told.relay else None
            yield Answer(told.online, position, told.kept_out is not None, name)
        row = self.row
        name = row.name if registry.is_shown(row) else None
        position = Position(row.relay) if row.relay else None
        yield Answer(row.online, position, bool(row.blocked), name)

    @property
    def answer(self) -> Answer:
        """The one of all."""
        answers = list(self.answers())
        assert answers == [answers[0]] * 4
        known = self.live.known(METER)
        assert known.online is answers[0].online
        return answers[0]


def heard(*messages: Message | Told | None) -> Answer:
    """What all know after these."""
    return Readers().hear(*messages).answer


def replay(message: Birth | Status | Relay | Access) -> Told:
    """It was retained before we subscribed."""
    return Told(message, retained=True)


SESSIONS = st.sampled_from(["s1", "s2", "s3"])
SECONDS = st.integers(-20, 20).map(lambda number: number * 30)  # also beyond what a clock may be ahead
MESSAGES = st.one_of(
    st.none(),
    st.builds(birth, SESSIONS, SECONDS, relay=st.booleans(), repeated=st.sampled_from([None, True])),
    st.builds(status, SESSIONS, SECONDS, online=st.booleans(), repeated=st.sampled_from([None, True])),
    st.builds(relay, st.sampled_from(["open", "closed"]), SECONDS, st.integers(0, 3)),
    st.builds(lambda seconds, allowed: access(allowed=allowed, seconds=seconds), SECONDS, st.booleans()),
)
TOLD = st.builds(
    lambda message, old, cleared: Told(message, old and message is not None, cleared),
    MESSAGES,
    st.booleans(),
    st.sampled_from(["birth", "status", "relay", "access"]),
)


@settings(max_examples=400)
@given(st.lists(TOLD, max_size=12))
def test_four_readers_give_one_answer_to_any_sequence(messages: Sequence[Told]) -> None:
    readers = Readers()
    for message in messages:
        assert readers.hear(message).answer  # after each of them


@settings(max_examples=200)
@given(
    st.lists(SECONDS, min_size=4, max_size=4, unique=True),
    st.sampled_from(["s1", "s2"]),
    st.sampled_from(["s1", "s2"]),
    st.booleans(),
    st.booleans(),
    st.lists(st.integers(0, 3), max_size=4),
)
def test_what_is_retained_has_one_answer_in_any_order_and_told_twice(
    seconds: list[int], born: str, told: str, online: bool, allowed: bool, again: list[int]
) -> None:
    """Who connects gets one message of each topic, the topics in an order of the broker's choice."""
    retained = [
        replay(birth(born, seconds[0])),
        replay(status(told, seconds[1], online=online)),
        replay(relay("open", seconds[2])),
        replay(access(allowed=allowed, seconds=seconds[3])),
    ]
    first = heard(*retained)
    for order in permutations(retained):
        assert heard(*order, *(retained[index] for index in again)) == first


@pytest.mark.parametrize("kind", ["birth", "status", "relay", "access"])
def test_what_is_cleared_is_no_longer_told_by_any_reader(kind: str) -> None:
    shut = [access(allowed=False)] if kind == "access" else []
    told = birth("s1"), status("s1", 1), relay("closed"), *shut
    before, after = heard(*told), heard(*told, Told(None, cleared=kind))
    assert before != after
    assert after.online is (kind in ("relay", "access"))
    assert (after.position is None) is (kind == "relay")
    assert not after.kept_out


def test_a_meter_without_a_relay_has_no_position_for_any_reader() -> None:
    without, old = birth("s1", relay=False), replay(relay("open"))
    assert heard(without, old).position is None
    assert heard(old, without).position is None


def test_the_sequence_of_the_issue_is_offline_for_all() -> None:
    assert not heard(birth("s1"), status("s2"), will("s2")).online
    assert not heard(birth("s1"), status("s2", 1), status("s2", 2, online=False)).online


@pytest.mark.parametrize("retained", [False, True])
def test_an_old_will_ends_no_new_session(retained: bool) -> None:
    before = (birth("s1", -60), status("s1", -60), birth("s2"), status("s2"))
    old = Told(will("s1", -60), retained=retained)
    assert heard(*before, old).online
    assert heard(*before[:3], old).online  # between birth and status
    assert not heard(*before, will("s2", -1)).online  # its ts is the time of the connect


def test_an_old_will_that_is_retained_over_the_new_session_s_status_ends_nothing() -> None:
    assert heard(replay(birth("s2")), replay(will("s1", -60))).online
    assert heard(replay(will("s1", -60)), replay(birth("s2"))).online


def test_a_session_that_ended_does_not_come_back_with_an_older_broker_file() -> None:
    ended = (birth("s1", -60), status("s1", -60), will("s1", -60))
    assert not heard(*ended, replay(status("s1", -60))).online
    assert not heard(*ended, replay(birth("s1", -60)), replay(status("s1", -60))).online
    assert heard(*ended, status("s1")).online  # one that says so itself
    assert heard(*ended, replay(status("s1"))).online


def test_an_older_session_never_replaces_a_newer_one() -> None:
    newer = (birth("s2"), will("s2"))
    older = (replay(birth("s1", -60)), replay(status("s1", -60)))
    assert heard(*newer, *older) == heard(*newer)


def test_a_meter_whose_clock_was_set_back_is_heard_again() -> None:
    """An hour back, in a new session; what the older broker had retained does not undo it."""
    before = (birth("s1"), status("s1"), relay("open", 0, 5))
    back = (birth("s2", -3600), status("s2", -3600), relay("closed", -3600, 5))
    now = Answer(online=True, position=Position.CLOSED, kept_out=False, name="born in s2")
    assert heard(*before, *back) == now
    assert heard(*before, *back, will("s1", -10)) == now
    assert heard(*before, *back, replay(birth("s1")), replay(status("s1"))) == now
    assert not heard(*before, *back, will("s2", -3600)).online


@pytest.mark.parametrize("retained", [False, True])
@pytest.mark.parametrize(
    ("seconds", "operations", "taken"),
    [(-1, 5, False), (-1, 4, False), (0, 4, False), (0, 5, True), (1, 4, True), (1, 5, True), (-1, 6, True)],
)
def test_an_older_relay_never_replaces_a_newer_one(
    seconds: int, operations: int, taken: bool, retained: bool
) -> None:
    """Older: neither its time nor its count of operations is larger."""
    told = heard(
        birth("s1"), status("s1"), relay("open", 0, 5), Told(relay("closed", seconds, operations), retained)
    )
    assert told.position is (Position.CLOSED if taken else Position.OPEN)


@pytest.mark.parametrize("retained", [False, True])
def test_the_registrar_s_older_decision_never_replaces_a_newer_one(retained: bool) -> None:
    here = (birth("s1"), status("s1"))
    out, let_in = access(allowed=False), access(allowed=True, seconds=1)
    assert heard(*here, out).kept_out
    assert not heard(*here, let_in, Told(out, retained=retained)).kept_out
    assert heard(*here, let_in, Told(out, retained=retained)).online
    assert heard(*here, out, Told(access(allowed=True, seconds=-1), retained=retained)).kept_out


def test_a_time_in_the_future_orders_nothing() -> None:
    """A registrar, or a meter, whose clock was a year ahead for a while freezes nothing."""
    assert not is_later(at(86_400), at(0), now=NOW)
    assert not heard(birth("s1"), access(allowed=False, seconds=86_400), access(allowed=True)).kept_out
    ahead = (birth("s1", 86_400), status("s1", 86_400), relay("open", 86_400, 1))
    assert heard(*ahead, replay(birth("s2")), replay(status("s2", online=False))).name == "born in s2"
    assert heard(*ahead, replay(relay("closed", 0, 1))).position is Position.CLOSED


def test_a_retired_meter_stays_out_of_service_until_it_is_born_again() -> None:
    here = (birth("s1"), status("s1"))
    assert heard(*here, None) == Answer(online=False, position=None, kept_out=False, name=None)
    assert heard(*here, None, replay(birth("s1"))).name is None  # from an older file of the broker
    assert heard(*here, None, replay(birth("s0", -60))).name is None
    assert heard(*here, None, status("s1", 1)).name is None  # it was retired while it runs
    assert not heard(*here, None, status("s1", 1)).online
    assert heard(*here, None, birth("s2", -60)).name == "born in s2"


def test_what_the_bridge_repeats_is_no_sign_of_life_and_replaces_nothing() -> None:
    here = (birth("s2"), status("s2"), relay("open", 0, 2))
    repeated = {"repeated": True}
    old = (
        birth("s1", -60, **repeated),
        status("s1", -60, online=False, **repeated),
        relay("closed", -60, 1, **repeated),
    )
    assert heard(*here, *old) == heard(*here)
    assert not heard(*old).online
    assert heard(*old).name == "born in s1"


def test_every_value_of_a_silent_meter_is_doubtful() -> None:
    fleet = Fleet(broker_up=True)
    meter = fleet.meter(METER)
    for message in (birth("s1"), status("s1"), relay("closed")):
        fleet.take_state(
            meter, type(message).__name__.lower(), message.payload(), now=utc_now(), monotonic=100.0
        )
    assert meter.relay_state(broker_up=True) is State.ONLINE  # it has just said so
    assert meter.state(broker_up=True) is State.STALE  # but has read nothing
    fleet.take_reading(meter, Reading(epoch=1, seq=1, ts=NOW), now=120.0, age=0.0)
    assert meter.state(broker_up=True) is State.ONLINE
    assert list(fleet.newly_stale(149.0)) == []
    assert list(fleet.newly_stale(150.0)) == [meter]
    assert meter.state(broker_up=True) is meter.relay_state(broker_up=True) is State.STALE
    assert list(fleet.newly_stale(151.0)) == []


def test_what_was_retained_before_the_reader_began_is_as_old_as_it_says() -> None:
    """A broker's old file: online, closed, all of it an hour old."""
    fleet = Fleet(broker_up=True)
    meter = fleet.meter(METER)
    for message in (birth("s1", -3600), status("s1", -3600), relay("closed", -3600)):
        kind = type(message).__name__.lower()
        fleet.take_state(meter, kind, message.payload(), now=utc_now(), retained=True, monotonic=10_000.0)
    old = Reading(epoch=1, seq=1, ts=at(-3600)).payload()
    assert fleet.take_payload(meter, old, now=10_000.0, retained=True)
    assert meter.online
    assert meter.state(broker_up=True) is meter.relay_state(broker_up=True) is State.STALE
    ahead = Reading(epoch=1, seq=2, ts=at(7200)).payload()  # its age is not known
    assert fleet.take_payload(meter, ahead, now=10_000.0, retained=True)
    assert meter.state(broker_up=True) is State.STALE
    assert fleet.take_payload(
        meter, Reading(epoch=1, seq=3, ts=at(7200)).payload(), now=10_000.0, retained=False
    )
    assert meter.state(broker_up=True) is meter.relay_state(broker_up=True) is State.ONLINE


def test_a_repeated_reading_is_as_old_as_it_says() -> None:
    fleet = Fleet(broker_up=True)
    meter = fleet.meter(METER)
    fleet.take_state(meter, "birth", birth("s1").payload(), now=utc_now(), monotonic=10_000.0)
    repeated = Reading(epoch=1, seq=1, ts=at(-3600), repeated=True).payload()
    assert fleet.take_payload(meter, repeated, now=10_000.0, retained=False)
    assert meter.stale


@pytest.mark.parametrize(
    ("epoch", "seq", "seconds", "retained", "taken"),
    [
        (1, 4, -1, False, False),
        (1, 4, 1, False, True),  # an outbox that was restored from a copy counts again from there
        (1, 4, -1, True, False),
        (2, 1, -1, True, False),  # of another outbox, and older
        (2, 1, -1, False, False),
        (2, 1, 1, True, True),
    ],
)
def test_an_older_reading_is_not_shown(
    epoch: int, seq: int, seconds: int, retained: bool, taken: bool
) -> None:
    fleet = Fleet(broker_up=True)
    meter = fleet.meter(METER)
    fleet.take_reading(meter, Reading(epoch=1, seq=5, ts=NOW), now=0.0, age=0.0)
    payload = Reading(epoch=epoch, seq=seq, ts=at(seconds)).payload()
    assert fleet.take_payload(meter, payload, now=1.0, retained=retained) is taken


def test_a_meter_that_was_never_born_is_not_in_service() -> None:
    """After a restart with an empty broker nothing is known: Beh must not be on."""
    meter = Fleet().meter(METER)
    assert behaviour_of(meter) is Behaviour.OFF
    assert meter.state(broker_up=True) is State.WITHDRAWN


def test_an_older_status_of_a_bridge_never_replaces_a_newer_one() -> None:
    def told(session: str, seconds: float, *, online: bool) -> bytes:
        return ServiceStatus(online=online, version="1", session=session, ts=at(seconds)).payload()

    fleet, live = Fleet(), Live(TOPICS, Hub())
    topic = TOPICS.service_status("bridge")
    for payload, retained in (
        (told("b", 0, online=True), False),
        (told("b", 0, online=False), False),
        (told("a", -60, online=True), True),
        (told("b", 0, online=True), True),
    ):
        fleet.take_bridge("bridge", payload, retained=retained)
        live.take(topic, payload, retained=retained)
    assert not fleet.bridge_up
    assert not live.services.known["bridge"].online
