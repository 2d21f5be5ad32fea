"""The thesis's client against us: plain HTTP requests as in its appendix, and what becomes of them
everywhere."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from lxml import etree

from tests.support.brokers import mosquitto
from tests.support.chain import chain, until
from tests.support.web import Web, served, start
from web.auth.accounts import Role
from web.legacy_http.meters import meter_of

SCL = "{http://www.iec.ch/61850/2003/SCL}"
READING = {"voltage": 229.5, "current": 1.25, "power": 280.1, "powerFactor": 0.97}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Bridge, MMS bridge and a web that takes HTTP meters; no other meter."""
    folder = tmp_path_factory.mktemp("web")
    with mosquitto(folder) as broker, chain(broker, folder) as running, served(running, "--thesis") as web:
        yield web


def post(url: str, document: dict[str, Any]) -> tuple[int, Any]:
    """As ``requests.post(url, json=document)`` of the appendix."""
    body = json.dumps(document).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", "Accept": "*/*"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status, json.loads(answer.read())


class Client:
    """The script of the appendix without its sensor: token in a file, a reading at a time."""

    def __init__(self, url: str, token_file: Path) -> None:
        self.url = url
        self.token_file = token_file

    def get_token(self) -> str:
        """Register."""
        data = {"location": "Claremont", "name": "k-Residence"}
        status, document = post(f"{self.url}/SmartMeter", data)
        assert status == 200
        return str(document.get("id"))

    def token(self) -> str:
        """From the file, or of a new registration."""
        if not self.token_file.exists():
            self.token_file.write_text(self.get_token())
        return self.token_file.read_text().strip()

    def submit(self) -> tuple[int, Any]:
        """One reading."""
        return post(f"{self.url}/Readings/{self.token()}", READING)


def test_the_clients_flow(web: Web, tmp_path: Path) -> None:
    """Register, store the id, submit, read back, delete."""
    client = Client(web.url, tmp_path / "token.txt")
    status, told = client.submit()
    assert status == 200
    token = client.token()
    assert UUID(told["id"])
    assert told["smartMeterId"] == token
    assert {name: told[name] for name in READING} == READING
    assert len(told) == 7
    second = client.submit()[1]
    with web.nobody() as anybody:
        assert anybody.get(f"/Readings/{token}").json() == [told, second]
        assert anybody.get(f"/SmartMeter/{token}").status_code == 204
        assert anybody.delete(f"/SmartMeter/{token}").status_code == 204
        until(lambda: anybody.get(f"/SmartMeter/{token}").status_code == 404, why="it is gone")


def test_who_sees_the_meter_does_not_have_its_token(web: Web, tmp_path: Path) -> None:
    """The meter_id is in every topic, the SCD and the API: it must open nothing."""
    client = Client(web.url, tmp_path / "token.txt")
    client.submit()
    meter_id = meter_of(client.token())
    with web.nobody() as anybody:
        assert anybody.post(f"/Readings/{meter_id}", json=READING).status_code == 404
        assert anybody.get(f"/Readings/{meter_id}").status_code == 404
        assert anybody.get(f"/SmartMeter/{meter_id}").status_code == 404
        assert anybody.delete(f"/SmartMeter/{meter_id}").status_code == 404
        assert anybody.delete("/SmartMeter", params={"id": meter_id}).status_code == 404
    with web.program(Role.OBSERVER) as program:
        assert program.get(f"{web.url}/SmartMeter/{meter_id}").status_code == 204
        (reading,) = program.get(f"{web.url}/Readings/{meter_id}").json()
        assert (reading["smartMeterId"], reading["power"]) == (meter_id, 280.1)
        assert client.token() not in program.get(f"{web.url}/SmartMeter").text
    with web.program(Role.ADMINISTRATOR) as program:
        assert program.delete(f"{web.url}/SmartMeter/{meter_id}").status_code == 404, "it has no token either"


def test_it_is_a_meter_like_any_other(web: Web, tmp_path: Path) -> None:
    """In the registry, in the SCD, over MMS; frequency and energy are absent."""
    client = Client(web.url, tmp_path / "token.txt")
    client.submit()
    meter_id = meter_of(client.token())
    latest = web.json(f"/meters/{meter_id}/latest")
    assert (latest["name"], latest["state"], latest["voltage"]) == ("k-Residence", "online", 229.5)
    assert "frequency" not in latest
    assert "energy" not in latest
    domain = web.chain.domain(meter_id)
    web.chain.wait_for_domain(domain)
    read = web.chain.cli_json("mms", "read", f"127.0.0.1:{web.chain.mms_port}", f"{domain}/MMXN1.Vol[MX]")
    assert "229.5" in json.dumps(read)
    with web.program() as program:
        scd = etree.fromstring(program.get("/scl/scd").content)
        assert domain in {f"SMGW001{device.get('inst')}" for device in scd.iter(f"{SCL}LDevice")}
        refused = program.post(f"/meters/{meter_id}/relay", json={"position": "open"})
    assert refused.json()["detail"] == "the meter has no relay"


def test_it_is_on_after_a_restart_of_the_web(web: Web, tmp_path: Path) -> None:
    client = Client(web.url, tmp_path / "token.txt")
    client.submit()
    process = web.chain.processes.pop("web")
    process.kill()
    process.wait()
    start(web.chain, web, "--thesis")
    until(lambda: web.json("/meters", search="k-Res")["total"], why="the births are heard")
    assert client.submit()[0] == 200
    with web.nobody() as anybody:
        assert len(anybody.get(f"/Readings/{client.token()}").json()) == 2


def test_the_form_of_the_test_cases(web: Web) -> None:
    """Chapter 5.3: name, location, zipCode; the list has the new meter and its readings; XML by Accept."""
    given = {"name": "TEST1", "location": "CPUT", "zipCode": "7530"}
    status, told = post(f"{web.url}/SmartMeter", given)
    assert (status, told) == (200, {"id": told["id"], **given})
    post(f"{web.url}/Readings/{told['id']}", READING)
    with web.program(Role.OBSERVER) as program:
        listed = program.get(f"{web.url}/SmartMeter").json()
        (mine,) = [meter for meter in listed if meter["id"] == meter_of(told["id"])]
        assert mine["readings"][0]["power"] == 280.1
        xml = program.get(f"{web.url}/SmartMeter", headers={"Accept": "application/xml"})
        assert "TEST1" in [name.text for name in etree.fromstring(xml.content).iter("name")]
        assert program.get(f"{web.url}/SCL").content.startswith(b"<?xml")
    with web.nobody() as anybody:
        assert anybody.get("/SmartMeter").status_code == 401
        assert anybody.get("/swagger").headers["location"] == "/docs"
        gone = anybody.delete("/SmartMeter", params={"id": told["id"]})
        assert gone.status_code == 204


def test_what_cannot_be_answered_is_not_done(web: Web) -> None:
    """The id is told once: a meter whose registration has no answer could never speak."""
    with web.nobody() as anybody:
        refused = anybody.post("/SmartMeter", json={"name": "lost"}, headers={"Accept": "text/plain"})
        assert refused.status_code == 406
        made = anybody.post("/SmartMeter", json={"name": "kept"}, headers={"If-None-Match": "*"})
        assert made.status_code == 200
        path = f"/Readings/{made.json()['id']}"
        assert anybody.post(path, json=READING, headers={"Accept": "text/plain"}).status_code == 406
        assert anybody.post(path, json=READING, headers={"If-None-Match": "*"}).json()["power"] == 280.1
        assert len(anybody.get(path).json()) == 1
        names = [meter["name"] for meter in web.json("/meters", limit=1000)["meters"]]
        assert "kept" in names
        assert "lost" not in names
        anybody.delete(f"/SmartMeter/{made.json()['id']}")


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        ({}, "no value"),
        ({"voltage": -1}, "voltage"),
        ({"power": "much"}, "power"),
        ({"powerFactor": 2}, "powerFactor"),
    ],
)
def test_an_impossible_reading_is_refused(web: Web, reading: dict[str, Any], said: str) -> None:
    _, told = post(f"{web.url}/SmartMeter", {"name": "x"})
    with web.nobody() as anybody:
        answer = anybody.post(f"/Readings/{told['id']}", json=reading)
        assert answer.status_code == 422
        assert said in answer.json()["detail"]
        anybody.delete(f"/SmartMeter/{told['id']}")


def test_a_reading_that_is_not_stored_is_not_200(web: Web, tmp_path: Path) -> None:
    client = Client(web.url, tmp_path / "token.txt")
    client.submit()
    bridge = web.chain.processes.pop("bridge")
    bridge.terminate()
    bridge.wait()
    try:
        with web.nobody() as anybody:
            answer = anybody.post(f"/Readings/{client.token()}", json=READING)
    finally:
        web.chain.start_bridge()
    with web.nobody() as anybody:  # it is stored late, and the next one in time
        until(lambda: anybody.post(f"/Readings/{client.token()}", json=READING).status_code == 200)
    assert answer.status_code == 503
    assert "did not confirm" in answer.json()["detail"]


def test_somebody_elses_meter_is_not_an_http_meter(web: Web) -> None:
    web.chain.simulate(1)
    (meter_id,) = until(
        lambda: [meter["meter_id"] for meter in web.json("/meters", search="House 1")["meters"]]
    )
    with web.nobody() as anybody:
        assert anybody.post(f"/Readings/{meter_id}", json=READING).status_code == 404
        assert anybody.delete(f"/SmartMeter/{meter_id}").status_code == 404
