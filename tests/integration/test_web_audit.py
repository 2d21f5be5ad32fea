"""What is written or refused at the web stands in the audit, and no flood fills it."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, make_url, select
from sqlalchemy.exc import ProgrammingError
from sqlmodel import col

from bridge.store import audit as chain
from bridge.store import database
from bridge.store.audit_verify import verified
from bridge.store.tables import Audit
from tests.support.chain import until
from tests.support.databases import migrated
from tests.support.web import Web, beside_meters, log_in, start
from web.archive import Archive
from web.audit import Event, audit
from web.auth.accounts import Role
from web.recorder import REFUSALS, Recorder

pytest_plugins = ("tests.support.databases",)
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations-store.md"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """The web beside a bridge with one meter."""
    with beside_meters(tmp_path_factory.mktemp("web"), 1) as web:
        yield web


def rows(web: Web, event: str) -> list[tuple[str, str, str]]:
    """Who, from where, and the outcome."""
    return web.chain.rows("SELECT who, origin, outcome FROM audit WHERE event = ? ORDER BY no", event)


def test_logins_and_refused_ones_are_recorded(web: Web) -> None:
    with web.nobody() as client:
        log_in(client, "observer", "wrong")
        log_in(client, "observer")
    found = until(lambda: told if len(told := rows(web, "login")) >= 2 else [], why="both in the audit")
    assert found[-2:] == [("observer", "web 127.0.0.1", "denied"), ("observer", "web 127.0.0.1", "done")]


def test_what_one_may_not_is_recorded(web: Web) -> None:
    (meter_id,) = web.wait_for_meters(1)
    with web.program(Role.OBSERVER) as client:
        assert client.post(f"/meters/{meter_id}/relay", json={"position": "open"}).status_code == 403
    found = until(lambda: rows(web, "web"), why="the refusal in the audit")
    assert found[-1] == ("observer-program", "web 127.0.0.1", "denied")


def test_a_web_that_is_killed_while_the_database_is_locked_forgets_no_login(web: Web) -> None:
    """The whole service: what it has answered stands in the audit, once."""
    before = len(rows(web, "login"))
    with held(web.chain.database), web.nobody() as client:
        assert log_in(client, "operator").status_code == 303
        process = web.chain.processes.pop("web")
        process.kill()
        process.wait()
    start(web.chain, web)
    found = until(lambda: told if len(told := rows(web, "login")) > before else [], why="in the audit")
    assert found[before:] == [("operator", "web 127.0.0.1", "done")]
    assert rows(web, "login") == found


def test_a_flood_of_refusals_does_not_fill_the_audit(kept: Kept) -> None:
    with kept.recorder():
        for number in range(10 * REFUSALS):
            audit(Event("login", f"guess {number}", "192.0.2.7", outcome="denied"))
        audit(Event("login", "anna", "192.0.2.8"))
        found = until(lambda: kept.rows(REFUSALS + 1), why="all in the audit")
    assert len(found) == REFUSALS + 1
    assert found[-1].who == "anna"
    assert json.loads(found[-1].detail)["left_out"] == 9 * REFUSALS


@dataclass
class Kept:
    """A database with our tables, and a web's spool beside it."""

    folder: Path
    engine: Engine

    @property
    def url(self) -> str:
        return f"sqlite:///{self.engine.url.database}"

    @property
    def file(self) -> Path:
        return self.folder / "audit.sqlite"

    def recorder(self) -> Recorder:
        return Recorder(self.url, spool=self.folder / "spool.sqlite")

    def rows(self, count: int = 0) -> Sequence[Any]:
        """Who and detail of all rows, once there are ``count``."""
        with self.engine.connect() as connection:
            found = connection.execute(
                select(col(Audit.who), col(Audit.detail)).order_by(col(Audit.no))
            ).all()
        return found if len(found) >= count else []


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    engine = database.connect(f"sqlite:///{tmp_path}/audit.sqlite")
    database.migrate(engine)
    yield Kept(tmp_path, engine)
    engine.dispose()


