"""Relay commands over HTTP: sent once, in time, by those who may, and recorded either way."""

from __future__ import annotations

import json
import signal
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from broker.contract.commands import NOT_MOVED, Why, new_command
from broker.contract.relay import Origin, OriginCategory, Position
from broker.contract.result import Result
from tests.support.bridges import TOPICS, Client, stamp
from tests.support.chain import until
from tests.support.played import Played
from tests.support.web import PASSWORD, Web, beside_meters, csrf_of, log_in, start
from web.auth.accounts import Accounts, Role

ABSENT = "00000000-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Two simulated meters and the web beside them."""
    with beside_meters(tmp_path_factory.mktemp("web"), 2) as web:
        yield web


def order(client: httpx.Client, meter_id: str, position: str, key: str | None = None) -> httpx.Response:
    """POST a command."""
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(f"/meters/{meter_id}/relay", json={"position": position}, headers=headers)


def ended(client: httpx.Client, command_id: str) -> dict[str, object]:
    """The command when nothing more is expected."""
    document: dict[str, object] = client.get(f"/commands/{command_id}", params={"wait": 10}).json()
    assert document["final"], document
    return document


def position(web: Web, meter_id: str) -> str:
    """Of the relay, as the API tells."""
    return str(web.json(f"/meters/{meter_id}/latest")["relay"])


def operations(web: Web, meter_id: str) -> int:
    """Of the relay, as the meter itself tells; the registry follows."""
    with Client(web.chain.broker) as client:
        told = until(lambda: client.latest.get(TOPICS.meter(meter_id, "relay")), why="the relay")
    assert told is not None
    return int(json.loads(told)["operations"])


def ledger(web: Web, command_id: str) -> list[tuple[str, str, str]]:
    """Outcome, reason, and issuer of a command in the database, once it has an outcome."""
    query = "SELECT outcome, reason, origin_identifier FROM command WHERE command_id = ? AND outcome != ''"
    return until(lambda: web.chain.rows(query, command_id), why=f"{command_id} in the ledger")


def test_the_relay_moves_and_the_ledger_says_who(web: Web) -> None:
    meter_id = web.wait_for_meters(2)[0]
    with web.program(Role.OPERATOR) as client:
        for wanted in ("open", "closed"):
            answer = order(client, meter_id, wanted)
            assert answer.status_code == 202
            document = answer.json()
            assert answer.headers["location"] == f"/api/v1/commands/{document['command_id']}"
            assert ended(client, document["command_id"])["state"] == "done"
            assert position(web, meter_id) == wanted
            assert ledger(web, document["command_id"]) == [("done", "", "web operator-program")]
            issued = "SELECT origin FROM audit WHERE event = 'command-issued' AND detail LIKE ?"
            assert web.chain.rows(issued, f"%{document['command_id']}%") == [("web 127.0.0.1",)]


def test_a_command_in_vain_is_refused_and_recorded(web: Web) -> None:
    meter_id = web.wait_for_meters(2)[0]
    with web.program(Role.OPERATOR) as client:
        answer = order(client, meter_id, "closed")
    assert answer.status_code == 409
    assert answer.json()["detail"] == "the relay is closed already"
    command = answer.json()["command"]
    assert (command["state"], command["final"]) == ("refused", True)
    assert ledger(web, command["command_id"])[0][:2] == ("refused", "the relay is closed already")


def test_an_order_that_waited_on_its_way_is_refused(web: Web) -> None:
    """In a browser without a free connection, or in front of a service that hung."""
    meter_id = web.wait_for_meters(2)[0]
    with web.program(Role.OPERATOR) as client:
        late = {"position": "open", "expires_at": stamp(seconds=-0.001)}
        answer = client.post(f"/meters/{meter_id}/relay", json=late)
        assert (answer.status_code, answer.json()["detail"]) == (409, Why.LATE)
        assert ledger(web, answer.json()["command"]["command_id"])[0][:2] == ("refused", Why.LATE)
        for seconds in (4.5, 60):
            limit = stamp(seconds=seconds)
            wanted = "closed" if position(web, meter_id) == "open" else "open"
            command = client.post(
                f"/meters/{meter_id}/relay", json={"position": wanted, "expires_at": limit}
            ).json()
            assert (command["expires_at"] == limit) is (seconds == 4.5), "never longer than 5 s"
            assert ended(client, command["command_id"])["state"] == "done"


