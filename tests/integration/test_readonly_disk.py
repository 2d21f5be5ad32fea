"""A disk that was read-only and is well again: whoever has opened a file meanwhile writes again.

With a mount of our own where we may mount; SQLite's own refusal of writes everywhere.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from bridge.store import database
from bridge.store.queries import Store
from broker.contract.messages import utc_now
from meter_firmware.outbox import Outbox
from meter_firmware.storage import Storage, StorageError
from tests.faults.disk import may_mount, small_disk
from tests.support.bridges import READING, Client, bridge, eventually, reading
from tests.support.brokers import Broker
from tests.support.databases import migrated

pytest_plugins = ("tests.support.databases",)


@contextmanager
def a_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[bool], None]]]:
    """A folder, and what makes it writable or not."""
    if not may_mount():
        yield tmp_path, lambda well: tmp_path.chmod(0o700 if well else 0o500)
        return
    with small_disk(64) as disk:

        def make(well: bool) -> None:
            mode = "rw" if well else "ro"
            subprocess.run(["mount", "-o", f"remount,{mode}", str(disk.folder)], check=True)

        yield disk.folder, make


def test_a_bridge_that_starts_on_a_read_only_disk_writes_when_it_is_well(
    broker: Broker, tmp_path: Path
) -> None:
    with a_disk(tmp_path) as (folder, make_well):
        url = f"sqlite:///{folder / 'meter61850.sqlite'}"
        with bridge(broker, url) as running, Client(broker) as client:
            eventually(client.online)
            client.publish(READING, reading(1))
            eventually(lambda: client.counter("stored") == 1)
            running.kill()  # what it leaves, the log and its index, can be opened on a disk that is read-only
            make_well(False)
            running.start()
            client.publish(READING, reading(2))
            try:
                eventually(lambda: "the database is away" in running.log.read_text())
            finally:
                make_well(True)
            with Store.open(url) as store:
                eventually(lambda: [row.seq for row in store.readings(store.meters()[0].meter)] == [1, 2])
            running.stop()


def test_a_connection_that_became_read_only_is_thrown_away(sqlite_url: str) -> None:
    engine = migrated(sqlite_url)
    with engine.connect() as connection:
        connection.execute(text("PRAGMA query_only=ON"))
    for fails in (True, False):
        with engine.connect() as connection:
            if fails:
                with pytest.raises(OperationalError, match="readonly"):
                    connection.execute(text("DELETE FROM meter"))
            else:
                connection.execute(text("DELETE FROM meter"))
    engine.dispose()


def test_a_lock_of_somebody_else_costs_no_connection(sqlite_url: str) -> None:
    engine, other = database.connect(sqlite_url), database.connect(sqlite_url)
    database.migrate(engine)
    with engine.connect() as connection:
        connection.execute(text("PRAGMA user_version=0"))
        before = connection.connection.driver_connection
    with other.begin() as holding:
        holding.execute(text("DELETE FROM meter"))
        with pytest.raises(OperationalError, match="locked"), engine.begin():
            pass
    with engine.connect() as connection:
        assert connection.connection.driver_connection is before
    engine.dispose()
    other.dispose()


def test_a_meter_whose_disk_was_read_only_keeps_readings_again(tmp_path: Path) -> None:
    with Storage(tmp_path / "meter.sqlite") as storage:
        outbox = Outbox(storage, capacity=10)
        outbox.open(now=utc_now())
        outbox.add({}, ts=utc_now())
        assert storage._connection is not None
        storage._connection.execute("PRAGMA query_only=ON")
        with pytest.raises(StorageError, match="readonly"):
            outbox.add({}, ts=utc_now())
        assert outbox.add({}, ts=utc_now()).seq == 2
        assert [kept.seq for kept in outbox.batch(after=0, upto=10, limit=10)] == [1, 2]
    with pytest.raises(StorageError, match="closed"):
        storage.all("SELECT 1")
