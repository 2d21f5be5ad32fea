"""The ledger's deadlines, the bound of dead letters, and the bridge's metrics, on both databases."""

from __future__ import annotations

import json
from functools import partial
from itertools import count

import pytest
from sqlmodel import Session

from bridge.ingest.dead_letters import DeadLetters
from bridge.ingest.ledger import Deadlines
from bridge.mqtt.notice import Dead
from bridge.store import dead_letters
from bridge.store.audit import now_ms
from bridge.store.dead_letters import MORE
from bridge.store.queries import Store
from bridge.store.tables import Command, DeadLetter
from broker.contract.result import Outcome
from tests.integration.test_mms_observe import fetched, metrics
from tests.support.bridges import (
    BIRTH,
    METER,
    READING,
    TOPICS,
    birth,
    chain,
    command,
    eventually,
    reading,
    stamp,
)
from tests.support.brokers import Broker, free_port
from tests.support.databases import migrated

pytest_plugins = ("tests.support.databases",)

NOW = 1_795_435_200_000


def test_a_command_without_answer_times_out_and_a_late_answer_counts(
    broker: Broker, database_url: str
) -> None:
    with chain(broker, database_url, command_grace=0.2) as rig:
        rig.client.publish(TOPICS.meter(METER, "command"), command("c1", expires_at=stamp(seconds=0.2)))

        def outcome() -> tuple[str, str]:
            row = rig.store.command("c1")
            return (row.outcome, row.late_outcome) if row else ("", "")

        eventually(lambda: outcome() == ("timed out", ""))
        for late, told in ((Outcome.REFUSED, ("timed out", "refused")), (Outcome.DONE, ("done", ""))):
            result = {"command_id": "c1", "outcome": late, "ts": stamp()}
            rig.client.publish(TOPICS.meter(METER, "result"), json.dumps(result))
            eventually(partial(lambda told: outcome() == told, told))
        row = rig.store.command("c1")
        assert row is not None
        assert row.reason == "told as timed out before: the meter did not answer"


def test_a_command_that_came_late_has_its_time_to_be_answered(database_url: str) -> None:
    """Its meter says that it has expired; timed out it is only when that does not come either."""
    engine = migrated(database_url)
    now = now_ms()
    with Session(engine) as session:
        for name, received in (("new", now), ("old", now - 120_000)):
            session.add(
                Command(command_id=name, meter_id=METER, received_at=received, expires_at=now - 180_000)
            )
        session.commit()
    Deadlines(engine, grace=60.0).enforce()
    with Store.open(database_url) as store:
        assert {row.command_id: row.outcome for row in store.commands()} == {"new": "", "old": "timed out"}
    engine.dispose()


def test_a_flood_of_bad_messages_is_bounded_and_costs_no_good_reading(
    broker: Broker, database_url: str
) -> None:
    with chain(broker, database_url, dead_letters_per_cause=50) as rig:
        flood = [(READING, json.dumps({"n": number})) for number in range(2000)]
        rig.client.start_publishing(flood)
        rig.client.publish(READING, reading(1))
        eventually(lambda: rig.stored(1))
        eventually(lambda: sum(letter.count for letter in rig.store.dead_letters(last=10_000)) == 2000)
        kept = rig.store.dead_letters(last=10_000)
        assert sum(letter.topic != MORE for letter in kept) == 50
        assert [letter.count for letter in kept if letter.topic == MORE] == [1950]


def test_purged_letters_make_room_again(sqlite_url: str) -> None:
    engine = migrated(sqlite_url)
    letters = DeadLetters(per_cause=2)
    with engine.begin() as connection:
        letters.write(connection, [Dead(b"t", b"%d" % n, "bad") for n in range(5)], NOW)
    assert _rows(sqlite_url) == [("t", 1), ("t", 1), (MORE, 3)]
    assert dead_letters.purge(engine) == 3
    with engine.begin() as connection:
        letters.write(connection, [Dead(b"t", b"new", "bad")], NOW + 120_000)
    assert _rows(sqlite_url) == [("t", 1)]
    engine.dispose()


def _rows(url: str) -> list[tuple[str, int]]:
    with Store.open(url) as store:
        return sorted(
            ((letter.topic, letter.count) for letter in store.dead_letters()), key=lambda row: row[0] == MORE
        )


@pytest.mark.parametrize("which", ["keys", "before", "all"])
def test_purge_deletes_what_is_named(database_url: str, which: str) -> None:
    engine = migrated(database_url)
    letters = DeadLetters(per_cause=10)
    with engine.begin() as connection:
        letters.write(connection, [Dead(b"old", b"1", "bad")], NOW)
        letters.write(connection, [Dead(b"new", b"2", "bad")], NOW + 1000)
    with Store.open(database_url) as store:
        rows: list[DeadLetter] = store.dead_letters()
        keys = [row.key for row in rows if row.topic == "old" and row.key is not None]
        if which == "keys":
            assert [letter.topic for letter in dead_letters.found(engine, keys)] == ["old"]
            assert dead_letters.purge(engine, keys=keys) == 1
        elif which == "before":
            assert dead_letters.purge(engine, before=NOW + 500) == 1
        else:
            assert dead_letters.purge(engine) == 2
        assert [row.topic for row in store.dead_letters()] == ([] if which == "all" else ["new"])
    engine.dispose()


def test_what_was_sent_again_and_is_bad_again_stays(database_url: str) -> None:
    """The bridge has looked at it before the command deletes it."""
    engine = migrated(database_url)
    letters = DeadLetters(per_cause=10)
    with engine.begin() as connection:
        letters.write(connection, [Dead(b"good now", b"1", "bad"), Dead(b"bad", b"2", "bad")], NOW)
    with Store.open(database_url) as store:
        counts = {row.key: row.count for row in store.dead_letters() if row.key is not None}
        with engine.begin() as connection:
            letters.write(connection, [Dead(b"bad", b"2", "bad")], NOW + 1000)
        assert dead_letters.purge_repeated(engine, counts) == 1
        assert [(row.topic, row.count) for row in store.dead_letters()] == [("bad", 2)]
    engine.dispose()


def test_metrics_and_health(broker: Broker, database_url: str) -> None:
    port = free_port()
    with chain(broker, database_url, metrics_port=port) as rig:
        rig.client.publish(BIRTH, birth(interval=0.2))
        status = {"online": True, "session": "s1", "ts": stamp(), "outbox": 7}
        rig.client.publish(TOPICS.meter(METER, "status"), json.dumps(status))
        rig.client.publish(READING, reading(1))
        eventually(lambda: metrics(port).get("meter61850_bridge_lag_seconds_count") == 1)
        told = metrics(port)
        assert told["meter61850_outbox_readings"] == 7
        assert told["meter61850_meters[online]"] == 1
        assert told["meter61850_bridge_stored_total"] == 1
        assert told["meter61850_bridge_batch_messages_sum"] >= 3
        eventually(lambda: fetched(port, "/healthz")[0] == 503, what="no reading flows")
        seqs = count(2)

        def flows() -> bool:
            rig.client.publish(READING, reading(next(seqs)))  # again and again: it is silent soon
            return fetched(port, "/healthz")[0] == 200

        eventually(flows)
        broker.kill()
        eventually(lambda: fetched(port, "/healthz") == (503, "no connection to the broker\n"))
