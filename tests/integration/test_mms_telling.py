"""What the MMS bridge tells the broker of blocks: a repeated one that was overtaken is refused to nobody."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import aiomqtt
import pytest

from broker.contract.block import Block
from broker.contract.messages import utc_now
from broker.contract.relay import Origin, OriginCategory
from broker.contract.result import Refusal
from broker.contract.topics import Topic
from broker.mqtt.settings import MqttSettings
from mms_bridge.gateway import Gateway
from mms_bridge.mqtt.publisher import publish_outbox, tell_the_rest
from mms_bridge.settings import MmsSettings
from tests.support.brokers import Broker
from tests.support.mms import DEADLINE, meter_id

METER = meter_id(1)


def block(*, age: float) -> Block:
    """Opening was blocked so many seconds ago."""
    ts = utc_now() - timedelta(seconds=age)
    origin = Origin(category=OriginCategory.REMOTE_CONTROL, identifier="desk")
    return Block(open=True, close=False, ts=ts, open_ts=ts, close_ts=ts, origin=origin)


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_repeated_block_that_was_overtaken_is_not_told_as_refused(
    broker: Broker, stopped: bool
) -> None:
    """One that was never told, at the same time, is: it has no other record."""
    mqtt = MqttSettings(host=broker.host, port=broker.port, prefix=f"overtaken{stopped}")
    gateway = Gateway(MmsSettings(mqtt=mqtt), identity=("test", "test", "0"))
    first, unsent, newest = (block(age=age) for age in (30, 20, 10))
    gateway.take(Topic("block", METER), first.payload(), retained=True)
    gateway.take(Topic("block", METER), b"", retained=False)  # so it is to be repeated
    gateway.outbox.put_nowait((METER, unsent))
    gateway.take(Topic("block", METER), newest.payload(), retained=False)
    async with aiomqtt.Client(broker.host, broker.port) as client:
        await client.subscribe(f"{mqtt.prefix}/#", qos=1)
        telling = tell_the_rest if stopped else publish_outbox
        task = asyncio.create_task(telling(gateway, client, mqtt))
        told = await asyncio.wait_for(anext(client.messages), DEADLINE)
        await client.publish(f"{mqtt.prefix}/end", b"end", qos=1)
        end = await asyncio.wait_for(anext(client.messages), DEADLINE)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    gateway.close()
    assert (told.topic.value, end.payload) == (mqtt.topics.refused("mms"), b"end")
    assert isinstance(told.payload, bytes)
    assert Refusal.model_validate_json(told.payload).block == unsent
