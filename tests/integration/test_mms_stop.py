"""The bridge ends when it is told to, also where a publish has swallowed the cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import aiomqtt
import pytest

from broker.mqtt.settings import MqttSettings
from mms_bridge import run
from mms_bridge.settings import MmsSettings
from tests.support.brokers import Broker

STOP_SECONDS = 60.0


class Forgetful(aiomqtt.Client):
    """Publishes, and forgets a cancellation, as wait_for of Python 3.11 does when its result is there."""

    async def publish(self, *args: Any, **settings: Any) -> None:
        """As the real one, and a moment longer."""
        await super().publish(*args, **settings)
        if "timeout" in settings:
            return  # the last words
        self.published.set()
        try:
            await asyncio.sleep(STOP_SECONDS * 4)
        except asyncio.CancelledError:
            return

    published = asyncio.Event()


async def test_a_bridge_that_is_stopped_while_it_publishes_ends(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Forgetful, "published", asyncio.Event())
    monkeypatch.setattr("mms_bridge.run.aiomqtt.Client", Forgetful)
    settings = MmsSettings(mqtt=MqttSettings(host=broker.host, port=broker.port, prefix="stop"))
    stop = asyncio.Event()
    bridge = asyncio.create_task(run.serve(settings, stop))
    async with asyncio.timeout(STOP_SECONDS):
        await Forgetful.published.wait()
    stop.set()
    done, _ = await asyncio.wait([bridge], timeout=STOP_SECONDS)
    assert done, "it still runs"
    await bridge
