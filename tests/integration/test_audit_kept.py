"""What carries the audit over, and its end remembered outside of the database; on both databases."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlmodel import col

from bridge.store import audit, audit_head, database
from bridge.store.audit import FIRST, Head, head, record
from bridge.store.audit_head import Watch
from bridge.store.backup import back_up
from bridge.store.tables import Audit
from broker.contract.errors import ConfigurationError
from tests.integration.test_audit import ROWS, event, verify
from tests.integration.test_store_migration import run
from tests.support.databases import Postgres, migrated, new_database
from tests.support.stores import keeping, series

pytest_plugins = ("tests.support.databases",)


@pytest.fixture
def filled(database_url: str) -> Iterator[Engine]:
    made = migrated(database_url)
    record(made, *map(event, range(ROWS)))
    yield made
    made.dispose()


def carried(url: str, end: Head) -> None:
    """The chain goes through ``end`` in that store, is still guarded, and goes on."""
    made = database.connect(url)
    with made.connect() as connection:
        assert verify(connection, end) == ROWS
    with pytest.raises(IntegrityError), made.begin() as connection:
        connection.execute(text("DELETE FROM audit"))
    record(made, event(99))
    with made.connect() as connection:
        assert verify(connection, end) == ROWS + 1
    made.dispose()


def test_a_backup_of_sqlite_carries_the_chain(sqlite_url: str, tmp_path: Path) -> None:
    made = migrated(sqlite_url)
    end = record(made, *map(event, range(ROWS)))
    made.dispose()
    back_up(sqlite_url, tmp_path / "copy.sqlite")
    carried(f"sqlite:///{tmp_path}/copy.sqlite", end)


def test_pg_dump_carries_the_chain(postgres: Postgres, postgres_url: str, tmp_path: Path) -> None:
    made = migrated(postgres_url)
    end = record(made, *map(event, range(ROWS)))
    made.dispose()
    run("pg_dump", "--format=custom", f"--file={tmp_path / 'dump'}", f"--dbname={postgres_url}")
    other = new_database(postgres)
    run("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={other}", str(tmp_path / "dump"))
    carried(other, end)


def test_upkeep_with_retention_leaves_it_alone(database_url: str) -> None:
    with keeping(database_url) as kept:
        kept.put(*series(1, 100))
        end = record(kept.engine, *map(event, range(ROWS)))
        kept.upkeep(keep=timedelta(days=1))
        assert kept.readings() == []
        with kept.engine.connect() as connection:
            assert verify(connection, end) == ROWS
            assert head(connection) == end


def test_the_watch_remembers_the_end_in_a_file_for_its_owner_alone(filled: Engine, tmp_path: Path) -> None:
    file = tmp_path / "head"
    watch = Watch(filled, file)
    assert watch.told is None
    watch.look()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert str(audit_head.remembered(file)) == watch.told
    end = record(filled, event(7))
    watch.look()
    assert watch.told == str(end) == file.read_text().strip()
    assert watch.counters() == {"audit_rows": ROWS + 1, "audit_broken": 0}


@pytest.mark.parametrize("restarted", [False, True])
def test_the_watch_finds_a_cut_end_and_does_not_forget(
    filled: Engine, tmp_path: Path, restarted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "head"
    watch = Watch(filled, file)
    watch.look()
    before = file.read_text()
    with filled.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("ALTER TABLE audit DISABLE TRIGGER ALL"))
            connection.execute(text("DELETE FROM audit WHERE no > 4"))
            connection.execute(text("ALTER TABLE audit ENABLE TRIGGER ALL"))
        else:
            connection.execute(text("DROP TRIGGER audit_no_delete"))
            connection.execute(text("DELETE FROM audit WHERE no > 4"))
    record(filled, *map(event, range(5)))
    watch = Watch(filled, file) if restarted else watch
    watch.look()
    watch.look()
    assert watch.counters()["audit_broken"] == 1
    assert watch.told == before.strip() == file.read_text().strip()
    assert caplog.text.count("does not hold row 6:") == 1
    with filled.connect() as connection:
        last = select(col(Audit.event)).order_by(col(Audit.no).desc()).limit(1)
        assert connection.scalar(last) == "audit-broken"
        assert connection.scalar(select(func.count()).select_from(Audit)) == 10


def test_a_cut_end_is_recorded_when_the_database_takes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filled: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """It refuses the row, as a disk that is full does."""
    file = tmp_path / "head"
    file.write_text(f"6:{'f' * 64}\n")
    watch = Watch(filled, file)
    with monkeypatch.context() as refused:
        refused.setattr(audit, "append", _refused)
        for _ in range(2):
            with pytest.raises(OperationalError):
                watch.look()
    assert watch.counters()["audit_broken"] == 1
    for _ in range(2):
        watch.look()
    with filled.connect() as connection:
        found = list(connection.scalars(select(col(Audit.event)).order_by(col(Audit.no))))
    assert found[ROWS:] == ["audit-broken"]
    assert caplog.text.count("does not hold row 6:") == 1


def _refused(*_: object, **__: object) -> None:
    raise OperationalError("INSERT", {}, Exception("disk is full"))


def test_a_damaged_file_of_the_head_is_told_and_ends_nothing(
    filled: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "head"
    file.write_text("rubbish")
    watch = Watch(filled, file)
    watch.look()
    assert watch.counters()["audit_broken"] == 1
    assert "no head of the audit" in caplog.text
    assert file.read_text() == "rubbish"


def test_a_file_that_cannot_be_written_is_told_once(
    filled: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch(filled, tmp_path / "none" / "head")
    for number in range(3):
        record(filled, event(number))
        watch.look()
    assert caplog.text.count("is not written (told once)") == 1
    assert watch.counters() == {"audit_rows": ROWS + 3, "audit_broken": 0}


@pytest.mark.parametrize(
    "rubbish", ["", "17", "17:", f"x:{FIRST}", f"1:{FIRST}0", f"-1:{FIRST}", "1:" + "G" * 64]
)
def test_a_head_that_is_none_is_refused(rubbish: str) -> None:
    with pytest.raises(ConfigurationError, match="no head"):
        Head.parse(rubbish)
    assert Head.parse(f" 17:{FIRST}\n") == Head(17, FIRST)


def test_the_file_is_beside_a_sqlite_database_only() -> None:
    assert audit_head.beside("sqlite:///data/meter61850.sqlite") == Path("data/meter61850.sqlite.audit-head")
    assert audit_head.beside("sqlite://") is None
    assert audit_head.beside("postgresql://db/meter61850") is None
