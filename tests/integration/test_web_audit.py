"""What is written or refused at the web stands in the audit, and no flood fills it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlmodel import col

from bridge import database
from bridge.audit_check import verified
from bridge.tables import Audit
from tests.chain import until
from tests.web import Web, beside_meters, log_in
from web.accounts import Role
from web.audit import Event, audit
from web.recorder import REFUSALS, Recorder


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


def test_a_flood_of_refusals_does_not_fill_the_audit(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/audit.sqlite"
    database.migrate(database.connect(url))
    with Recorder(url):
        for number in range(10 * REFUSALS):
            audit(Event("login", f"guess {number}", "192.0.2.7", outcome="denied"))
        audit(Event("login", "anna", "192.0.2.8"))
    engine = database.connect(url)
    with engine.connect() as connection:
        found = connection.execute(select(col(Audit.who), col(Audit.detail)).order_by(col(Audit.no))).all()
    assert len(found) == REFUSALS + 1
    assert found[-1].who == "anna"
    assert f'"left_out":{9 * REFUSALS}' in found[-1].detail.replace(" ", "")
    engine.dispose()


def test_the_chain_stays_whole(web: Web) -> None:
    engine = database.connect(web.chain.url, reader=True)
    with engine.connect() as connection:
        assert list(verified(connection))
    engine.dispose()
