"""Nothing is lost and nothing is doubled: the bridge killed, the database away, the broker away."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, text
from sqlmodel import Session, select

from bridge.store import database
from bridge.store.queries import Store
from bridge.store.tables import Reading
from broker.contract.messages import utc_now
from tests.support.bridges import TOPICS, Client, bridge, eventually
from tests.support.brokers import Broker

if TYPE_CHECKING:
    from tests.support.databases import Postgres

pytest_plugins = ("tests.support.databases",)

METERS = [f"3f2504e0-4f89-41d3-9a0c-{number:012x}" for number in range(1, 51)]
READING = TOPICS.meter(METERS[0], "reading")


def readings(first: int, last: int, *, padding: int = 0) -> Iterator[tuple[str, str]]:
    """Readings number ``first`` to ``last`` of 50 meters in turn, as (topic, payload)."""
    ts = utc_now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for number in range(first, last + 1):
        payload = {"epoch": 1, "seq": number, "ts": ts, "energy": float(number), "pad": " " * padding}
        yield TOPICS.meter(METERS[number % len(METERS)], "reading"), json.dumps(payload)


class Rows:
    """The readings in a database."""

    def __init__(self, url: str) -> None:
        self._engine = database.connect(url, reader=True)

    def count(self) -> int:
        """How many there are."""
        with Session(self._engine) as session:
            return session.exec(select(func.count()).select_from(Reading)).one()

    def seqs(self) -> list[int]:
        """Every sequence number, sorted; each belongs to one meter here."""
        with Session(self._engine) as session:
            return sorted(session.exec(select(Reading.seq)))


@contextmanager
def locked(sqlite_url: str) -> Iterator[None]:
    """Somebody else holds the SQLite file's write lock."""
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_killed_in_the_middle_of_ten_thousand_readings(broker: Broker, database_url: str) -> None:
    with bridge(broker, database_url, batch_messages=100) as running, Client(broker) as client:
        eventually(client.online)
        rows, kills = Rows(database_url), list[int]()
        client.start_publishing(readings(1, 10_000))
        for wanted in (1000, 4000, 7000):
            eventually(lambda wanted=wanted: rows.count() >= wanted)  # type: ignore[misc]
            running.kill()
            kills.append(rows.count())
            running.start()
        eventually(lambda: rows.count() >= 10_000)
        assert kills[0] < 10_000, f"not killed in the middle: {kills}"
        running.stop()
        assert rows.seqs() == list(range(1, 10_001))


def test_nothing_is_acknowledged_before_it_is_committed(broker: Broker, sqlite_url: str) -> None:
    with bridge(broker, sqlite_url) as running, Client(broker) as client:
        eventually(client.online)
        with locked(sqlite_url):
            client.start_publishing(readings(1, 300))
            eventually(lambda: client.counter("database_errors") > 0)
            running.kill()
        running.start()
        rows = Rows(sqlite_url)
        eventually(lambda: rows.count() == 300, what="the broker still has them")


@pytest.mark.parametrize("version", [4, 5])
def test_a_locked_database_bounds_what_the_bridge_holds(
    broker: Broker, sqlite_url: str, version: int
) -> None:
    """Twice the batch and one read from the socket (256 KiB), also where the broker has no window (3.1.1)."""
    mqtt = {"port": broker.port, "version": version}
    with bridge(broker, sqlite_url, mqtt=mqtt, batch_messages=50) as _, Client(broker) as client:
        eventually(client.online)
        with locked(sqlite_url):
            client.start_publishing(readings(1, 1000, padding=10_000))
            eventually(lambda: client.counter("database_errors") > 0 and client.counter("waiting") > 0)
            assert client.online(), "the service is there, and says what is wrong"
            assert 0 < client.counter("waiting") <= 130
        rows = Rows(sqlite_url)
        eventually(lambda: rows.count() >= 1000)
        assert rows.seqs() == list(range(1, 1001))


