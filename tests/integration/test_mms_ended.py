"""A selection ends with its server, whoever ended that: the ledger hears of it, and the meter is free."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from open61850.mms.errors import MmsError

from broker.contract.relay import Position
from broker.contract.result import Refusal
from tests.integration.test_mms_values import GOOD, position
from tests.support.brokers import Broker
from tests.support.mms import DEADLINE, DrivenMeter, Scene, eventually, scene
from tests.support.mms_control import Desk

GONE = "select: selected, but its client has gone"


async def selected(running: Scene) -> tuple[Desk, DrivenMeter, asyncio.Queue[Refusal]]:
    """A meter, what the ledger hears, and a desk that has selected the meter."""
    meter = await running.add_meter(1)
    await running.publish_cid()
    refusals = await running.refusals()
    desk = Desk(await running.associate(), meter)
    await eventually(lambda: position(desk.client, meter, "CSWI1") == ("on", GOOD))
    assert await desk.select(False) is None
    return desk, meter, refusals


async def told(refusals: asyncio.Queue[Refusal], reason: str) -> None:
    """The ledger hears that nothing came of it."""
    refusal = await asyncio.wait_for(refusals.get(), DEADLINE)
    assert refusal.reason == reason
    assert refusal.command is not None
    assert (refusal.command.position, refusal.command.origin.identifier) == (Position.OPEN, "desk")


async def free(running: Scene, meter: DrivenMeter) -> None:
    """Another client can select it, long before a selection would run out."""
    with await running.associate() as client:
        assert await Desk(client, meter).select(False) is None


async def test_the_drain_limit_ends_it(broker: Broker) -> None:
    async with scene(broker, drain_seconds=1.0) as running:
        desk, meter, refusals = await selected(running)
        await running.add_meter(2)
        await running.publish_cid()
        await told(refusals, GONE)
        await free(running, meter)
        with suppress(MmsError, OSError):
            desk.client.close()


async def test_a_withdrawn_cid_ends_it(broker: Broker) -> None:
    async with scene(broker) as running:
        desk, meter, refusals = await selected(running)
        await running.client.publish(running.topics.cid("SMGW001"), b"", qos=1, retain=True)
        await told(refusals, GONE)
        await running.publish_cid()
        await free(running, meter)
        with suppress(MmsError, OSError):
            desk.client.close()


async def test_a_stop_tells_it(broker: Broker) -> None:
    refusals: asyncio.Queue[Refusal] = asyncio.Queue()
    async with scene(broker) as running:
        desk, _, refusals = await selected(running)
        listening, *running.background = running.background[::-1]  # it hears what comes after the scene
    await told(refusals, "select: selected, but the MMS bridge was stopped")
    listening.cancel()
    with suppress(MmsError, OSError):
        desk.client.close()
