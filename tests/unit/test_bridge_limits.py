"""Limits: what exceeds one is neither stored nor confirmed, and costs nobody else anything."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.ingest import rate_limits
from bridge.ingest.classify import Sorter
from bridge.ingest.new_meters import Newcomers
from bridge.ingest.rate_limits import Allowance, Limits, Rate
from bridge.ingest.work import Work
from bridge.mqtt.notice import Dead
from broker.contract.topics import Topics
from broker.mqtt.packets import Publish

TOPICS = Topics("sm/v1")
NOW = 1_795_435_200_000
TS = "2026-11-23T12:00:00.000Z"
METERS = tuple(f"3f2504e0-4f89-41d3-9a0c-{number:012x}" for number in range(3))
FEW = Limits(
    messages=Rate(1, 5), readings=Rate(10, 20), commands=Rate(1, 2), issuer=Rate(1, 4), new_meters=Rate(1, 2)
)


def sorter(limits: Limits = FEW) -> Sorter:
    return Sorter(TOPICS, keys={}, limits=limits)


def message(kind: str, fields: object, *, meter: int = 0) -> Publish:
    return Publish(TOPICS.meter(METERS[meter], kind).encode(), json.dumps(fields).encode(), b"", 0)


def reading(seq: int) -> dict[str, object]:
    return {"epoch": 1, "seq": seq, "ts": TS}


def live(seq: int, *, meter: int = 0) -> Publish:
    return message("reading", reading(seq), meter=meter)


def history(first: int, count: int) -> Publish:
    return message("history", {"readings": [reading(seq) for seq in range(first, first + count)]})


def command(command_id: str, *, meter: int = 0, who: str = "op", **others: object) -> Publish:
    origin = {"category": "remote-control", "identifier": who}
    times = {"issued_at": TS, "expires_at": TS}
    fields = {"command_id": command_id, "position": "open", "origin": origin, **times}
    return message("command", fields | others, meter=meter)


def result(command_id: str) -> Publish:
    return message("result", {"command_id": command_id, "outcome": "done", "ts": TS})


def refusal(number: int, who: str) -> Publish:
    wanted: dict[str, Any] = json.loads(command(f"r{number}", who=who).payload)
    fields = {"meter_id": METERS[0], "command": wanted, "reason": "offline", "ts": TS}
    return Publish(TOPICS.refused("mms").encode(), json.dumps(fields).encode(), b"", 0)


def seqs(work: Work) -> list[int]:
    return [row[2] for row in work.rows]


def confirmed(work: Work) -> set[int]:
    told = [json.loads(payload) for _, payload in work.stored(blocks=True)]
    return {seq for told_ in told for seq in range(told_["first"], told_["seq"] + 1)}


@given(
    st.floats(0.1, 100),
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 60)), max_size=60),
)
def test_no_time_lets_more_through_than_it_may(
    per_second: float, burst: int, takes: list[tuple[int, int]]
) -> None:
    allowance, now = Allowance(Rate(per_second, burst), now=0), 0
    passed: list[tuple[int, int]] = []
    for wait, count in takes:
        now += wait
        if allowance.take(count, now=now):
            passed.append((now, count))
    for start, (begin, _) in enumerate(passed):
        let, largest = 0, 0
        for end, count in passed[start:]:
            let, largest = let + count, max(largest, count)
            assert let <= 2 * max(burst, largest) + per_second * (end - begin) / 1000 + 1e-6


def test_who_waits_may_go_on() -> None:
    allowance = Allowance(Rate(2, 3), now=0)
    assert [allowance.take(1, now=0) for _ in range(4)] == [True, True, True, False]
    assert [allowance.take(1, now=1000) for _ in range(3)] == [True, True, False]
    assert allowance.take(1, now=-60_000) is False, "a clock that is set back gives nothing"
    assert [allowance.take(1, now=3_600_000) for _ in range(4)] == [True, True, True, False]


def test_a_history_larger_than_the_burst_passes_a_full_bucket() -> None:
    """Else a limit that is set too low would hold an honest meter back for ever."""
    allowance = Allowance(Rate(10, 20), now=0)
    assert allowance.take(200, now=0)
    assert not allowance.take(1, now=1000)
    assert allowance.take(200, now=60_000)


def test_messages_beyond_the_limit_are_left_out_unconfirmed_and_others_are_not_touched() -> None:
    sorting = sorter()
    work = sorting.sort([*map(live, range(1, 9)), live(1, meter=1)], now=NOW)
    assert seqs(work) == [1, 2, 3, 4, 5, 1]
    assert confirmed(work) == {1, 2, 3, 4, 5}
    topic = TOPICS.meter(METERS[0], "reading").encode()
    assert work.limited == {Dead(topic, b"", rate_limits.MESSAGES): 3}
    assert not work.dead
    later = sorting.sort([live(6), live(7), live(8)], now=NOW + 2000)
    assert seqs(later) == [6, 7], "they come again, and time has passed"


def test_all_kinds_of_a_meter_count_together() -> None:
    status = message("status", {"online": True, "session": "s", "ts": TS})
    work = sorter().sort([*[status] * 5, live(1)], now=NOW)
    assert len(work.events) == 5
    assert work.limited.total() == 1


def test_a_history_beyond_the_limit_is_left_out_whole() -> None:
    sorting = sorter()
    work = sorting.sort([history(1, 15), history(16, 15)], now=NOW)
    assert seqs(work) == list(range(1, 16))
    assert confirmed(work) == set(range(1, 16))
    assert [letter.cause for letter in work.limited] == [rate_limits.READINGS]
    assert seqs(sorting.sort([history(16, 15)], now=NOW + 1000)) == list(range(16, 31))


def test_the_ledger_takes_so_much_of_one_meter() -> None:
    work = sorter().sort([result("a"), result("b"), result("c"), command("d", meter=1)], now=NOW)
    assert [entry.meter_id for entry in work.entries] == [METERS[0], METERS[0], METERS[1]]
    assert [letter.cause for letter in work.limited] == [rate_limits.COMMANDS]


def test_a_flood_hides_no_command_that_was_obeyed() -> None:
    """What an issuer could do who wants no record; the meter itself switches once a second at most."""
    busy = sorter(replace(FEW, messages=Rate(100, 100)))
    busy.sort([command(f"c{number}") for number in range(5)], now=NOW)
    work = busy.sort([command("real"), result("real")], now=NOW)
    assert [type(entry.message).__name__ for entry in work.entries] == ["Result"]
    flood = busy.sort([result(f"r{number}") for number in range(5)], now=NOW)
    assert len(flood.entries) == 1  # a hostile meter is held back all the same


def test_bad_commands_count_too() -> None:
    work = sorter().sort([command(f"c{n}", position="half") for n in range(4)], now=NOW)
    assert len(work.entries) == 2
    assert len(work.dead) == 4, "kept aside, which is bounded by itself"


def test_the_ledger_takes_so_much_of_one_issuer() -> None:
    orders = [command(f"c{n}", meter=n % 3) for n in range(6)]
    work = sorter().sort([*orders, command("d", meter=1, who="another")], now=NOW)
    assert len(work.entries) == 5
    assert [letter.cause for letter in work.limited] == [rate_limits.ISSUER] * len(work.limited)
    assert work.limited.total() == 2


def test_refusals_count_for_their_issuer_and_not_for_the_meter() -> None:
    work = sorter().sort([*(refusal(n, "scada") for n in range(6)), command("c1")], now=NOW)
    assert len(work.entries) == 5
    assert work.limited.total() == 2


def test_what_is_on_no_topic_of_the_contract_counts_as_one_meter() -> None:
    rubbish = [Publish(b"sm/v1/%d" % number, b"x", b"", 0) for number in range(8)]
    work = sorter().sort([*rubbish, live(1)], now=NOW)
    assert len(work.dead) == 5
    assert work.limited.total() == 3
    assert seqs(work) == [1]


def test_what_services_publish_has_no_limit() -> None:
    status = Publish(TOPICS.service_status("mms").encode(), b"{}", b"", 0)
    assert not sorter().sort([status] * 1000, now=NOW).limited


def test_only_so_many_new_meters() -> None:
    newcomers = Newcomers(Rate(1, 2))
    assert newcomers.admitted(["a", "b", "c"], now=NOW) == ["a", "b"]
    assert newcomers.admitted(["c", "d"], now=NOW) == []
    assert newcomers.admitted(["c", "d"], now=NOW + 1000) == ["c"]
    assert newcomers.admitted([], now=NOW + 1000) == []


def test_births_that_were_left_out_wait_their_turn() -> None:
    birth = {
        "name": "n",
        "hardware": {"serial": "1"},
        "firmware": "1",
        "interval": 10,
        "session": "a",
        "ts": TS,
    }
    births = [message("birth", birth, meter=meter) for meter in (0, 1, 0, 2)]
    status = message("status", {"online": True, "session": "s", "ts": TS})
    newcomers = Newcomers(Rate(1, 2))
    assert newcomers.admitted(["a", "b"], now=NOW) == ["a", "b"]
    newcomers.wait(sorter(Limits()).sort([*births, status], now=NOW).events)
    assert newcomers.due(now=NOW) == []
    assert [event.meter_id for event in newcomers.due(now=NOW + 1000)] == [METERS[0]]
    assert newcomers.admitted([METERS[0]], now=NOW + 1000) == [METERS[0]]
    assert [event.meter_id for event in newcomers.due(now=NOW + 9000)] == [METERS[1], METERS[2]]
    assert newcomers.due(now=NOW + 9000) == []


@pytest.mark.parametrize("rate", ["messages", "readings"])
def test_the_defaults_hold_back_no_honest_meter(rate: str) -> None:
    """The shortest interval, and an outbox of 30 days at 10 s as fast as it can be drained."""
    allowed: Rate = getattr(Limits(), rate)
    assert allowed.per_second > 1 / 0.05
    assert allowed.burst >= {"messages": 100_000, "readings": 30 * 8640}[rate]


def told_by(person: str, number: int, *, topic_meter: int = 0, meter: int = 0) -> Publish:
    """A refusal that a person tells, each time with another origin."""
    payload = json.loads(refusal(number, f"invented {number}").payload) | {"meter_id": METERS[meter]}
    return Publish(TOPICS.refused(person, METERS[topic_meter]).encode(), json.dumps(payload).encode(), b"", 0)


def test_a_person_tells_of_the_meter_in_the_topic_alone() -> None:
    """The broker lets one who is confined to some meters publish on their topics only."""
    work = sorter().sort([told_by("otto", 1, meter=1), told_by("otto", 2)], now=NOW)
    assert [entry.meter_id for entry in work.entries] == [METERS[0]]
    assert [dead.cause for dead in work.dead] == ["meter_id: is another than the topic's"]


def test_a_flood_of_invented_refusals_is_the_publishers_own() -> None:
    """Whatever it says of origins and meters; others, and what services tell, are none the worse."""
    one = sorter()
    flood = [told_by("otto", number, topic_meter=number % 3, meter=number % 3) for number in range(3000)]
    work = one.sort(flood, now=NOW)
    assert len(work.entries) == FEW.commands.burst
    assert sum(work.limited.values()) == 3000 - FEW.commands.burst
    after = one.sort([told_by("anna", 1), refusal(1, "scada"), command("c1")], now=NOW)
    assert len(after.entries) == 3


def test_a_flood_of_malformed_refusals_is_limited_too() -> None:
    topic = TOPICS.refused("otto", METERS[0]).encode()
    work = sorter().sort([Publish(topic, b"%d" % number, b"", 0) for number in range(100)], now=NOW)
    assert len(work.dead) == FEW.commands.burst
