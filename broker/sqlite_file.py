"""A SQLite file that is never empty: one of no octets has lost what was in it, and is not taken as a new one.

SQLite takes an empty file for a new database, and removes the log beside it.

>>> with tempfile.TemporaryDirectory() as folder:
...     create(Path(folder) / "store.sqlite", cure="bring it back")
...     (Path(folder) / "store.sqlite").stat().st_size
4096
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from broker import durable
from broker.contract.errors import ConfigurationError


def check(path: Path, *, cure: str) -> None:
    """ConfigurationError, with the ``cure``, for a file that is empty; one that is missing is none."""
    with suppress(FileNotFoundError):
        if path.stat().st_size == 0:
            raise ConfigurationError(f"{path} is empty: {cure}")


def create(path: Path, *, cure: str, page_size: int = 4096) -> None:
    """Have a database at ``path``: what is there stays, else a new one, in the mode of a secret.

    ConfigurationError, with the ``cure``, for a file that is empty; OSError if there can be none.
    """
    check(path, cure=cure)
    if not path.exists():
        durable.create(path, _new(page_size))


def _new(page_size: int) -> bytes:
    """A database without tables; ``page_size`` in octets."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute("PRAGMA user_version = 0")  # makes the first page
        return connection.serialize()
