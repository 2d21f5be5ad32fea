"""An HTTP meter that falls silent is offline for all who listen to the broker, and online when it speaks
again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.contract.reading import Reading
from broker.contract.status import Status
from tests.support.bridges import TOPICS, Client
from tests.support.brokers import mosquitto
from tests.support.chain import chain, until
from tests.support.web import Web, served, start
from web.legacy_http.meters import meter_of

INTERVAL = 1.0
SILENT = 3 * INTERVAL
READING = {"voltage": 229.5, "power": 280.1}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A web whose HTTP meters are to tell something every second."""
    folder = tmp_path_factory.mktemp("web")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METER61850_WEB_THESIS_INTERVAL", str(INTERVAL))
        with (
            mosquitto(folder) as broker,
            chain(broker, folder) as running,
            served(running, "--thesis") as web,
        ):
            yield web


@pytest.fixture
def scada(web: Web) -> Iterator[Client]:
    """Somebody else on the broker."""
    with Client(web.chain.broker) as client:
        yield client


def register(web: Web) -> str:
    """A new HTTP meter; its token."""
    with web.nobody() as client:
        return str(client.post("/SmartMeter", json={"name": "House H"}).json()["id"])


def submit(web: Web, token: str) -> None:
    """It tells a reading, which is stored."""
    with web.nobody() as client:
        assert client.post(f"/Readings/{token}", json=READING).status_code == 200


def told(scada: Client, token: str) -> list[bool]:
    """What its status said, one after the other."""
    topic = TOPICS.meter(meter_of(token), "status")
    return [Status.model_validate_json(message).online for name, message in scada.all if name == topic]


def too_early(scada: Client, token: str) -> list[Status]:
    """Each time that it was told offline, although its last reading was not old enough."""
    found, heard, meter_id = [], None, meter_of(token)
    for topic, message in scada.all:
        if topic == TOPICS.meter(meter_id, "reading"):
            heard = Reading.model_validate_json(message).ts
        elif topic == TOPICS.meter(meter_id, "status") and heard is not None:
            status = Status.model_validate_json(message)
            if not status.online and (status.ts - heard).total_seconds() < SILENT - 0.05:
                found.append(status)
    return found


def test_silence_makes_it_offline_and_the_next_reading_online(web: Web, scada: Client) -> None:
    token = register(web)
    submit(web, token)
    until(lambda: told(scada, token) == [False, True, False], why="offline")
    until(lambda: web.json(f"/meters/{meter_of(token)}/latest")["state"] == "offline")
    submit(web, token)
    until(lambda: told(scada, token) == [False, True, False, True, False], why="online, and offline again")
    assert too_early(scada, token) == []


def test_one_that_goes_on_speaking_stays_online(web: Web, scada: Client) -> None:
    token, other = register(web), register(web)
    submit(web, other)

    def other_is_offline() -> bool:
        submit(web, token)
        return told(scada, other) == [False, True, False]

    until(other_is_offline, why="the other is offline")
    assert told(scada, token)[:2] == [False, True]
    assert too_early(scada, token) == []


def test_one_that_fell_silent_while_the_web_was_away_is_offline_too(web: Web, scada: Client) -> None:
    """It has no will of its own."""
    token = register(web)
    submit(web, token)
    process = web.chain.processes.pop("web")
    process.kill()
    process.wait()
    start(web.chain, web, "--thesis")
    until(lambda: told(scada, token) == [False, True, False], why="offline")
    submit(web, token)
    until(lambda: told(scada, token)[3:4] == [True], why="online again")
