"""A broker that comes back without its file: all that was retained comes back by itself.

A whole deployment over TLS, with its access list; some meters are there, some away, blocked, or retired.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from admin import mqtt
from admin.chain.parts import enlist_simulated
from broker.mqtt.settings import MqttSettings
from meter_firmware.settings import SimulateSettings
from meter_firmware.simulate import meter_ids
from tests.support.brokers import free_port
from tests.support.chain import until
from tests.support.sites import Deployed, deployed

METERS = meter_ids(SimulateSettings(n=5, seed=1))
HERE, ALSO_HERE, AWAY, BLOCKED, RETIRED = METERS
SECONDS = 150.0
"""For services and meters to connect again; each waits for up to a minute between attempts."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Deployed]:
    """Every service, and five meters that are stored."""
    with deployed(tmp_path, "registrar", "bridge") as running:
        enlist_simulated(running.deployment, SimulateSettings(n=5, seed=1))
        running.start("mms", "run")
        running.start("web", "run", "--port", str(free_port()))
        running.simulate(2, interval=0.5)
        running.start(
            *("meter", "simulate", "-n", "3", "--first", "3", "--interval", "0.5"),
            *("--data-dir", str(tmp_path / "meters")),
            *("--identities", str(running.folder / "d" / "identities")),
            name="away",
        )
        until(lambda: len(stored(running)) == 5, seconds=SECONDS, why="every meter is stored")
        yield running


def stored(site: Deployed) -> list[dict[str, Any]]:
    """The meters of the registry that have a reading."""
    if not list(site.folder.rglob("meter61850.sqlite")):
        return []
    with suppress(AssertionError):  # the bridge is making its tables
        return [meter for meter in site.answer("meters", "list") if meter["read_at"]]
    return []


def retained(site: Deployed) -> dict[str, bytes]:
    """All that the broker keeps, as the administrator sees it."""

    async def look() -> dict[str, bytes]:
        settings = MqttSettings(identity=site.deployment.identity_folder("admin"))
        async with mqtt.connected(settings) as client:
            topics = settings.topics
            return await mqtt.retained(client, topics.everything, barrier=topics.service_status("none"))

    return {topic.removeprefix("sm/v1/"): payload for topic, payload in asyncio.run(look()).items()}


def settled(site: Deployed, expected: set[str]) -> None:
    """Until exactly these topics are retained."""
    end = time.monotonic() + SECONDS
    while difference := retained(site).keys() ^ expected:
        assert time.monotonic() < end, f"too many or too few: {sorted(difference)}"
        time.sleep(0.2)


def shown(site: Deployed) -> int:
    """How many meters the SCL has; it follows a change after up to a second."""
    return int(json.loads(retained(site)["scl/revision"])["meters"])


def said(found: dict[str, bytes], meter: str, kind: str) -> dict[str, Any]:
    """One message of ``found``, without what tells an own message from a repeated one."""
    told: dict[str, Any] = json.loads(found[f"{meter}/{kind}"])
    told.pop("repeated", None)
    told.pop("instance", None)  # names a running program, which has not said this again
    return told


@pytest.mark.timeout(600)
def test_all_that_was_retained_comes_back(site: Deployed) -> None:
    site.cli("meters", "block", AWAY, "--reason", "a mistake")
    site.cli("meters", "unblock", AWAY)
    site.stop("away")
    site.cli("relay", "block", AWAY, "--opening")
    site.cli("meters", "block", BLOCKED, "--reason", "stolen")
    site.cli("meters", "retire", RETIRED)
    own = [f"{meter}/{kind}" for meter in METERS[:4] for kind in ("birth", "status", "relay", "reading")]
    more = [f"{AWAY}/block", f"{AWAY}/access", f"{BLOCKED}/access", "scl/scd", "scl/revision"]
    services = [f"service/{name}/status" for name in ("bridge", "mms", "registrar", "web")]
    expected = {*own, *more, *services, "scl/cid/SMGW001"}
    settled(site, expected)
    until(lambda: shown(site) == 4, seconds=SECONDS, why="the SCL is without the retired meter")
    before = retained(site)

    site.stop("broker")
    for file in site.folder.rglob("mosquitto.db"):
        file.unlink()
    site.start("broker", "run")
    until(lambda: site.log("broker").count("listen socket") >= 6, why="the broker listens")
    settled(site, expected)

    after = retained(site)
    for meter in (AWAY, BLOCKED):
        assert said(after, meter, "birth") == said(before, meter, "birth")
        assert said(after, meter, "relay")["position"] == said(before, meter, "relay")["position"]
        assert said(after, meter, "reading") == said(before, meter, "reading")
        status = said(after, meter, "status")
        assert (status["online"], status["session"]) == (False, said(before, meter, "status")["session"])
    for topic in more:
        assert after[topic] == before[topic], topic
    until(lambda: themselves(site), seconds=SECONDS, why="who is there says so itself")
    until(lambda: online(site) == {HERE, ALSO_HERE}, seconds=SECONDS, why="the registry knows it")
    states = {meter["meter_id"]: meter for meter in site.answer("meters", "list", "--retired")}
    assert states[BLOCKED]["blocked"] == "stolen"
    assert states[RETIRED]["retired"]


def themselves(site: Deployed) -> bool:
    """Whether the meters that are there are online by their own words."""
    found = retained(site)
    told = [json.loads(found[f"{meter}/status"]) for meter in (HERE, ALSO_HERE)]
    return all(status["online"] and "repeated" not in status for status in told)


def online(site: Deployed) -> set[str]:
    """Those that the registry has as online."""
    return {meter["meter_id"] for meter in site.answer("meters", "list") if meter["online"]}