def test_an_unknown_meter_is_404_and_recorded(web: Web) -> None:
    with web.program(Role.OPERATOR) as client:
        answer = order(client, ABSENT, "open")
    assert answer.status_code == 404
    assert ledger(web, answer.json()["command"]["command_id"])[0][0] == "refused"


def test_what_is_blocked_is_refused(web: Web) -> None:
    meter_id = web.wait_for_meters(2)[1]
    web.chain.cli("relay", "block", meter_id, "--opening", "--mqtt", web.chain.mqtt)
    until(lambda: web.json(f"/meters/{meter_id}/latest").get("blocked") == "opening", why="the block")
    with web.program(Role.OPERATOR) as client:
        answer = order(client, meter_id, "open")
    web.chain.cli("relay", "block", meter_id, "--release", "--mqtt", web.chain.mqtt)
    assert (answer.status_code, answer.json()["detail"]) == (409, "opening is blocked")
    assert position(web, meter_id) == "closed"


def test_a_meter_without_a_relay_has_nothing_to_switch(web: Web) -> None:
    with Client(web.chain.broker) as there, web.program(Role.OPERATOR) as client:
        played = Played(there, str(uuid.uuid4()), "No relay")
        played.appear(web, relay=False)
        played.relay("closed")  # of one that was there before
        document = web.json(f"/meters/{played.meter_id}/latest")
        assert document["has_relay"] is False
        assert "relay" not in document
        for position in ("open", "closed"):
            answer = order(client, played.meter_id, position)
            assert (answer.status_code, answer.json()["detail"]) == (409, Why.NO_RELAY)
        assert played.commands() == []
        page = client.get(f"{web.url}/meters/{played.meter_id}").text
        assert "data-order" not in page
        played.retire()


def test_done_without_a_move_has_timed_out_as_in_the_ledger(web: Web) -> None:
    with Client(web.chain.broker) as there, web.program(Role.OPERATOR) as client:
        played = Played(there, str(uuid.uuid4()), "Stuck")
        played.appear(web)
        played.relay("closed")
        until(lambda: web.json(f"/meters/{played.meter_id}/latest").get("relay") == "closed")
        command_id = order(client, played.meter_id, "open").json()["command_id"]
        until(lambda: played.commands() == [command_id])
        played.answer(command_id)
        document = ended(client, command_id)
        assert (document["state"], document["reason"]) == ("timed out", NOT_MOVED)
        until(lambda: ledger(web, command_id)[0][:2] == ("timed out", NOT_MOVED), seconds=60)
        played.relay("open", command_id=command_id)
        until(lambda: ended(client, command_id)["state"] == "done", why="it moved after all")
        until(lambda: ledger(web, command_id)[0][0] == "done", seconds=60)
        played.retire()


def test_a_repeated_request_is_one_command(web: Web) -> None:
    meter_id, key = web.wait_for_meters(2)[0], uuid.uuid4().hex
    before = operations(web, meter_id)
    with Client(web.chain.broker) as bystander, web.program(Role.OPERATOR) as client:
        answers = [order(client, meter_id, "open", key) for _ in range(3)]
        ids = {answer.json()["command_id"] for answer in answers}
        assert {answer.status_code for answer in answers} == {202}
        assert len(ids) == 1
        ended(client, ids.pop())
        clash = order(client, meter_id, "closed", key)
        assert clash.status_code == 422
        assert "Idempotency-Key" in clash.json()["detail"]
        sent = [topic for topic, _ in bystander.all if topic == TOPICS.meter(meter_id, "command")]
        assert len(sent) == 1
        ended(client, order(client, meter_id, "closed").json()["command_id"])
    until(lambda: web.json(f"/meters/{meter_id}")["relay_operations"] == before + 2, why="two operations")


