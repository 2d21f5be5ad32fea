"""A backup is put in place in one step, when nobody has the store open; the old one is kept, whole."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from bridge.store import restore as restoring
from bridge.store.backup import back_up
from bridge.store.restore import holders, restore
from broker.contract.errors import ConfigurationError, UnavailableError
from tests.support.stores import keeping, series

pytest_plugins = ("tests.support.databases",)

HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1])
held.execute("PRAGMA journal_mode=WAL")
held.execute("SELECT count(*) FROM reading").fetchall()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(sqlite_url: str, tmp_path: Path) -> tuple[str, Path, Path]:
    """A store with 100 readings more than its backup: URL, file, backup."""
    backup = tmp_path / "monday.sqlite"
    with keeping(sqlite_url) as kept:
        kept.put(*series(1, 100))
        back_up(sqlite_url, backup)
        kept.put(*series(2, 100))
    return sqlite_url, Path(make_url(sqlite_url).database or ""), backup


def readings(file: Path) -> int:
    """How many rows a store has."""
    with closing(sqlite3.connect(file)) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM reading")
    return int(count)


@contextmanager
def held(database: Path) -> Iterator[int]:
    """Another process has it open, and does nothing."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def test_backup_is_back_and_the_old_store_is_kept(store: tuple[str, Path, Path]) -> None:
    url, database, backup = store
    database.chmod(0o640)
    done = restore(url, backup)
    assert readings(database) == 100
    assert done.kept is not None
    assert done.kept.parent == database.parent
    assert readings(done.kept) == 200
    assert readings(backup) == 100
    assert database.stat().st_mode & 0o777 == 0o640
    assert done.bytes == database.stat().st_size
    assert not list(database.parent.glob("*.part"))
    with keeping(url) as kept:
        assert kept.put(*series(2, 1)) == 1


@pytest.mark.parametrize("seen", [True, False])
def test_store_that_is_open_elsewhere_is_left_alone(
    seen: bool, store: tuple[str, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when we may not look into the process: the file's lock says that there is one."""
    url, database, backup = store
    if not seen:
        monkeypatch.setattr(restoring, "holders", lambda _: [])
    with held(database) as pid:
        named = rf"-c .*\(pid {pid}\)" if seen else r"may not look into \(try as root\)"
        with pytest.raises(UnavailableError, match=f"is open in .*{named}.*nothing is changed"):
            restore(url, backup)
        assert readings(database) == 200
    assert sorted(file.name for file in database.parent.glob(f"{database.name}*.*")) == []
    restore(url, backup)
    assert readings(database) == 100


def test_log_of_a_killed_process_is_in_the_store_that_is_kept(store: tuple[str, Path, Path]) -> None:
    url, database, backup = store
    crash = (
        "import os, sqlite3, sys\n"
        "writing = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "writing.execute('PRAGMA journal_mode=WAL')\n"
        "writing.execute('DELETE FROM reading WHERE seq > 90')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", crash, str(database)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert Path(f"{database}-wal").stat().st_size > 0
    kept = restore(url, backup).kept
    assert kept is not None
    assert readings(database) == 100
    assert readings(kept) == 180


def test_damaged_store_is_replaced(store: tuple[str, Path, Path]) -> None:
    url, database, backup = store
    database.write_bytes(b"no database" * 1000)
    Path(f"{database}-wal").write_bytes(b"a log")
    kept = restore(url, backup).kept
    assert kept is not None
    assert kept.read_bytes() == b"no database" * 1000
    assert Path(f"{kept}-wal").read_bytes() == b"a log"
    assert readings(database) == 100


def test_missing_store_is_made(store: tuple[str, Path, Path]) -> None:
    url, database, backup = store
    database.unlink()
    assert restore(url, backup).kept is None
    assert readings(database) == 100
    assert database.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [None, b"", b"no database" * 1000])
def test_what_is_no_backup_changes_nothing(
    content: bytes | None, store: tuple[str, Path, Path], tmp_path: Path
) -> None:
    url, database, _ = store
    file = tmp_path / "other"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="no backup"):
        restore(url, file)
    with pytest.raises(ConfigurationError, match="is the database itself"):
        restore(url, database)
    assert readings(database) == 200
    assert len(list(database.parent.glob(f"{database.name}*"))) == 1


def test_damaged_backup_changes_nothing(store: tuple[str, Path, Path]) -> None:
    url, database, backup = store
    with backup.open("r+b") as file:
        file.seek(backup.stat().st_size // 2)
        file.write(b"\xff" * 8192)
    with pytest.raises(OSError, match="it is as it was"):
        restore(url, backup)
    assert readings(database) == 200
    assert len(list(database.parent.glob(f"{database.name}*"))) == 1


def test_postgresql_tells_its_own_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"pg_restore .*u:\*\*\*@db/x"):
        restore("postgresql://u:secret@db/x", tmp_path / "x")


def test_we_ourselves_are_no_holder(store: tuple[str, Path, Path]) -> None:
    _, database, _ = store
    with database.open("rb"):
        assert [holder.pid for holder in holders(database)] == []
        assert os.getpid() > 0
