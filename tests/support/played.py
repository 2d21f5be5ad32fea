"""A meter that a test plays on the broker, the web beside it, and a browser (by `pytest_plugins`).

>>> Played(client, METER, "House 7").appear(web)  # doctest: +SKIP
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from selenium.webdriver import Chrome

from broker.contract.specs import RETAINED_OF_METER
from tests.support.bridges import TOPICS, Client, birth, reading, result, stamp
from tests.support.brokers import mosquitto
from tests.support.browser import logged_in
from tests.support.chain import chain, until
from tests.support.web import Web, served


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """The web beside a chain without meters."""
    folder = tmp_path_factory.mktemp("web")
    with mosquitto(folder) as broker, chain(broker, folder) as running, served(running) as web:
        yield web


@pytest.fixture(scope="module")
def chrome(web: Web) -> Iterator[Chrome]:
    """A browser in which the operator is logged in."""
    with logged_in(web) as driver:
        yield driver


@dataclass
class Played:
    """Says what a meter would say."""

    client: Client
    meter_id: str
    name: str
    seq: int = 0

    def appear(self, web: Web, **others: object) -> None:
        """It is born, online, closed, and the registry knows it."""
        self.born(**others)
        self.online(True)
        self.relay("closed")
        with web.program() as client:
            until(lambda: client.get(f"/meters/{self.meter_id}").status_code == 200, why="it is registered")

    def born(self, **others: object) -> None:
        """Its birth."""
        self._tell("birth", birth(name=self.name, **others))

    def online(self, online: bool) -> None:
        """Its status."""
        self._tell("status", json.dumps({"online": online, "session": "s1", "ts": stamp()}))

    def relay(self, position: str, **others: object) -> None:
        """Its relay."""
        self._tell("relay", json.dumps({"position": position, "operations": 0, "ts": stamp()} | others))

    def read(self, **others: object) -> None:
        """The next reading."""
        self.seq += 1
        self._tell("reading", reading(self.seq, **{"power": 100.0, "energy": 1000.0} | others))

    def answer(self, command_id: str, outcome: str = "done") -> None:
        """What became of a command."""
        self.client.publish(TOPICS.meter(self.meter_id, "result"), result(command_id, outcome))

    def retire(self) -> None:
        """Out of service, as the API does it."""
        for kind in RETAINED_OF_METER:
            self._tell(kind, "")

    def commands(self) -> list[str]:
        """The ids of the commands that it was sent."""
        topic = TOPICS.meter(self.meter_id, "command")
        return [json.loads(payload)["command_id"] for name, payload in self.client.all if name == topic]

    def _tell(self, kind: str, payload: str) -> None:
        self.client.publish(TOPICS.meter(self.meter_id, kind), payload, retain=True)
