"""Limits of the running bridge: a flood costs the good meter nothing, and an honest one loses nothing."""

from __future__ import annotations

import json
import uuid

import pytest

from bridge.ingest import rate_limits
from bridge.ingest.dead_letters import DeadLetters
from bridge.mqtt.notice import Dead
from bridge.store.dead_letters import MORE
from bridge.store.queries import Store
from tests.support.bridges import METER, OTHER, READING, TOPICS, birth, chain, eventually, reading, stamp
from tests.support.brokers import Broker
from tests.support.databases import migrated

pytest_plugins = ("tests.support.databases",)

NOW = 1_795_435_200_000


def test_a_flood_of_one_meter_is_left_out_and_the_other_is_stored(broker: Broker, database_url: str) -> None:
    with chain(broker, database_url, meter_message_rate=1, meter_message_burst=100) as rig:
        rig.client.start_publishing((READING, reading(seq)) for seq in range(1, 3001))
        for seq in range(1, 21):
            rig.client.publish(TOPICS.meter(OTHER, "reading"), reading(seq))
        eventually(lambda: rig.seqs(OTHER) == list(range(1, 21)), what="the good meter's readings")
        eventually(lambda: rig.client.counter("received") >= 3020)
        mine = rig.seqs()
        assert 100 <= len(mine) < 200
        eventually(lambda: rig.client.counter("limited") == 3000 - len(rig.seqs()))
        eventually(lambda: rig.confirmed() == set(rig.seqs()), what="only what is stored is confirmed")
        (letter,) = (letter for letter in rig.dead() if letter.cause == rate_limits.MESSAGES)
        assert (letter.topic, letter.size, letter.count) == (READING, 0, 3000 - len(rig.seqs()))
        assert rig.bridge.log.read_text().count(rate_limits.MESSAGES) == 1


def test_an_honest_meter_loses_nothing_to_a_limit_that_is_too_low(broker: Broker, database_url: str) -> None:
    """It sends again what is not confirmed, oldest first, a batch at a time."""
    outbox = set(range(1, 201))
    with chain(broker, database_url, meter_reading_rate=100, meter_reading_burst=50) as rig:

        def drained() -> bool:
            left = sorted(outbox - rig.confirmed())
            if left:
                items = ",".join(reading(seq) for seq in left[:40])
                rig.client.publish(TOPICS.meter(METER, "history"), f'{{"readings":[{items}]}}')
            return not left

        eventually(drained)
        assert set(rig.seqs()) == outbox
        eventually(lambda: rig.client.counter("limited") > 0, what="the limit was reached")


def test_a_flood_of_births_registers_so_many(broker: Broker, database_url: str) -> None:
    births = [(str(uuid.uuid4()), birth()) for _ in range(300)]
    with chain(broker, database_url, new_meters_per_minute=0.001, new_meter_burst=20) as rig:
        rig.client.publish(TOPICS.meter(METER, "birth"), birth())
        eventually(rig.meter)
        rig.client.start_publishing(
            (TOPICS.meter(meter_id, "birth"), payload) for meter_id, payload in births
        )
        eventually(lambda: rig.client.counter("received") >= 301)
        stranger = next(
            meter_id for meter_id, _ in births if rig.meter(meter_id) is None
        )  # its readings are left out too
        rig.client.publish(TOPICS.meter(stranger, "reading"), reading(1))
        rig.client.publish(READING, reading(1))
        eventually(lambda: rig.stored(1), what="a known meter's reading")
        eventually(lambda: rig.client.counter("limited") == 282)
        assert len(rig.store.meters()) == 20
        assert TOPICS.meter(stranger, "stored") not in rig.client.latest
        (letter,) = rig.dead()
        assert (letter.topic, letter.cause, letter.count) == (MORE, rate_limits.NEW_METERS, 282)


def test_a_birth_that_was_left_out_waits_its_turn(broker: Broker, database_url: str) -> None:
    """It is published once in a connection, so nobody would send it again."""
    with chain(broker, database_url, new_meters_per_minute=12, new_meter_burst=1) as rig:
        for meter_id in (METER, OTHER):
            rig.client.publish(TOPICS.meter(meter_id, "birth"), birth())

        def both() -> bool:
            rig.client.publish(READING, reading(1))
            return all((meter := rig.meter(meter_id)) and meter.born_at for meter_id in (METER, OTHER))

        eventually(both)
        eventually(lambda: rig.client.counter("limited") >= 1)
        rig.wait_revision(lambda revision: revision.meters == 2)


def test_a_flood_of_results_fills_no_ledger(broker: Broker, database_url: str) -> None:
    with chain(broker, database_url, meter_command_rate=0.1, meter_command_burst=10) as rig:
        topic = TOPICS.meter(METER, "result")
        results = ({"command_id": f"c{n}", "outcome": "done", "ts": stamp()} for n in range(500))
        rig.client.start_publishing((topic, json.dumps(result)) for result in results)
        eventually(lambda: rig.client.counter("limited") >= 480)
        eventually(lambda: rig.client.counter("received") >= 500)
        assert len(rig.store.commands(last=1000)) <= 20
        assert len(list(rig.store.audit())) == len(rig.store.commands(last=1000))


@pytest.mark.parametrize(
    ("bound", "kept"),
    [({"per_meter": 5}, 10), ({"per_cause": 8}, 8), ({"max_bytes": 700}, 7)],
    ids=["of one meter", "of one cause", "in all"],
)
def test_dead_letters_are_bounded(database_url: str, bound: dict[str, int], kept: int) -> None:
    engine = migrated(database_url)
    dead = [Dead(f"sm/v1/{meter}/reading".encode(), b"%100d" % n, "bad") for n in range(50) for meter in "ab"]
    for again in range(2):  # a new process counts what is there
        letters = DeadLetters(**({"per_cause": 1000} | bound))
        for begin in range(0, 100, 10):
            with engine.begin() as connection:
                letters.write(connection, dead[begin : begin + 10], NOW + again)
    with Store.open(database_url) as store:
        rows = store.dead_letters(last=1000)
    assert sum(row.topic != MORE for row in rows) == kept
    assert sum(row.count for row in rows) == 200
    engine.dispose()
