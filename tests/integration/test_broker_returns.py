"""Every service outlives its broker: that is killed, is away for a while, comes back, and all work again."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from admin import mqtt
from admin.chain.parts import enlist_simulated
from broker.mqtt.settings import MqttSettings
from meter_firmware.settings import SimulateSettings
from meter_firmware.simulate import meter_ids
from tests.integration.test_broker_doors import is_let_in
from tests.support.brokers import free_port
from tests.support.chain import until
from tests.support.sites import Deployed, deployed

DEADLINE = 90.0
"""Seconds: a service may wait for up to a minute before it tries again."""
(METER,) = meter_ids(SimulateSettings(n=1, seed=1))
SERVICES = ("bridge", "mms", "enrol", "web", "meters")
"""Names of the processes."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """All of them, with one simulated meter."""
    with deployed(tmp_path_factory.mktemp("site"), "registrar") as running:
        first = free_port(2)
        running.start("bridge", "run", "--mms-port", str(first), "--mms-tls-port", str(first + 1))
        enlist_simulated(running.deployment, SimulateSettings(n=1, seed=1))
        running.simulate(1, interval=0.2)
        running.start("mms", "run")
        running.start("web", "run", "--port", str(free_port()))
        until(lambda: readings(running), seconds=DEADLINE, why="a reading is stored")
        until(lambda: online(running) == STATUSES, seconds=DEADLINE, why="all are online")
        yield running


STATUSES = {"bridge", "mms", "registrar", "web"}


def readings(site: Deployed) -> int:
    """How many are stored."""
    path = Path(site.deployment.environment["METER61850_DATABASE_URL"].removeprefix("sqlite:///"))
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection,
    ):
        return int(connection.execute("SELECT coalesce(max(seq), 0) FROM reading").fetchone()[0])
    return 0


def online(site: Deployed) -> set[str]:
    """Services that say so in what is retained now."""
    return asyncio.run(_online(MqttSettings(identity=site.deployment.identity_folder("admin"))))


async def _online(settings: MqttSettings) -> set[str]:
    topics = settings.topics
    async with mqtt.connected(settings) as client:
        found = await mqtt.retained(client, topics.service_status("+"), barrier=topics.meter("x", "command"))
    return {topics.parse(topic).name for topic, told in found.items() if json.loads(told)["online"]}


@pytest.mark.timeout(400)
def test_every_service_lives_and_works_again(site: Deployed) -> None:
    broker = site.processes.pop("broker")
    broker.kill()
    broker.wait()
    time.sleep(4.0)  # long enough that each has noticed, and has tried again in vain
    assert {name: site.processes[name].poll() for name in SERVICES} == dict.fromkeys(SERVICES)
    before = readings(site)
    (site.folder / "broker.log").unlink()
    site.start_broker()
    until(lambda: readings(site) > before + 5, seconds=DEADLINE, why="meter and bridge work")
    until(lambda: online(site) == STATUSES, seconds=DEADLINE, why="all are online again")
    meter = site.meter("new")
    site.enrol(meter, site.new_code("--automatic"), "--wait", "60s")  # the registrar works
    own = MqttSettings(identity=meter.identity)
    until(lambda: is_let_in(own, own.tls()), seconds=DEADLINE, why="the new meter gets in")
    assert {name: site.processes[name].poll() for name in SERVICES} == dict.fromkeys(SERVICES)
