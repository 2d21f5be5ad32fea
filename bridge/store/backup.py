"""Backup of a SQLite store while the bridge goes on storing; PostgreSQL has pg_dump for that.

The copy is one consistent state (``VACUUM INTO``, SQLite 3.27 and newer), compact, checked before it
gets its name, and opened like any other store; `bridge.store.restore` puts it back in place.

>>> back_up("sqlite:///meter61850.sqlite", Path("monday.sqlite"))  # doctest: +SKIP
1048576
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import make_url

from broker import durable
from broker.contract.errors import ConfigurationError, Meter61850Error, UnavailableError, reason


class BackupError(Meter61850Error, OSError):
    """The copy could not be written, or is damaged; there is none under its name."""


def back_up(url: str, file: Path) -> int:
    """Write a copy of the store at ``url`` to ``file``, a new one; its size in bytes."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        shown = parsed.set(drivername="postgresql").render_as_string(hide_password=True)
        raise ConfigurationError(
            f"PostgreSQL brings its own: pg_dump --format=custom --file={file} --dbname={shown}"
        )
    if not parsed.database or not Path(parsed.database).is_file():
        raise UnavailableError(f"no database {parsed.database}: name the right one with --database")
    if file.exists():
        raise ConfigurationError(f"{file} exists already: name a new file")
    unfinished = file.with_name(f"{file.name}.part")
    try:
        checked_copy(parsed.database, unfinished)
        unfinished.rename(file)
    except (sqlite3.Error, OSError) as error:
        with suppress(FileNotFoundError):
            unfinished.unlink()
        raise BackupError(f"no backup: {reason(error)}") from error
    return file.stat().st_size


def checked_copy(database: str, file: Path) -> None:
    """A checked copy that survives a power cut."""
    file.unlink(missing_ok=True)
    durable.create(file)  # for its owner alone, as the store is
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as source:
        source.execute("VACUUM INTO ?", (str(file),))
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as copy:
        ((verdict,),) = copy.execute("PRAGMA quick_check(1)")
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {verdict}")
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
