"""A blocked meter is cut off within seconds, keeps what it has, and comes back when it is let in again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiomqtt
import pytest

from admin.chain.parts import enlist_simulated
from broker.mqtt.settings import MqttSettings
from meter_firmware.settings import SimulateSettings
from meter_firmware.simulate import meter_ids
from registrar import blocking, renewal
from registrar.finishing import finish
from registrar.retained_outbox import connected
from tests.support.sites import Deployed, deployed

DEADLINE = 60.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Two simulated meters with identities of their own."""
    with deployed(tmp_path_factory.mktemp("site"), "registrar") as running:
        enlist_simulated(running.deployment, SimulateSettings(n=2, seed=1))
        running.simulate(2, interval=0.1)
        yield running


METERS = meter_ids(SimulateSettings(n=2, seed=1))


@dataclass
class Listener:
    """What the administrator hears."""

    client: aiomqtt.Client
    mqtt: MqttSettings
    latest: dict[str, tuple[float, bytes]] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    @asynccontextmanager
    async def of(cls, site: Deployed) -> AsyncIterator[Listener]:
        """Connected as the administrator."""
        mqtt = MqttSettings(identity=site.deployment.identity_folder("admin"))
        async with connected(mqtt) as client:
            listener = cls(client, mqtt)
            await client.subscribe(mqtt.topics.everything, qos=0)
            task = asyncio.create_task(listener._listen())
            try:
                yield listener
            finally:
                task.cancel()

    async def _listen(self) -> None:
        async for message in self.client.messages:
            assert isinstance(message.payload, bytes)
            self.latest[message.topic.value] = (time.monotonic(), message.payload)
            self._news.set()

    def heard(self, meter_id: str, kind: str) -> tuple[float, bytes]:
        """When, and what."""
        return self.latest.get(self.mqtt.topics.meter(meter_id, kind), (0.0, b""))

    async def says(self, meter_id: str, kind: str, words: bytes) -> None:
        """Until the latest message of that kind has these."""
        async with asyncio.timeout(DEADLINE):
            while words not in self.heard(meter_id, kind)[1]:
                self._news.clear()
                await self._news.wait()

    async def reads(self, meter_id: str) -> None:
        """Until a reading comes that is later than now."""
        begin = time.monotonic()
        async with asyncio.timeout(DEADLINE):
            while self.heard(meter_id, "reading")[0] < begin:
                self._news.clear()
                await self._news.wait()


async def blocked(site: Deployed, listener: Listener, meter_id: str) -> tuple[float, float]:
    """Block it: seconds until its last message, and until it was known to be gone."""
    begin = time.monotonic()
    await asyncio.to_thread(blocking.block, site.deployment, meter_id, reason="a test")
    assert await finish(site.deployment)  # or the registrar has, which runs
    known = time.monotonic() - begin
    return listener.heard(meter_id, "reading")[0] - begin, known


async def test_a_blocked_meter_is_gone_and_another_is_not(site: Deployed) -> None:
    async with Listener.of(site) as listener:
        for meter_id in METERS:
            await listener.reads(meter_id)
        await blocked(site, listener, METERS[0])
        await listener.says(METERS[0], "status", b'"online":false')  # behind its last reading
        before = listener.heard(METERS[0], "reading")
        for _ in range(20):  # the blocked one would have come back meanwhile
            await listener.reads(METERS[1])
        assert listener.heard(METERS[0], "reading") == before
        assert json.loads(listener.heard(METERS[0], "status")[1])["online"] is False
        access = json.loads(listener.heard(METERS[0], "access")[1])
        assert (access["allowed"], access["reason"]) == (False, "a test")
        relay = listener.heard(METERS[0], "relay")[1]

        blocking.unblock(site.deployment, METERS[0])
        await finish(site.deployment)
        await listener.reads(METERS[0])
        await listener.says(METERS[0], "access", b'"allowed":true')
        assert json.loads(listener.heard(METERS[0], "relay")[1])["position"] == json.loads(relay)["position"]


async def test_a_blocked_certificate_cannot_connect_and_a_good_one_can(site: Deployed) -> None:
    folder = site.deployment.identity_folder(METERS[1])
    site.stop("meters")
    async with connected(MqttSettings(identity=folder)):
        pass
    blocking.block(site.deployment, METERS[1], reason="a test")
    assert await finish(site.deployment)
    with pytest.raises(aiomqtt.MqttError):
        async with connected(MqttSettings(identity=folder)):
            pass
    blocking.unblock(site.deployment, METERS[1])
    async with asyncio.timeout(DEADLINE):  # a refused attempt takes aiomqtt 5 s
        while True:
            try:
                async with connected(MqttSettings(identity=folder)):
                    break
            except aiomqtt.MqttError:
                await asyncio.sleep(0.1)


async def test_for_good_means_that_unblocking_is_not_enough(site: Deployed) -> None:
    folder = site.deployment.identity_folder(METERS[0])
    blocking.block(site.deployment, METERS[0], reason="a test", for_good=True)
    assert not blocking.unblock(site.deployment, METERS[0])
    assert await finish(site.deployment)  # until it does not come back
    with pytest.raises(aiomqtt.MqttError):
        async with connected(MqttSettings(identity=folder)):
            pass
    assert renewal.revoke(site.deployment, METERS[0]) == 0


async def main(folder: Path) -> None:
    """Measure: ``python -m tests.integration.test_blocking``."""
    with deployed(folder) as site:
        enlist_simulated(site.deployment, SimulateSettings(n=10, seed=1))
        site.simulate(10, interval=0.1)
        figures = []
        async with Listener.of(site) as listener:
            for meter_id in meter_ids(SimulateSettings(n=10, seed=1)):
                await listener.reads(meter_id)
                figures.append(await blocked(site, listener, meter_id))
        for name, values in zip(
            ("last message", "known to be gone"), zip(*figures, strict=True), strict=True
        ):
            print(name, "median", sorted(values)[5], "max", max(values))  # noqa: T201


if __name__ == "__main__":
    import tempfile

    asyncio.run(main(Path(tempfile.mkdtemp(prefix="enrol-"))))
