"""Real databases for tests: an empty SQLite file, and an empty database on a temporary PostgreSQL.

A test module says ``pytest_plugins = ("tests.support.databases",)`` and takes ``database_url`` (the test then
runs on both), ``sqlite_url``, ``postgres_url``, or ``postgres`` itself to stop and start it. They are empty;
`migrated` gives them our schema.
PostgreSQL is the locally installed one (run as user postgres when we are root); without one a
container when a Docker daemon answers; without that the tests fail, they are not skipped.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from sqlalchemy import Engine, inspect

from bridge.store import database
from tests.support.brokers import free_port

_numbers = itertools.count(1)


class Postgres(Protocol):
    """A running PostgreSQL that a test may stop and start; always at the same port."""

    port: int

    def start(self) -> None:
        """Start and wait until it answers."""

    def stop(self) -> None:
        """Stop at once, breaking every connection."""


def new_database(server: Postgres) -> str:
    """The URL of a new, empty database on ``server``."""
    name = f"meter61850_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(
        f"postgresql://postgres:x@127.0.0.1:{server.port}/postgres", autocommit=True
    ) as admin:
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
    return f"postgresql://postgres:x@127.0.0.1:{server.port}/{name}"


def migrated(url: str) -> Engine:
    """The database of ``url`` with our schema.

    Into an empty one it is copied from the first one that this process migrates: that takes 0.3 s, and
    hundreds of tests need it.
    """
    engine = database.connect(url)
    is_empty = False
    if engine.dialect.name == "sqlite":
        if not (file := Path(str(engine.url.database))).exists():
            shutil.copy(_sqlite_template(), file)
    elif (is_empty := not inspect(engine).get_table_names()) and _dumps:
        with engine.begin() as connection:
            connection.exec_driver_sql(_dumps[0])
        engine.dispose()  # the dump's settings are those of its connection
    database.migrate(engine)
    if is_empty and not _dumps and (program := shutil.which("pg_dump")):
        _dumps.append(_dump(program, url))
    return engine


@functools.cache
def _sqlite_template() -> Path:
    file = Path(tempfile.mkdtemp(prefix="template-")) / "store.sqlite"
    atexit.register(shutil.rmtree, file.parent, ignore_errors=True)
    engine = database.connect(f"sqlite:///{file}")
    database.migrate(engine)
    engine.dispose()
    return file


_dumps: list[str] = []
"""What makes our schema in an empty PostgreSQL database, after the first one was migrated."""


def _dump(program: str, url: str) -> str:
    asked = [program, "--inserts", "--no-owner", url]
    dumped = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    statements = (line for line in dumped.splitlines() if not line.startswith("\\"))
    return "\n".join(statements).replace("%", "%%")


@dataclass
class LocalPostgres:
    """A cluster of the installed PostgreSQL below ``directory``."""

    binaries: Path
    directory: Path
    port: int
    options: str = ""

    def create(self) -> None:
        """initdb; nothing but our socket and 127.0.0.1 reaches it."""
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        """Start and wait until it answers."""
        options = f"-p {self.port} -k {self.directory} -c listen_addresses=127.0.0.1 {self.options}"
        log = str(self.directory / "log")
        self._run("pg_ctl", "-D", self._data, "-l", log, "-o", options, "-w", "-t", "60", "start")

    def stop(self) -> None:
        """Stop at once, breaking every connection."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped since."""
        return (self.directory / "data" / "postmaster.pid").exists()

    @property
    def _data(self) -> str:
        return str(self.directory / "data")

    def _run(self, program: str, *args: str) -> None:
        """Run a PostgreSQL ``program``, as user postgres when we are root, whom it refuses."""
        prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [*prefix, str(self.binaries / program), *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self.directory,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stderr.decode()}"


@dataclass
class DockerPostgres:
    """The official container; stopping keeps its data."""

    container: Any
    port: int

    def start(self) -> None:
        """Start and wait until it answers."""
        self.container.get_wrapped_container().start()
        self.container._connect()

    def stop(self) -> None:
        """Stop at once, breaking every connection."""
        self.container.get_wrapped_container().kill()


def _installed() -> Path | None:
    """The folder of the newest installed PostgreSQL's programs."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    folders = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((path.parent for path in folders), key=lambda path: int(path.parent.name), default=None)


def _local(binaries: Path, options: str) -> Iterator[Postgres]:
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(directory, owner.pw_uid, owner.pw_gid)
    server = LocalPostgres(binaries, directory, free_port(), options)
    try:
        server.create()
        server.start()
        yield server
    finally:
        if server.running:  # also when the tests were interrupted
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _docker() -> Iterator[Postgres]:
    from testcontainers.postgres import PostgresContainer  # noqa: PLC0415 - asks for Docker when imported

    port = free_port()
    container = PostgresContainer("postgres:15", username="postgres", password="x")
    with container.with_bind_ports(5432, port):
        yield DockerPostgres(container, port)


def running_postgres(options: str = "") -> Iterator[Postgres]:
    """A PostgreSQL for as long as the generator lives; ``options`` go to the server."""
    if binaries := _installed():
        yield from _local(binaries, options)
    elif (
        shutil.which("docker")
        and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    ):
        yield from _docker()
    else:
        raise AssertionError("no PostgreSQL: install it (apt install postgresql) or start a Docker daemon")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for the whole test run; without fsync, since no test cuts the power."""
    yield from running_postgres("-c fsync=off")


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """The URL of an empty PostgreSQL database."""
    return new_database(postgres)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'meter.sqlite'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database; the test runs once on each kind."""
    return str(request.getfixturevalue({"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]))
