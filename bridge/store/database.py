"""SQLite or PostgreSQL by URL: connections, migrations, and the kind of an error.

SQLite runs in WAL mode with ``synchronous=FULL``: a commit that returned survives a power cut.
PostgreSQL is reached through psycopg 3. Both hold the schema of `bridge.store.tables`, made by the
migrations in `bridge/migrations`.

>>> engine = connect("sqlite:///:memory:")
>>> engine.dialect.name
'sqlite'
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError

from bridge.store import quantity_columns, renumbered
from broker import sqlite_file
from broker.contract.errors import ConfigurationError, UnavailableError, reason

log = logging.getLogger(__name__)

BUSY_MS = 1000
"""ms that SQLite waits for another process's lock before it gives up."""

# fmt: off
_PRAGMAS = (
    f"busy_timeout={BUSY_MS}",
    "journal_mode=WAL",
    "synchronous=FULL",
    "wal_autocheckpoint=10000",  # 40 MiB of log: a page written by ten batches is copied once
)
# fmt: on

_FILE_WENT_WRONG = frozenset({
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
})  # fmt: skip

_engines: WeakSet[Engine] = WeakSet()
"""Of SQLite, in this process."""

_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
"""Seconds, seconds, times (libpq's and, with tcp_ before it, PostgreSQL's): who died is found in 25 s."""
_UNANSWERED_MS = 30_000
"""What was sent and is not acknowledged for so long ends the connection."""

WRITER_CACHE = 64
"""MiB of SQLite's page cache for the one that stores: the ends of 10,000 meters' index ranges stay."""

_MIGRATIONS = Path(__file__).parents[1] / "migrations"
_LOCK = 61850
"""PostgreSQL advisory lock: one process migrates at a time."""

_UPKEEP = "61850, 1"
"""PostgreSQL advisory lock: writers of readings share it, a transaction of upkeep is alone with it."""

RESTORE = "restore it from a backup (meter61850 store restore FILE), or move it away to begin with nothing"


def connect(url: str, *, reader: bool = False, cache: int = 8) -> Engine:
    """The engine for ``url``; ConfigurationError for a URL of no use to us.

    A ``reader`` takes no lock. ``cache``: MiB of each SQLite connection's pages, which it never gives back.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError(
            "database_url is no URL: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
        ) from None
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite(parsed, reader=reader, cache=cache)
        case "postgresql":
            return _postgresql(parsed)
    raise ConfigurationError(f"database_url: {parsed.drivername} is not supported: sqlite or postgresql")


def _sqlite(url: URL, *, reader: bool, cache: int) -> Engine:
    folder = Path(url.database or ":memory:").parent
    if not folder.is_dir():
        raise ConfigurationError(f"database_url: folder {folder} does not exist: make it, or name another")
    engine = create_engine(url)
    pragmas = (*_PRAGMAS, f"cache_size=-{cache * 1024}")
    event.listen(engine, "do_connect", partial(_make_file, url.database))
    event.listen(engine, "connect", partial(_configure_sqlite, pragmas))
    # The driver's own transactions leave out schema changes; ours take the write lock at once.
    begin = "BEGIN" if reader else "BEGIN IMMEDIATE"
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    event.listen(engine, "handle_error", _throw_away)
    _engines.add(engine)
    return engine


def _make_file(name: str | None, *_: object) -> None:
    """A new database gets the mode of a secret in its folder; SQLite's other files get the same."""
    if name not in (None, "", ":memory:"):
        sqlite_file.create(Path(name), cure=RESTORE)


def check_file(url: str) -> None:
    """ConfigurationError if the database is a SQLite file that is empty: it has lost what was in it."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        sqlite_file.check(Path(parsed.database), cure=RESTORE)


def _throw_away(context: ExceptionContext) -> None:
    """Have all connections to a file thrown away that went wrong under them.

    What was opened while the disk was read-only is read-only for ever, also when the disk is well again; and
    as long as one connection of this process is so, SQLite shares its log's index with each new one.
    """
    code = getattr(context.original_exception, "sqlite_errorcode", 0)
    if code & 0xFF not in _FILE_WENT_WRONG:
        return
    context.is_disconnect = True
    if (failed := context.execution_context) is not None:
        failed.cursor.close()  # else it keeps the connection open, until it is collected
    file = context.engine.url.database if context.engine is not None else None
    for engine in [engine for engine in _engines if engine.url.database == file]:
        engine.dispose()


def _configure_sqlite(pragmas: Iterable[str], connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")


def _postgresql(url: URL) -> Engine:
    arguments = {"connect_timeout": 3, "application_name": "meter61850", **_KEEPALIVES}
    arguments["tcp_user_timeout"] = _UNANSWERED_MS
    try:
        engine = create_engine(url.set(drivername="postgresql+psycopg"), connect_args=arguments)
    except ModuleNotFoundError:
        raise ConfigurationError(
            "database_url: PostgreSQL needs psycopg: pip install 'meter61850[postgres]'"
        ) from None
    event.listen(engine, "connect", _watch_us)
    return engine


def _watch_us(connection: Any, _record: object) -> None:
    """Have the server see as soon that we are gone: a host without power says no goodbye, and holds locks."""
    server = {f"tcp_{name}": value for name, value in _KEEPALIVES.items()} | {
        "tcp_user_timeout": _UNANSWERED_MS
    }
    connection.execute("; ".join(f"SET {name} = {value}" for name, value in server.items()))
    connection.commit()


def migrate(engine: Engine) -> None:
    """Bring the schema up to date; ConfigurationError when the database is newer than this program."""
    config = _config()
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        config.attributes["connection"] = connection
        renumbered.settle(connection)
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigurationError(
                f"the database was made by a newer meter61850 ({error}): install that one"
            ) from error
        quantity_columns.add(connection)


def check_schema(engine: Engine) -> None:
    """ConfigurationError unless the schema is the one of this program."""
    expected = ScriptDirectory.from_config(_config()).get_current_head()
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
        missing = quantity_columns.missing(connection) if found == expected else {}
    if found is None:
        raise ConfigurationError("the database is empty: start the bridge once (meter61850 bridge run)")
    if found != expected:
        raise ConfigurationError(
            f"the database has schema {found}, this program has {expected}: start the newer one's bridge once"
        )
    if missing:
        names = ", ".join(
            f"{table}.{column.name}" for table, columns in missing.items() for column in columns
        )
        raise ConfigurationError(f"the database has no {names}: start this program's bridge once")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """The engine for a database of ours; UnavailableError without one, ConfigurationError for another's."""
    engine = connect(url)
    file = engine.url.database
    if engine.dialect.name == "sqlite" and not (file and Path(file).is_file()):
        raise UnavailableError(f"no database {file}: start the bridge, or name another with --database")
    try:
        check_schema(engine)
        yield engine
    except DBAPIError as error:
        if is_about_data(error):
            raise
        raise UnavailableError(f"the database does not answer: {reason(error)}") from error
    finally:
        engine.dispose()


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection that sees one state of the database for as long as it lives."""
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.connect() as connection:
        yield connection


def share(connection: Connection) -> None:
    """Begin to write readings: no transaction of upkeep runs beside this one."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock_shared({_UPKEEP})")


@contextmanager
def alone(engine: Engine) -> Iterator[Connection]:
    """A short transaction of upkeep: nobody writes readings meanwhile (SQLite has one writer anyway)."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_UPKEEP})")
        yield connection


def is_about_data(error: DBAPIError) -> bool:
    """True when the database refuses what we gave it; else it is in trouble, and may take it later."""
    return isinstance(error, DataError | IntegrityError)
