"""The meter's SQLite file: what must survive a power cut.

Write-ahead log with ``synchronous=FULL``: a commit is on the disk when it returns (SQLite, "PRAGMA
synchronous"). The file is locked for this process alone, so two processes cannot be the same meter.

`adapters.store` keeps many meters in one file with the same statements: ``{mine}`` in a statement is the
condition for the rows of the meter whose turn it is, and true here, where there is one meter.

>>> with tempfile.TemporaryDirectory() as folder, Storage(Path(folder) / "meter.sqlite") as storage:
...     storage.all("SELECT count(*) FROM outbox")
[(0,)]
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from broker import sqlite_file
from broker.contract.errors import ConfigurationError, UnavailableError

SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    {meter}seq INTEGER, payload BLOB NOT NULL, epoch INTEGER, PRIMARY KEY ({key}seq)
){end};
CREATE TABLE IF NOT EXISTS outbox_state (
    {meter}id INTEGER CHECK (id = 1),
    epoch INTEGER NOT NULL, seq INTEGER NOT NULL, dropped INTEGER NOT NULL, PRIMARY KEY ({key}id)
){end};
CREATE TABLE IF NOT EXISTS held (
    {meter}seq INTEGER, boot TEXT NOT NULL, uptime_ms INTEGER NOT NULL, PRIMARY KEY ({key}seq)
){end};
CREATE TABLE IF NOT EXISTS relay (
    {meter}id INTEGER CHECK (id = 1), payload BLOB NOT NULL, PRIMARY KEY ({key}id)
){end};
CREATE TABLE IF NOT EXISTS block (
    {meter}id INTEGER CHECK (id = 1), payload BLOB NOT NULL, PRIMARY KEY ({key}id)
){end};
CREATE TABLE IF NOT EXISTS bridge (
    {meter}id INTEGER CHECK (id = 1), vouches INTEGER NOT NULL, PRIMARY KEY ({key}id)
){end};
CREATE TABLE IF NOT EXISTS command (
    {meter}command_id TEXT NOT NULL, seen_ms INTEGER NOT NULL, result BLOB,
    answered INTEGER NOT NULL DEFAULT 0, PRIMARY KEY ({key}command_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS command_unanswered ON command ({key}seen_ms) WHERE answered = 0;
"""

T = TypeVar("T")


@dataclass(frozen=True)
class Form:
    """How a file tells meters apart: what stands for the names in braces in `SCHEMA` and in statements."""

    meter: str = ""
    key: str = ""
    end: str = ""
    mine: str = "TRUE"
    others: str = ""
    """Tables of this form alone."""
    page_size: int = 1024
    """Octets, of a new file: a connection holds some pages, and a process may have a thousand of them."""
    wal_bytes: int = 400 * 1024
    """Checkpoint after as many: a thousand simulated meters have a thousand logs."""

    @property
    def schema(self) -> str:
        """The tables."""
        return SCHEMA.format(meter=self.meter, key=self.key, end=self.end) + self.others


ONE_METER = Form()

_FILE_WENT_WRONG = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)

_BEGIN_ANEW = (
    "move it away to begin a new outbox (readings in it are lost, and the relay starts closed and unblocked)"
)

Durability = Literal["FULL", "NORMAL"]


class _Connection(sqlite3.Connection):
    """Puts the condition for the meter's rows into every statement."""

    mine = ONE_METER.mine

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return super().execute(sql.replace("{mine}", self.mine), parameters)


class StorageError(UnavailableError):
    """The disk or the file does not take a write now (full, read-only, damaged)."""


class Storage:
    """One SQLite file; every method may be called from any thread.

    A connection whose file went wrong is thrown away and made anew: one that was opened while the disk was
    read-only stays so, also when the disk is well again.
    """

    form = ONE_METER

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lock = threading.RLock()
        """Held while anything is read or written, and between steps that belong together."""
        self._is_open = False
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open or make the file; ConfigurationError if it is damaged, in use or not writable."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            sqlite_file.create(self._path, cure=_BEGIN_ANEW, page_size=self.form.page_size)
            self._connection = self._connected()
            self._is_open = True
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError(_cure(self._path, error)) from error

    def close(self) -> None:
        """Give the file back; calls that come later raise StorageError."""
        with self.lock:
            self._is_open = False
            self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @contextmanager
    def writing(self, durability: Durability = "FULL") -> Iterator[sqlite3.Connection]:
        """One transaction, on the disk at the end (NORMAL: a power cut may undo it); StorageError if not."""
        with self._held() as connection:
            connection.execute(f"PRAGMA synchronous={durability}")
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                yield connection

    def all(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of one query; StorageError if the file cannot be read."""
        with self._held() as connection:
            return connection.execute(query, values).fetchall()

    def write(
        self,
        job: Callable[[sqlite3.Connection], T],
        done: Callable[[T], None],
        *,
        durability: Durability = "FULL",
    ) -> T:
        """The result of ``job`` in one transaction; ``done`` is called with it when that is on the disk."""
        with self.lock:
            with self.writing(durability) as connection:
                result = job(connection)
            done(result)
            return result

    async def together(
        self,
        job: Callable[[sqlite3.Connection], T],
        done: Callable[[T], None],
        *,
        durability: Durability = "FULL",
    ) -> T:
        """`write` in a thread, perhaps in one transaction with others."""
        return await asyncio.to_thread(self.write, job, done, durability=durability)

    @contextmanager
    def _held(self) -> Iterator[sqlite3.Connection]:
        with self.lock:
            if not self._is_open:
                raise StorageError(f"{self._path} is closed")
            try:
                self._connection = self._connection or self._connected()
                yield self._connection
            except sqlite3.Error as error:
                if error.sqlite_errorcode & 0xFF in _FILE_WENT_WRONG:
                    self._disconnect()
                raise StorageError(f"{self._path}: {error}") from error

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=1.0, factory=_Connection
        )
        try:
            connection.mine = self.form.mine
            self._prepare(connection)
            # Exclusive before WAL: no shared memory file, and a second process is refused.
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA temp_store=MEMORY")  # a file's cache would stay with the connection
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            ((page_size,),) = connection.execute("PRAGMA page_size").fetchall()  # an older file has larger
            connection.execute(f"PRAGMA wal_autocheckpoint={self.form.wal_bytes // page_size}")
            connection.executescript(f"BEGIN IMMEDIATE; {self.form.schema} COMMIT;")
            if "epoch" not in {column[1] for column in connection.execute("PRAGMA table_info(outbox)")}:
                connection.execute("ALTER TABLE outbox ADD COLUMN epoch INTEGER")  # NULL: of outbox_state
            _refuse_damage(connection)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Before the first statement."""


def _refuse_damage(connection: sqlite3.Connection) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _cure(path: Path, error: Exception) -> str:
    if "locked" in str(error):
        return f"{path} is in use by another process: stop it, or choose another data_dir"
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return f"{path} is damaged ({error}): {_BEGIN_ANEW}"
    return f"{path} cannot be opened ({error}): data_dir must be a folder that we may write"
