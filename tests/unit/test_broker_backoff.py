"""A task that is told to end does end, whatever a client makes of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from broker.mqtt.backoff import heed_cancellation


async def test_a_cancellation_that_a_client_hides_ends_the_loop() -> None:
    async def connections() -> None:
        while True:
            with suppress(asyncio.CancelledError):  # as aiomqtt, which raises MqttError instead
                await asyncio.sleep(60)
            heed_cancellation()

    task = asyncio.create_task(connections())
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait((task,), timeout=60)
    assert task in done
    assert task.cancelled()
