"""What a batch means: one bad message never hurts another, and `stored` says exactly what is safe."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.ingest import parse
from bridge.ingest.classify import Sorter
from bridge.ingest.work import Work
from bridge.mqtt.notice import BadCommand, Dead, Withdrawal
from broker.contract.birth import Birth
from broker.contract.block import Block
from broker.contract.reading import Stored
from broker.contract.relay import Command, Relay
from broker.contract.result import Refusal, Result
from broker.contract.status import Status
from broker.contract.topics import Topics
from broker.mqtt.packets import DUP, RETAIN, Publish

TOPICS = Topics("sm/v1")
METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
NOW = 1_795_435_200_000
TS = "2026-11-23T12:00:00.000Z"
ORIGIN = {"category": "remote-control", "identifier": "op"}
COMMAND = {"command_id": "c-1", "position": "open", "issued_at": TS, "expires_at": TS, "origin": ORIGIN}
BLOCK = {"open": True, "close": False, "ts": TS, "origin": ORIGIN}

# fmt: off
GOOD: dict[str, tuple[str, object, type]] = {
    "birth": (TOPICS.meter(METER, "birth"),
              {"name": "n", "hardware": {"serial": "1"}, "firmware": "1", "interval": 10, "session": "a",
               "ts": TS},
              Birth),
    "status": (TOPICS.meter(METER, "status"), {"online": True, "session": "a", "ts": TS}, Status),
    "relay": (TOPICS.meter(METER, "relay"), {"position": "open", "operations": 1, "ts": TS}, Relay),
    "command": (TOPICS.meter(METER, "command"), COMMAND, Command),
    "result": (TOPICS.meter(METER, "result"), {"command_id": "c-1", "outcome": "done", "ts": TS}, Result),
    "block": (TOPICS.meter(METER, "block"), BLOCK, Block),
    "refused": (TOPICS.refused("mms"), {"meter_id": METER, "command": COMMAND, "reason": "offline", "ts": TS},
                Refusal),
}
# fmt: on


def message(topic: str, payload: object, *, flags: int = 0) -> Publish:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Publish(topic.encode(), data, b"", flags)


def reading(seq: int, *, epoch: int = 1, ts: str = TS, **others: object) -> dict[str, object]:
    return {"epoch": epoch, "seq": seq, "ts": ts, **others}


def live(seq: int, **others: object) -> Publish:
    return message(TOPICS.meter(METER, "reading"), reading(seq, **others))  # type: ignore[arg-type]


def sort(*messages: Publish, keys: dict[str, int] | None = None) -> Work:
    return Sorter(TOPICS, keys=keys or {}).sort(messages, now=NOW)


def stored(work: Work) -> list[tuple[int, int, int]]:
    answers = list(work.stored(blocks=True))
    assert {topic for topic, _ in answers} <= {TOPICS.meter(METER, "stored").encode()}
    parsed = [Stored.model_validate_json(payload) for _, payload in answers]
    return [(answer.epoch, answer.first, answer.seq) for answer in parsed]


def senders(work: Work) -> list[tuple[int, int, str | None]]:
    parsed = [Stored.model_validate_json(payload) for _, payload in work.stored(blocks=True)]
    return [(answer.first, answer.seq, answer.instance) for answer in parsed]


def test_a_bad_reading_between_good_ones() -> None:
    work = sort(live(1), live(2, ts="never"), message(TOPICS.meter(METER, "reading"), b"{"), live(3))
    assert [row[2] for row in work.rows] == [1, 3]
    assert [letter.cause for letter in work.dead] == [
        "reading: ts: Input should be a valid datetime or date, input is too short",
        "reading: is not JSON",
    ]
    assert stored(work) == [(1, 1, 3)], "the bad one is safely kept, too: its meter may forget it"
    assert [letter.reading for letter in work.dead] == [
        (TOPICS.meter(METER, "stored").encode(), 1, 2, "-"),
        None,
    ]


def test_a_bad_quantity_between_good_ones_costs_itself() -> None:
    history = {"readings": [reading(3, current=-0.001, alarm="overload"), reading(4)]}
    work = sort(live(1), live(2, voltage="much"), message(TOPICS.meter(METER, "history"), history))
    assert [row[2] for row in work.rows] == [1, 2, 3, 4]
    assert work.dead == []
    assert stored(work) == [(1, 1, 4)]
    assert sorted((letter.cause.split()[1], count) for letter, count in work.spoiled.items()) == [
        ("alarm", 1), ("current", 1), ("voltage", 1),
    ]  # fmt: skip


def test_a_confirmation_can_be_taken_back_for_some() -> None:
    work = sort(*(live(seq) for seq in (1, 2, 3, 7, 5, 6)))
    topic = TOPICS.meter(METER, "stored").encode()
    work.withhold({(topic, 1, 2, "-"), (topic, 1, 7, "-"), (topic, 2, 3, "-"), (b"another", 1, 1, "-")})
    assert stored(work) == [(1, 1, 1), (1, 3, 3), (1, 5, 6)]


def test_rows_have_the_key_of_a_known_meter_and_the_id_of_a_stranger() -> None:
    assert sort(live(1)).rows[0][0] == METER
    assert sort(live(1), keys={METER: 7}).rows[0][0] == 7


def test_every_reading_of_a_history_counts_for_itself() -> None:
    items = [reading(1), reading(2, ts="2026-11-24T12:00:00.000Z"), {"no": "reading"}, reading(4)]
    work = sort(message(TOPICS.meter(METER, "history"), {"readings": items}))
    assert [row[2] for row in work.rows] == [1, 4]
    assert [(json.loads(letter.payload), letter.cause) for letter in work.dead] == [
        (items[1], "history: ts: is in the future"),
        (items[2], "history: epoch: Field required"),
    ]
    assert stored(work) == [(1, 1, 2), (1, 4, 4)]


def test_a_clock_may_be_ahead_within_the_tolerance() -> None:
    work = sort(live(1, ts="2026-11-23T12:05:00.000Z"), live(2, ts="2026-11-23T12:05:00.001Z"))
    assert [row[2] for row in work.rows] == [1]
    assert work.dead == []
    assert [letter.cause for letter in work.limited] == [parse.EARLY]
    assert stored(work) == [(1, 1, 1)], "its meter keeps the other one until its time has come"
    later = Sorter(TOPICS, keys={}).sort([live(2, ts="2026-11-23T12:05:00.001Z")], now=NOW + 1)
    assert stored(later) == [(1, 2, 2)]


def test_a_reading_from_the_future_stays_with_its_meter_while_our_clock_is_in_doubt() -> None:
    """A bridge that starts before NTP answers must not have good readings forgotten."""
    history = {"readings": [reading(2, ts="2026-11-24T12:00:00.000Z"), {"no": "reading"}, reading(3)]}
    messages = [live(1, ts="2026-11-24T12:00:00.000Z"), message(TOPICS.meter(METER, "history"), history)]
    work = Sorter(TOPICS, keys={}, clock_kept=lambda: False).sort(messages, now=NOW)
    assert [row[2] for row in work.rows] == [3]
    assert stored(work) == [(1, 3, 3)]
    assert [letter.cause for letter in work.dead] == ["history: epoch: Field required"]
    assert [(letter.cause, count) for letter, count in work.limited.items()] == [
        (parse.DOUBTFUL, 1), (parse.DOUBTFUL, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", GOOD)
def test_each_kind_becomes_a_notice_with_its_model(kind: str) -> None:
    topic, payload, model = GOOD[kind]
    work = sort(message(topic, payload, flags=RETAIN | DUP))
    (notice,) = work.events if kind in ("birth", "status", "relay") else work.entries
    assert notice.meter_id == METER
    assert isinstance(notice.message, model)
    assert notice.retained
    assert notice.again
    assert not work.dead


@pytest.mark.parametrize("kind", ["birth", "relay", "status"])
def test_what_is_far_in_the_future_is_a_dead_letter(kind: str) -> None:
    topic, payload, _ = GOOD[kind]
    assert isinstance(payload, dict)
    work = sort(message(topic, payload | {"ts": "2026-11-24T12:00:00.000Z"}))
    assert [letter.cause.removeprefix(f"{kind}: ") for letter in work.dead] == ["ts: is in the future"]
    assert not work.events
    assert not work.early


@pytest.mark.parametrize("kind", ["birth", "relay", "status"])
@pytest.mark.parametrize(
    ("ts", "ntp"), [("2026-11-23T13:00:00.000Z", True), ("2027-11-23T13:00:00.000Z", False)]
)
def test_what_seems_to_come_from_the_future_waits(kind: str, ts: str, ntp: bool) -> None:
    """It may be our clock that is an hour behind."""
    topic, payload, _ = GOOD[kind]
    assert isinstance(payload, dict)
    told = message(topic, payload | {"ts": ts})
    work = Sorter(TOPICS, keys={}, clock_kept=lambda: ntp).sort([told], now=NOW)
    assert [early.source for early in work.early] == [told]
    assert not work.dead
    assert not work.events
    later = Sorter(TOPICS, keys={}).sort([told], now=work.early[0].ts - 300_000)
    assert [notice.source for notice in later.events] == [told]


@pytest.mark.parametrize("kind", ["result", "refused"])
def test_what_has_happened_is_recorded_whatever_the_clocks_say(kind: str) -> None:
    topic, payload, _ = GOOD[kind]
    assert isinstance(payload, dict)
    work = sort(message(topic, payload | {"ts": "2026-11-24T12:00:00.000Z"}))
    assert len(work.entries) == 1
    assert not work.dead


@pytest.mark.parametrize(
    ("topic", "cause"),
    [
        ("sm/v1/3F2504E0-4F89-41D3-9A0C-0305E82C3301/reading", "meter_id is not a UUID in canonical form"),
        ("sm/v1/meter-7/birth", "meter_id is not a UUID in canonical form"),
        ("sm/v1/00000000-0000-0000-0000-000000000000/reading", "meter_id is not a UUID in canonical form"),
        (f"sm/v1/{METER}/voltage", "topic is not of the contract"),
        (f"sm/v1/{METER}/reading/x", "topic is not of the contract"),
        ("sm/v1/meter-7", "topic is not of the contract"),
        ("sm/v1/service/x/y", "topic is not of the contract"),
        ("sm/v1", "topic is not of the contract"),
        ("other", "topic is not of the contract"),
    ],
)
def test_an_unknown_topic_is_a_dead_letter(topic: str, cause: str) -> None:
    work = sort(message(topic, reading(1)), live(2))
    assert work.dead == [Dead(topic.encode(), json.dumps(reading(1)).encode(), cause)]
    assert stored(work) == [(1, 2, 2)], "nobody is told that the reading of no meter is safe"


@pytest.mark.parametrize(
    "topic",
    [
        TOPICS.scd,
        TOPICS.revision,
        TOPICS.cid("SMGW001"),
        TOPICS.meter(METER, "stored"),
    ],
)
def test_what_bridge_and_services_say_is_no_dead_letter(topic: str) -> None:
    work = sort(message(topic, b"<SCL/>"), message(topic, b""))
    assert [work.dead, work.events, work.entries, work.rows] == [[], [], [], []]


def test_a_status_of_a_service_that_is_none_is_a_dead_letter() -> None:
    (dead,) = sort(message(TOPICS.service_status("mms"), b"<SCL/>")).dead
    assert dead.cause == "is not JSON"


@pytest.mark.parametrize("kind", ["reading", "command", "block"])
def test_clearing_a_retained_topic_is_no_dead_letter(kind: str) -> None:
    work = sort(message(TOPICS.meter(METER, kind), b""))
    assert [work.dead, work.events, work.entries, work.rows] == [[], [], [], []]


@pytest.mark.parametrize("kind", ["history", "result"])
def test_an_empty_message_on_any_other_topic_is_one(kind: str) -> None:
    assert sort(message(TOPICS.meter(METER, kind), b"")).dead[0].cause == f"{kind}: is not JSON"


@pytest.mark.parametrize("kind", ["birth", "status", "relay", "access"])
def test_what_is_cleared_is_taken_back(kind: str) -> None:
    (notice,) = sort(message(TOPICS.meter(METER, kind), b"")).events
    assert (notice.meter_id, notice.message) == (METER, Withdrawal(kind=kind))


def test_a_command_for_an_unknown_position_is_a_dead_letter_and_in_the_ledger() -> None:
    work = sort(message(TOPICS.meter(METER, "command"), COMMAND | {"position": "half"}))
    cause = "position: Input should be 'open' or 'closed'"
    assert [letter.cause for letter in work.dead] == [f"command: {cause}"]
    assert [notice.message for notice in work.entries] == [BadCommand(command_id="c-1", reason=cause)]


def test_a_refusal_for_no_meter_is_a_dead_letter() -> None:
    topic, payload, _ = GOOD["refused"]
    assert isinstance(payload, dict)
    work = sort(message(topic, payload | {"meter_id": "meter-7"}))
    assert work.dead[0].cause == "meter_id: is not a UUID in canonical form"


def test_a_refusal_of_a_block_needs_no_command_and_one_of_nothing_is_a_dead_letter() -> None:
    topic = TOPICS.refused("mms")
    (notice,) = sort(message(topic, {"meter_id": METER, "block": BLOCK, "reason": "r", "ts": TS})).entries
    assert isinstance(notice.message, Refusal)
    assert notice.message.block is not None
    (dead,) = sort(message(topic, {"meter_id": METER, "reason": "r", "ts": TS})).dead
    assert dead.cause == "command: Field required"


@given(st.lists(st.tuples(st.integers(1, 2), st.integers(1, 12)), max_size=30))
def test_ranges_cover_exactly_what_was_confirmed(pairs: list[tuple[int, int]]) -> None:
    work = Work(NOW)
    for epoch, seq in pairs:
        work.confirm(TOPICS.meter(METER, "stored").encode(), epoch, seq, "-")
    told = {(epoch, seq) for epoch, first, last in stored(work) for seq in range(first, last + 1)}
    assert told == set(pairs)


def test_neighbours_become_one_range() -> None:
    assert stored(sort(*(live(seq) for seq in (3, 4, 4, 5, 9, 10, 1)))) == [(1, 3, 5), (1, 9, 10), (1, 1, 1)]


def test_a_confirmation_is_for_whoever_sent_the_readings() -> None:
    """Of two meters with one identity, whose readings have one name, in one batch."""
    tomorrow = live(9, ts="2026-11-24T12:00:00.000Z", instance="b")
    work = sort(live(1, instance="a"), live(2, instance="a"), live(2, instance="b"), live(3), tomorrow)
    assert work.senders == ["a", "a", "b", "-"]
    assert senders(work) == [(1, 2, "a"), (2, 2, "b"), (3, 3, "-"), (9, 9, "b")]
    topic = TOPICS.meter(METER, "stored").encode()
    work.withhold({(topic, 1, 2, "a"), (topic, 1, 3, "b")})
    assert senders(work) == [(1, 1, "a"), (2, 2, "b"), (3, 3, "-"), (9, 9, "b")]


def test_readings_that_are_left_out_leave_the_senders_of_the_others() -> None:
    other = "00000000-0000-4000-8000-000000000000"
    stranger = message(TOPICS.meter(other, "reading"), reading(1, instance="b"))
    work = sort(live(1, instance="a"), stranger, live(2, instance="c"))
    work.leave_out({other}, b"more", "cause")
    assert [row[2] for row in work.rows] == [1, 2]
    assert work.senders == ["a", "c"]


@pytest.mark.parametrize("now", [0, 10**14])
def test_a_clock_that_was_never_set_costs_no_confirmation(now: int) -> None:
    work = Work(now)
    work.confirm(b"stored", 1, 7, "-")
    ((_, payload),) = work.stored(blocks=True)
    assert Stored.model_validate_json(payload).seq == 7
