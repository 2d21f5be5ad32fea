"""The web's voice in a deployment, where the broker speaks TLS only."""

from __future__ import annotations

import asyncio
from pathlib import Path

from broker.contract.commands import new_command
from broker.contract.errors import UnavailableError
from broker.contract.relay import Origin, OriginCategory, Position
from broker.contract.roles import Role
from registrar.retained_outbox import connected
from tests.support.deployments import deployed
from web.sending import Sender

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


async def _command_arrives(sender: Sender, topic: str, payload: bytes) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await sender.publish(topic, payload, expiry=5)
            except UnavailableError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_command_reaches_its_meter_over_tls(tmp_path: Path) -> None:
    command = new_command(
        Position.OPEN, Origin(category=OriginCategory.REMOTE_CONTROL, identifier="web anna")
    )
    with deployed(tmp_path, started=False) as site:
        meter = site.add(METER, Role.METER)
        site.deployment.publish()
        await asyncio.to_thread(site.start)
        sender = Sender(site.settings("web"), counters=dict)
        running = asyncio.create_task(sender.run())
        topic = meter.topics.meter(METER, "command")
        async with connected(meter) as client:
            await client.subscribe(topic, qos=1)
            await _command_arrives(sender, topic, command.payload())
            async with asyncio.timeout(60):
                assert (await anext(client.messages)).payload == command.payload()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