def test_requests_at_the_same_time_are_one_command(web: Web) -> None:
    meter_id, key = web.wait_for_meters(2)[0], uuid.uuid4().hex
    answers: list[httpx.Response] = []
    gate = threading.Barrier(5)

    def send() -> None:
        with web.program(Role.OPERATOR) as client:
            gate.wait()
            answers.append(order(client, meter_id, "open", key))

    threads = [threading.Thread(target=send) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {202}
    (command_id,) = {answer.json()["command_id"] for answer in answers}
    with web.program(Role.OPERATOR) as client:
        assert ended(client, command_id)["state"] == "done"
        ended(client, order(client, meter_id, "closed").json()["command_id"])
    assert web.chain.rows("SELECT repeats FROM command WHERE command_id = ?", command_id) == [(0,)]


def test_a_key_is_remembered_over_a_restart(web: Web) -> None:
    meter_id, key = web.wait_for_meters(2)[0], uuid.uuid4().hex
    with web.program(Role.OPERATOR) as client:
        command_id = order(client, meter_id, "open", key).json()["command_id"]
        ended(client, command_id)
        ledger(web, command_id)
        ended(client, order(client, meter_id, "closed").json()["command_id"])
    process = web.chain.processes.pop("web")
    process.kill()
    process.wait()
    start(web.chain, web)
    web.wait_for_meters(2)
    with web.program(Role.OPERATOR) as client:
        again = order(client, meter_id, "open", key)
    assert (again.status_code, again.json()["command_id"]) == (202, command_id)
    assert again.json()["state"] == "done"
    assert position(web, meter_id) == "closed"


def test_what_cannot_be_answered_is_not_done(web: Web) -> None:
    meter_id = web.wait_for_meters(2)[0]
    before = operations(web, meter_id)
    with web.program(Role.OPERATOR, Accept="text/csv") as client, Client(web.chain.broker) as bystander:
        assert order(client, meter_id, "open").status_code == 406
        client.headers["Accept"] = "application/json"
        answer = order(client, meter_id, "closed")
        assert answer.json()["detail"] == "the relay is closed already"
        ledger(web, answer.json()["command"]["command_id"])  # told after what the first would have sent
        assert TOPICS.meter(meter_id, "command") not in [topic for topic, _ in bystander.all]
    assert operations(web, meter_id) == before


def test_an_observer_may_not_switch(web: Web) -> None:
    meter_id = web.wait_for_meters(2)[0]
    with web.program(Role.OBSERVER) as client:
        answer = order(client, meter_id, "open")
    assert answer.status_code == 403
    assert position(web, meter_id) == "closed"
    assert "audit_outcome=denied" in web.chain.log("web")


def test_commands_of_others_are_told_from_the_ledger(web: Web) -> None:
    meter_id = web.wait_for_meters(2)[1]
    where = ("--mqtt", web.chain.mqtt)
    told = web.chain.cli_json("relay", "open", meter_id, "--wait", *where)
    web.chain.cli("relay", "close", meter_id, "--wait", *where)
    until(lambda: ledger(web, told["command_id"]))
    assert web.json(f"/commands/{told['command_id']}")["state"] == "done"
    rows = web.json("/commands", meter_id=meter_id)["commands"]
    assert [row["what"] for row in rows[:2]] == ["closed", "open"]
    assert rows[0]["meter"] == "House 2"


def test_what_a_stranger_answers_is_not_taken(web: Web) -> None:
    """A result on another meter's topic ends nothing."""
    first, second = web.wait_for_meters(2)
    origin = Origin(category=OriginCategory.MAINTENANCE, identifier="test")
    meters = web.chain.processes["meters1"]
    with web.program(Role.OPERATOR) as client, Client(web.chain.broker) as stranger:
        meters.send_signal(signal.SIGSTOP)  # so that the forged answer is the first
        try:
            document = order(client, first, "open").json()
            command = new_command(Position.OPEN, origin, command_id=document["command_id"])
            forged = Result(
                command_id=command.command_id, outcome="failed", reason="forged", ts=command.issued_at
            )
            stranger.publish(TOPICS.meter(second, "result"), forged.payload())
        finally:
            meters.send_signal(signal.SIGCONT)
        assert ended(client, document["command_id"])["state"] == "done"
        ended(client, order(client, first, "closed").json()["command_id"])


def test_without_a_broker_nothing_is_sent_now_or_later(web: Web) -> None:
    meter_id = web.wait_for_meters(2)[0]
    web.chain.broker.stop()
    try:
        with web.program(Role.OPERATOR) as client:
            until(lambda: client.get("/meters/latest").json()["broker"] is False, why="the broker is away")
            assert {meter["state"] for meter in client.get("/meters/latest").json()["meters"]} == {"stale"}
            answer = order(client, meter_id, "open")
            assert answer.status_code == 409
            assert answer.json()["detail"] == "the broker is away"
    finally:
        web.chain.broker.start()
    command_id = answer.json()["command"]["command_id"]
    assert ledger(web, command_id)[0][:2] == ("refused", "the broker is away")
    web.wait_for_meters(2)
    assert position(web, meter_id) == "closed"


def test_a_browser_needs_the_second_secret(web: Web) -> None:
    meter_id = web.wait_for_meters(2)[0]
    path, wanted = f"/api/v1/meters/{meter_id}/relay", {"position": "open"}
    with web.nobody() as client:
        assert log_in(client, "operator").status_code == 303
        csrf = csrf_of(client.get("/").text)
        for headers in (
            {},
            {"X-CSRF-Token": "guessed"},
            {"X-CSRF-Token": csrf, "Origin": "http://evil.example"},
        ):
            assert client.post(path, json=wanted, headers=headers).status_code == 403
        assert position(web, meter_id) == "closed"
        answer = client.post(path, json=wanted, headers={"X-CSRF-Token": csrf, "Origin": web.url})
        assert answer.status_code == 202
        wait = f"/api/v1/commands/{answer.json()['command_id']}?wait=10"
        assert client.get(wait).json()["state"] == "done"
        back = client.post(path, json={"position": "closed"}, headers={"X-CSRF-Token": csrf})
        client.get(f"/api/v1/commands/{back.json()['command_id']}?wait=10")


def test_an_account_that_is_removed_is_out_at_once(web: Web) -> None:
    accounts = Accounts(web.users)
    accounts.add("guest", Role.OBSERVER, password=PASSWORD)
    with web.nobody() as client:
        log_in(client, "guest")
        assert client.get("/api/v1/meters").status_code == 200
        accounts.remove("guest")
        assert client.get("/api/v1/meters").status_code == 401


def test_logout_ends_the_session(web: Web) -> None:
    with web.nobody() as client:
        log_in(client, "observer")
        cookie = client.cookies["meter61850_session"]
        csrf = csrf_of(client.get("/").text)
        assert client.post("/logout", data={"csrf": "guessed"}).status_code == 403
        assert client.post("/logout", data={"csrf": csrf}).status_code == 303
        client.cookies.set("meter61850_session", cookie)
        assert client.get("/api/v1/meters").status_code == 401


def test_who_guesses_many_at_a_time_has_to_wait_too(web: Web) -> None:
    """All of them are here before the first one is found to be wrong."""
    with web.nobody() as client, ThreadPoolExecutor(20) as threads:
        tried = list(threads.map(lambda _: log_in(client, "observer", "wrong").status_code, range(20)))
    assert set(tried) == {401, 429}
    assert tried.count(401) <= 6


def test_who_guesses_has_to_wait(web: Web) -> None:
    """Last in this module: from then on the address has fewer attempts left."""
    with web.nobody() as client:
        codes = [log_in(client, "administrator", "wrong").status_code for _ in range(6)]
        assert codes == [401] * 5 + [429]
        assert int(log_in(client, "administrator").headers["retry-after"]) > 30
        assert log_in(client, "operator").status_code == 303
    with web.nobody() as client:
        headers = {"Sec-Fetch-Site": "cross-site"}
        form = {"name": "operator", "password": PASSWORD}
        assert client.post("/login", data=form, headers=headers).status_code == 403
