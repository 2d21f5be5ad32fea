"""Which of several services cuts: the one that has the lock. The others wait until it is free.

On PostgreSQL it is an advisory lock (9.27.10) on a connection of its own, which the server frees when its
owner dies; beside a SQLite file it is a locked file, which the kernel frees. It is asked for again before
each order, and `bridge.credit.orders` notes an order once, whoever asks.

>>> alone = Alone(engine)  # doctest: +SKIP
>>> alone.have()  # doctest: +SKIP
True
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

_LOCK = 61854
"""PostgreSQL advisory lock: of `credit run`, for as long as it lives."""
SUFFIX = ".credit-run"
"""Of the locked file, behind the name of the SQLite file."""


class Alone:
    """The lock, taken when it is first asked for, until `close` or the end of the process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._file: IO[str] | None = None

    def have(self) -> bool:
        """Whether we have it, or have got it now; DBAPIError or OSError if that cannot be known."""
        if self._engine.dialect.name == "postgresql":
            return self._on_server()
        if self._file is None:
            opened = Path(f"{self._engine.url.database}{SUFFIX}").open("a")  # noqa: SIM115 - stays open
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                opened.close()
                if isinstance(error, BlockingIOError):
                    return False
                raise
            self._file = opened
        return True

    def _on_server(self) -> bool:
        try:
            if self._connection is not None:
                self._connection.execute(text("SELECT 1"))
                return True
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            if connection.execute(text(f"SELECT pg_try_advisory_lock({_LOCK})")).scalar_one():
                self._connection = connection
                return True
            connection.close()
        except DBAPIError:
            self.close()
            raise
        return False

    def close(self) -> None:
        """Give it back."""
        if self._connection is not None:
            self._connection.invalidate()  # the pool must not keep a connection that holds the lock
            self._connection.close()
            self._connection = None
        if self._file is not None:
            self._file.close()
            self._file = None