@contextmanager
def held(file: Path) -> Iterator[None]:
    """The database's write lock, as a long transaction of another program holds it."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA busy_timeout=30000")
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_what_happens_while_the_database_is_locked_is_recorded_later_in_order(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    """Also what happens after the audit has been given up once (10 s)."""
    names = [f"user {number}" for number in range(40)]
    with kept.recorder():
        with held(kept.file):
            for name in names:
                audit(Event("login", name, "192.0.2.7"))
            until(lambda: "the audit is not there" in caplog.text, seconds=60, why="a try that was given up")
        found = until(lambda: kept.rows(len(names)), why="all in the audit")
    assert [row.who for row in found] == names


def test_what_waits_is_recorded_by_the_next_start(kept: Kept) -> None:
    with held(kept.file), kept.recorder():
        audit(Event("login", "anna", "192.0.2.7"))
    assert kept.rows() == []
    with kept.recorder():
        assert [row.who for row in until(lambda: kept.rows(1), why="in the audit")] == ["anna"]


@pytest.mark.parametrize("moment", ["before the audit", "after the audit"])
def test_a_kill_while_events_are_moved_loses_and_repeats_nothing(kept: Kept, moment: str) -> None:
    """Others write into the audit meanwhile, and more events come after the kill."""
    code = KILLED[moment].format(url=kept.url, spool=str(kept.folder / "spool.sqlite"))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    chain.record(kept.engine, chain.Event(chain.Kind.LOGIN, who="somebody else"))
    with kept.recorder():
        audit(Event("login", "last", "192.0.2.7"))
        found = until(lambda: kept.rows(5), why="all in the audit")
    assert len(found) == 5
    ours = [row.who for row in found if row.who != "somebody else"]
    assert ours == ["a", "b", "b", "last"]
    with kept.engine.connect() as connection:
        assert list(verified(connection))


ROOT = Path(__file__).parents[2]
_MOVED = """
import os, signal
from pathlib import Path
from bridge.store import audit
from bridge.store.spool import Spool, opened
from bridge.store.audit import Event, Kind

record = audit.record
def killed(engine, *events):
    {{then}}
    os.kill(os.getpid(), signal.SIGKILL)
audit.record = killed
spool = Spool(opened(Path({spool!r})), url={url!r}, lock=Path({spool!r} + ".lock"))
for who in "abb":
    spool.keep(Event(Kind.LOGIN, who=who))
spool.move()
"""
KILLED = {
    "before the audit": _MOVED.replace("{{then}}", "pass"),
    "after the audit": _MOVED.replace("{{then}}", "record(engine, *events)"),
}


def test_the_chain_stays_whole(web: Web) -> None:
    engine = database.connect(web.chain.url, reader=True)
    with engine.connect() as connection:
        assert list(verified(connection))
    engine.dispose()


def test_on_postgresql_the_web_needs_to_read_and_to_append_to_the_audit(
    postgres_url: str, tmp_path: Path
) -> None:
    """The statements of docs/operations-store.md, for a role of their own name."""
    role = f"web_{make_url(postgres_url).database}"
    engine = migrated(postgres_url)
    (sql,) = re.findall(r"```sql\n(CREATE ROLE.*?)```", OPERATIONS.read_text(), re.S)
    with engine.begin() as connection:
        connection.exec_driver_sql(sql.replace("meter61850_web", role))
    url = make_url(postgres_url).set(username=role).render_as_string(hide_password=False)
    with Recorder(url, spool=tmp_path / "spool.sqlite"):
        audit(Event("login", "anna", "192.0.2.7"))
        until(lambda: audited(engine) == ["anna"], why="in the audit")
    archive = Archive(url)
    assert list(archive.store.registry(retired=True)) == []
    assert archive.store.revisions(last=1) == []
    archive.close()
    theirs = database.connect(url)
    with pytest.raises(ProgrammingError, match="permission denied"), theirs.begin() as connection:
        connection.exec_driver_sql("DELETE FROM meter")
    theirs.dispose()
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {role}; DROP ROLE {role}")
    engine.dispose()


def audited(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(select(col(Audit.who)).order_by(col(Audit.no))))
