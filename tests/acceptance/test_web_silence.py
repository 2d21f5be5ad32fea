"""An HTTP meter that falls silent is offline for all who listen to the broker, and online when it speaks
again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.messages import Reading, Status
from tests.bridges import TOPICS, Client
from tests.brokers import mosquitto
from tests.chain import chain, until
from tests.web import Web, served, start

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
    """A new HTTP meter."""
    with web.nobody() as client:
        return str(client.post("/SmartMeter", json={"name": "House H"}).json()["id"])


def submit(web: Web, meter_id: str) -> None:
    """It tells a reading, which is stored."""
    with web.nobody() as client:
        assert client.post(f"/Readings/{meter_id}", json=READING).status_code == 200


def told(scada: Client, meter_id: str) -> list[bool]:
    """What its status said, one after the other."""
    topic = TOPICS.meter(meter_id, "status")
    return [Status.model_validate_json(message).online for name, message in scada.all if name == topic]


def too_early(scada: Client, meter_id: str) -> list[Status]:
    """Each time that it was told offline, although its last reading was not old enough."""
    found, heard = [], None
    for topic, message in scada.all:
        if topic == TOPICS.meter(meter_id, "reading"):
            heard = Reading.model_validate_json(message).ts
        elif topic == TOPICS.meter(meter_id, "status") and heard is not None:
            status = Status.model_validate_json(message)
            if not status.online and (status.ts - heard).total_seconds() < SILENT - 0.05:
                found.append(status)
    return found


def test_silence_makes_it_offline_and_the_next_reading_online(web: Web, scada: Client) -> None:
    meter_id = register(web)
    submit(web, meter_id)
    until(lambda: told(scada, meter_id) == [False, True, False], why="offline")
    until(lambda: web.json(f"/meters/{meter_id}/latest")["state"] == "offline")
    submit(web, meter_id)
    until(lambda: told(scada, meter_id) == [False, True, False, True, False], why="online, and offline again")
    assert too_early(scada, meter_id) == []


def test_one_that_goes_on_speaking_stays_online(web: Web, scada: Client) -> None:
    meter_id, other = register(web), register(web)
    submit(web, other)

    def other_is_offline() -> bool:
        submit(web, meter_id)
        return told(scada, other) == [False, True, False]

    until(other_is_offline, why="the other is offline")
    assert told(scada, meter_id)[:2] == [False, True]
    assert too_early(scada, meter_id) == []


def test_one_that_fell_silent_while_the_web_was_away_is_offline_too(web: Web, scada: Client) -> None:
    """It has no will of its own."""
    meter_id = register(web)
    submit(web, meter_id)
    process = web.chain.processes.pop("web")
    process.kill()
    process.wait()
    start(web.chain, web, "--thesis")
    until(lambda: told(scada, meter_id) == [False, True, False], why="offline")
    submit(web, meter_id)
    until(lambda: told(scada, meter_id)[3:4] == [True], why="online again")
