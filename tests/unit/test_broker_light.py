"""The light client: those who connect at once have turns, and their time runs only in their turn."""

from __future__ import annotations

import asyncio

import pytest

from broker.mqtt import light
from broker.mqtt.light import HANDSHAKES, LightClient
from broker.mqtt.settings import MqttSettings

DEADLINE = 60.0


def test_a_crowd_connects_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[LightClient] = []

    async def connect(client: LightClient) -> None:
        begun.append(client)

    monkeypatch.setattr(light.LightClient, "_connect", connect)

    async def crowd() -> None:
        clients = [
            LightClient(MqttSettings(), identifier=str(number), topics=[]) for number in range(2 * HANDSHAKES)
        ]
        entering = [asyncio.create_task(client.__aenter__()) for client in clients]
        async with asyncio.timeout(DEADLINE):
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(begun) == HANDSHAKES, "the others wait for their turn"
            while not all(task.done() for task in entering):
                for client in begun:
                    client._is_ready()
                await asyncio.sleep(0)
        assert set(begun) == set(clients)

    asyncio.run(crowd())