def test_postgresql_stopped_and_back(broker: Broker, postgres: Postgres, postgres_url: str) -> None:
    with bridge(broker, postgres_url, batch_messages=100) as running, Client(broker) as client:
        eventually(client.online)
        rows = Rows(postgres_url)
        client.start_publishing(readings(1, 1000))
        eventually(lambda: rows.count() > 0)
        postgres.stop()
        try:
            client.start_publishing(readings(1001, 3000))
            eventually(lambda: client.counter("database_errors") > 1)
        finally:
            postgres.start()
        rows = Rows(postgres_url)
        eventually(lambda: rows.count() >= 3000)
        assert rows.seqs() == list(range(1, 3001))
        assert running.stop() == 0


def test_a_bridge_that_starts_before_its_database(
    broker: Broker, postgres: Postgres, postgres_url: str
) -> None:
    postgres.stop()
    with bridge(broker, postgres_url) as running, Client(broker) as client:
        try:
            eventually(lambda: "waiting for the database" in running.log.read_text())
        finally:
            postgres.start()
        eventually(client.online)


def test_a_bridge_that_starts_before_its_broker(broker: Broker, sqlite_url: str) -> None:
    """It tells its status all the time, to nobody at first; and it can be stopped before anybody hears it."""
    broker.stop()
    with bridge(broker, sqlite_url) as running:
        eventually(lambda: running.log.read_text().count("MQTT broker") >= 3)
        assert running.stop() == 0
        running.start()
        eventually(lambda: running.log.read_text().count("MQTT broker") >= 6)
        broker.start()
        with Client(broker) as client:
            eventually(client.online)


def test_a_stop_while_the_database_is_away_is_clean_and_in_time(broker: Broker, sqlite_url: str) -> None:
    with bridge(broker, sqlite_url) as running, Client(broker) as client:
        eventually(client.online)
        with locked(sqlite_url):
            client.start_publishing(readings(1, 10))
            eventually(lambda: client.counter("database_errors") > 0)
            begin = time.monotonic()
            assert running.stop() == 0
            assert time.monotonic() - begin < 30.0
            eventually(lambda: not client.online())
        running.start()
        rows = Rows(sqlite_url)
        eventually(lambda: rows.count() == 10)


def test_a_broker_that_was_killed_gets_everything_again(broker: Broker, sqlite_url: str) -> None:
    birth = {
        "name": "House 7",
        "hardware": {"serial": "1"},
        "firmware": "1",
        "interval": 10,
        "session": "s1",
        "ts": utc_now().isoformat(timespec="milliseconds"),
    }
    with bridge(broker, sqlite_url):
        with Client(broker) as client:
            client.publish(TOPICS.meter(METERS[0], "birth"), json.dumps(birth), retain=True)
            before = eventually(lambda: client.latest.get(TOPICS.revision))
        broker.kill()
        broker.start()
        with Client(broker) as client:
            after = eventually(lambda: client.latest.get(TOPICS.revision))
            assert after == before
            eventually(client.online)
            client.publish(*next(readings(1, 1)))
            rows = Rows(sqlite_url)
            eventually(lambda: rows.count() == 1)


def test_one_row_that_the_database_refuses_does_not_hurt_its_batch(broker: Broker, sqlite_url: str) -> None:
    with bridge(broker, sqlite_url, batch_seconds=0.5) as running, Client(broker) as client:
        eventually(client.online)
        engine = database.connect(sqlite_url)
        with engine.begin() as connection:
            connection.execute(
                text(
                    "CREATE TRIGGER no_sevens BEFORE INSERT ON reading WHEN NEW.seq % 100 = 7 "
                    "BEGIN SELECT RAISE(ABORT, 'no sevens'); END"
                )
            )
        client.start_publishing(readings(1, 200))
        rows = Rows(sqlite_url)
        eventually(lambda: (client.counter("dead"), client.counter("stored")) == (2, 198))
        assert rows.seqs() == [seq for seq in range(1, 201) if seq not in (7, 107)]
        with Store.open(sqlite_url) as store:
            letters = store.dead_letters()
        assert {letter.cause for letter in letters} == {"reading: cannot be stored: IntegrityError"}
        assert "no sevens" in running.log.read_text()
