"""Puts a backup in the place of a SQLite store, which nobody may have open meanwhile; the old one is kept.

A process that has the old file open would go on with it, and holds locks for which the others wait: so those
processes are named, and nothing is changed before they have ended.

>>> restore("sqlite:///meter61850.sqlite", Path("monday.sqlite"))  # doctest: +SKIP
Restored(database=PosixPath('meter61850.sqlite'), kept=PosixPath('meter61850.sqlite.2026…'), bytes=1048576)
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url

from bridge.store.backup import BackupError, checked_copy
from broker.contract.errors import ConfigurationError, UnavailableError, reason

BESIDE = ("-wal", "-shm")
"""SQLite's files beside a database."""
_LOCK_SECONDS = 1.0
_TABLES = frozenset({"alembic_version", "meter", "reading"})
_COMMAND = 80
_MAGIC = b"SQLite format 3\0"


@dataclass(frozen=True)
class Restored:
    """What was done."""

    database: Path
    kept: Path | None
    """The file that was there before, whole; none if there was none."""
    bytes: int


@dataclass(frozen=True)
class Holder:
    """A process that has the store open."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid})"


def restore(url: str, file: Path) -> Restored:
    """Put a copy of ``file`` in the place of the store at ``url``, in one step.

    Raises:
        ConfigurationError: ``file`` is no store of ours, or the store is not SQLite.
        UnavailableError: somebody has the store open; the message names the processes.
        BackupError: the copy could not be written; the store is as it was.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        shown = parsed.set(drivername="postgresql").render_as_string(hide_password=True)
        raise ConfigurationError(
            f"PostgreSQL brings its own: pg_restore --exit-on-error --no-owner --dbname={shown} {file}"
        )
    database = Path(parsed.database)
    if database.exists() and file.exists() and database.samefile(file):
        raise ConfigurationError(f"{file} is the database itself: name a backup")
    _check_backup(file)
    refuse_if_held(database)  # before the work, and again after it
    unfinished = database.with_name(f"{database.name}.part")
    try:
        checked_copy(str(file), unfinished)
        _give_to_the_same(unfinished, database if database.exists() else database.parent)
        refuse_if_held(database)
        kept = _kept(database)
        unfinished.replace(database)
        _settle(database.parent)
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, UnavailableError):
            raise
        raise BackupError(f"{database} is not restored, it is as it was: {reason(error)}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return Restored(database, kept, database.stat().st_size)


def _check_backup(file: Path) -> None:
    if not file.is_file():
        raise ConfigurationError(f"no backup {file}: name a file that `meter61850 store backup` wrote")
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as source:
            found = {
                name for (name,) in source.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
    except sqlite3.Error as error:
        raise ConfigurationError(f"{file} is no backup of a store: {reason(error)}") from error
    if missing := sorted(_TABLES - found):
        raise ConfigurationError(f"{file} is no backup of a store: it has no table {', '.join(missing)}")


def refuse_if_held(database: Path) -> None:
    """UnavailableError if a process has the store open; else its log is empty, all is in one file."""
    if not database.exists():
        return
    who = ", ".join(map(str, holders(database)))
    if not who and _locked(database):
        who = "a process that we may not look into (try as root)"
    if who:
        raise UnavailableError(
            f"{database} is open in {who}: stop that (systemctl stop 'meter61850-*', or Ctrl-C in `up`), "
            "then do this again; nothing is changed"
        )


def holders(database: Path) -> list[Holder]:
    """The other processes that have the store, or a file beside it, open: all that we may look into."""
    files = {stamp for name in ("", *BESIDE) if (stamp := _stamp(f"{database}{name}"))}
    found = []
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        if int(process.name) != os.getpid() and not files.isdisjoint(_open_files(process)):
            found.append(Holder(int(process.name), _command(process)))
    return found


def _open_files(process: Path) -> Iterator[tuple[int, int]]:
    with suppress(OSError):  # another user's, or it has ended
        for descriptor in (process / "fd").iterdir():
            if stamp := _stamp(descriptor):
                yield stamp


def _stamp(file: Path | str) -> tuple[int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _command(process: Path) -> str:
    """The command line from our own name on, such as ``bridge run --database …``."""
    try:
        words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "a process"
    ours = next((n for n, word in enumerate(words) if word == "admin" or word.endswith("meter61850")), -1)
    return " ".join(" ".join(words[ours + 1 :]).split())[:_COMMAND] or "a process"


def _locked(database: Path) -> bool:
    """Whether somebody has it open whom we do not see: a store leaves WAL only for who is alone with it."""
    with database.open("rb") as start:
        if (
            start.read(len(_MAGIC)) != _MAGIC
        ):  # SQLite would remove its log, which somebody may want to look at
            return False
    try:
        with closing(sqlite3.connect(database, timeout=_LOCK_SECONDS)) as alone:
            alone.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as error:
        return "locked" in str(error)
    except sqlite3.DatabaseError:  # it is broken: that is why it is restored
        return False
    return False


def _kept(database: Path) -> Path | None:
    """A second name for what is there, log and all."""
    if not database.exists():
        return None
    kept = database.with_name(f"{database.name}.{time.strftime('%Y%m%dT%H%M%S')}")
    try:
        os.link(database, kept)
    except OSError:  # a disk without hard links
        shutil.copy2(database, kept)
    for name in BESIDE:
        with suppress(FileNotFoundError):
            os.rename(f"{database}{name}", f"{kept}{name}")
    return kept


def _give_to_the_same(file: Path, like: Path) -> None:
    """The owner of ``like``, since a service of another user must write it, and its mode if it is a file."""
    status = like.stat()
    file.chmod(status.st_mode & 0o666 if like.is_file() else 0o600)
    if os.geteuid() == 0:
        os.chown(file, status.st_uid, status.st_gid)


def _settle(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
