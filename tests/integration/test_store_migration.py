"""Upgrade from the first release's schema with data in it, backup and restore, on both databases."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Engine, inspect, text
from sqlalchemy.engine import make_url

from bridge.ingest.rows import reading_of
from bridge.store import database
from bridge.store.backup import back_up
from bridge.store.queries import Store
from bridge.store.rollup import DAY, HOUR
from bridge.store.tables import HOUR_MS
from broker.contract.errors import ConfigurationError, UnavailableError
from broker.contract.quantities import HOUSEHOLD
from tests.support.databases import Postgres, new_database
from tests.support.stores import DAY0, Kept, keeping, meter_id, row, series

pytest_plugins = ("tests.support.databases",)


def first_release(engine: Engine) -> None:
    """The schema and some data of the first release, written as it wrote them: by name of column."""
    config = database._config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        meter = {
            "key": 1, "meter_id": meter_id(1), "name": "House 1", "owner": "", "address": "",
            "address_code": "", "ip": "", "vendor": "", "model": "", "serial": "s", "firmware": "",
            "quantities": "power", "interval": 10.0, "clock_synchronized": True, "ied": "SMGW001",
            "first_seen": DAY0, "last_seen": DAY0, "born_at": DAY0, "retired_at": None, "online": True,
            "session": "s1", "outbox": 0, "dropped": 0, "relay": "open", "relay_operations": 7,
            "relay_local": False, "relay_at": None,
        }  # fmt: skip
        ledger = {
            "key": 1, "command_id": "c-1", "meter_id": meter_id(1), "position": "open", "issued_at": DAY0,
            "expires_at": DAY0, "origin_category": "remote-control", "origin_identifier": "op",
            "retained": False, "repeats": 0, "received_at": DAY0, "outcome": "done", "reason": "",
            "result_ts": DAY0,
        }  # fmt: skip
        names = ("epoch", "seq", "ts", "voltage", "current", "power", "power_factor", "frequency", "energy")
        readings = [
            {"meter": 1, **{name: getattr(reading, name) for name in (*names, "alarm")}}
            for reading in map(reading_of, series(1, 3000))
        ]
        for table, rows in (("meter", [meter]), ("command", [ledger]), ("reading", readings)):
            columns = ", ".join(f'"{name}"' for name in rows[0])
            marks = ", ".join(f":{name}" for name in rows[0])
            connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({marks})"), rows)


@pytest.fixture
def old(database_url: str) -> Iterator[Engine]:
    engine = database.connect(database_url)
    first_release(engine)
    yield engine
    engine.dispose()


def test_a_store_of_the_first_release_is_upgraded(old: Engine, database_url: str) -> None:
    with pytest.raises(ConfigurationError, match="schema 0001"):
        Store.open(database_url)
    with keeping(database_url) as kept:
        assert kept.meter().relay_operations == 7
        assert kept.meter().changes == 1
        assert [(row.command_id, row.outcome) for row in kept.store.commands()] == [("c-1", "done")]
        assert kept.store.blocks() == []
        expected = [reading_of(reading) for reading in series(1, 3000)]
        assert kept.readings() == expected
        assert kept.put(*series(1, 3000)) == 0, "what the first release stored is not stored again"
        kept.upkeep()
        (day,) = kept.rollups(DAY)
        assert (day["readings"], day["energy_used"]) == (3000, 2999), "hours from before are summed up too"
        assert kept.readings() == expected
        assert kept.put(*series(1, 3000), row(1, 3001, ts=DAY0)) == 1


def test_an_upgrade_that_is_cut_off_leaves_the_old_store(old: Engine) -> None:
    with old.begin() as connection:
        connection.execute(text("CREATE TABLE due (x INTEGER)"))
    with pytest.raises(Exception, match="already exists"):
        database.migrate(old)
    assert "rollup" not in inspect(old).get_table_names()
    with old.begin() as connection:
        connection.execute(text("DROP TABLE due"))
    database.migrate(old)
    assert "rollup" in inspect(old).get_table_names()


def test_an_hour_that_an_odd_value_falsified_is_summed_up_again(old: Engine, database_url: str) -> None:
    """0, and the counter again: 98,427 Wh for ever, where the readings are still there to know better."""
    config = database._config()
    names = ", ".join(f"{name}_count" for name in HOUSEHOLD)
    zeros = ", ".join("0" for _ in HOUSEHOLD)
    hours = [(DAY0, 98_427), (DAY0 + 3 * HOUR_MS, 360)]
    with old.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0007")
        connection.execute(text("DELETE FROM due"))
        for start, used in hours:
            values = f"3600, 1, {start}, 360, {used}, {zeros}"
            into = f"rollup (span, meter, start, readings, energy_used, {names})"
            connection.execute(text(f"INSERT INTO {into} VALUES ({values})"))
    with keeping(database_url) as kept:
        before = kept.rollups(HOUR)
        assert [hour["energy_doubtful"] for hour in before] == [None, None]
        assert kept.upkeep().hours == 1
        assert [(hour["energy_used"], hour["energy_doubtful"]) for hour in kept.rollups(HOUR)] == [
            (359, 0),
            (360, None),
        ]


def check_restored(url: str, *, hours: int = 9) -> None:
    """All readings, roll-ups and what is due; and the key still holds."""
    with keeping(url) as kept:
        assert [reading.seq for reading in kept.readings()] == list(range(1, 3001))
        assert [day["readings"] for day in kept.rollups(DAY)] == [3000]
        assert kept.put(*series(1, 3000)) == 0
        assert kept.put(row(1, 3001, ts=DAY0 + 1)) == 1
        assert kept.upkeep().hours == hours, "what was due stays due, and the one more"


def fill(kept: Kept) -> None:
    kept.put(*series(1, 3000))
    kept.upkeep()
    kept.put(*series(1, 3000))  # nothing new, but the hours are due


def test_a_backup_of_sqlite_while_the_bridge_writes(sqlite_url: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    with keeping(sqlite_url) as kept:
        fill(kept)
        stop, numbers = threading.Event(), iter(range(1, 10**6))
        writing = threading.Event()

        def write() -> None:
            while not stop.is_set():
                kept.put(row(2, next(numbers), ts=DAY0))
                writing.set()

        writer = threading.Thread(target=write)
        writer.start()
        assert writing.wait(60)
        assert back_up(sqlite_url, copy) == copy.stat().st_size
        stop.set()
        writer.join()
        stored = len(kept.readings(2))
    with closing(sqlite3.connect(copy)) as connection:
        ((seqs, last),) = connection.execute("SELECT count(*), max(seq) FROM reading WHERE meter = 2")
    assert 0 < seqs == last <= stored, "one state, without a hole"
    assert not copy.with_name("copy.sqlite.part").exists()
    check_restored(f"sqlite:///{copy}", hours=10)


def test_a_backup_never_overwrites_and_never_pretends(sqlite_url: str, tmp_path: Path) -> None:
    with keeping(sqlite_url) as kept:
        kept.put(*series(1, 3000))
    there = tmp_path / "there"
    there.write_text("mine")
    with pytest.raises(ConfigurationError, match="exists already"):
        back_up(sqlite_url, there)
    assert there.read_text() == "mine"
    with pytest.raises(UnavailableError, match="no database"):
        back_up(f"sqlite:///{tmp_path}/none", tmp_path / "copy")
    with pytest.raises(OSError, match="no backup"):
        back_up(sqlite_url, tmp_path / "no folder" / "copy")
    damaged = Path(make_url(sqlite_url).database or "")
    with damaged.open("r+b") as file:
        file.seek(damaged.stat().st_size // 2)
        file.write(b"\xff" * 8192)
    with pytest.raises(OSError, match="no backup"):
        back_up(sqlite_url, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_postgresql_is_told_its_own_command() -> None:
    with pytest.raises(
        ConfigurationError, match=r"pg_dump --format=custom --file=x --dbname=postgresql://"
    ) as error:
        back_up("postgresql+psycopg://me:secret@db/meters", Path("x"))
    assert "secret" not in str(error.value)


def test_pg_dump_and_pg_restore(postgres: Postgres, postgres_url: str, tmp_path: Path) -> None:
    """The commands of docs/operations-store.md."""
    dump = tmp_path / "monday.dump"
    with keeping(postgres_url) as kept:
        fill(kept)
    run("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={postgres_url}")
    other = new_database(postgres)
    run("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={other}", str(dump))
    check_restored(other)


def run(program: str, *arguments: str) -> None:
    """A program of PostgreSQL."""
    folders = [str(path.parent) for path in Path("/usr/lib/postgresql").glob("*/bin/pg_dump")]
    found = shutil.which(program, path=os.pathsep.join([os.environ["PATH"], *folders]))
    assert found, f"{program} is not installed"
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
