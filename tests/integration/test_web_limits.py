"""How many relay commands one account may give in a minute."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.bridges import TOPICS, Client
from tests.support.chain import until
from tests.support.web import Web, limited
from web.auth.accounts import Role

MOST = 3


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with limited(tmp_path_factory.mktemp("web"), MOST) as web:
        yield web


def order(web: Web, role: Role, meter_id: str, position: str) -> httpx.Response:
    """POST a command as the program of that role."""
    with web.program(role) as client:
        return client.post(f"/meters/{meter_id}/relay", json={"position": position})


def test_who_gives_too_many_commands_waits_and_nothing_is_sent(web: Web) -> None:
    (meter_id,) = web.wait_for_meters(1)
    in_vain = [order(web, Role.OPERATOR, meter_id, "closed").status_code for _ in range(MOST)]
    assert in_vain == [409] * MOST
    with Client(web.chain.broker) as bystander:
        answer = order(web, Role.OPERATOR, meter_id, "open")
        assert answer.status_code == 429
        assert answer.headers["content-type"] == "application/problem+json"
        assert 0 < int(answer.headers["retry-after"]) <= 60
        assert answer.json()["detail"].startswith("more than 3 commands of operator-program in a minute")
        assert order(web, Role.ADMINISTRATOR, meter_id, "open").status_code == 202
        command = TOPICS.meter(meter_id, "command")
        until(lambda: [topic for topic, _ in bystander.all if topic == command], why="the other's command")
        assert [topic for topic, _ in bystander.all].count(command) == 1
    with web.program(Role.OPERATOR) as client:
        assert client.get("/meters").status_code == 200


def test_it_stands_in_the_audit_as_every_refusal(web: Web) -> None:
    (meter_id,) = web.wait_for_meters(1)
    until(lambda: order(web, Role.OPERATOR, meter_id, "open").status_code == 429)
    query = "SELECT who, outcome FROM audit WHERE detail LIKE '%more than 3 commands in a minute%'"
    assert until(lambda: web.chain.rows(query), why="the audit")[0] == ("operator-program", "denied")


def test_observers_without_rights_do_not_count(web: Web) -> None:
    (meter_id,) = web.wait_for_meters(1)
    refused = [order(web, Role.OBSERVER, meter_id, "open").status_code for _ in range(MOST + 1)]
    assert refused == [403] * (MOST + 1)
