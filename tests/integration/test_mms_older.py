"""Older never replaces newer over MMS: a broker with an older file, silent meters, clocks set back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import aiomqtt
import pytest
from open61850.mms import MmsClient

from broker.contract.birth import Birth, Hardware
from broker.contract.enrolment import Access
from broker.contract.messages import Message, utc_now
from broker.contract.reading import Reading
from broker.contract.relay import Position, Relay
from broker.contract.status import Status
from broker.mqtt.settings import MqttSettings
from tests.integration.test_mms_values import (
    FULL,
    GOOD,
    INVALID,
    OFF,
    OLD,
    ON,
    gateway,
    position,
    qualities,
    read,
    served,
)
from tests.support.brokers import Broker, older_file
from tests.support.mms import DrivenMeter, Scene, eventually, meter_id, scene

LONG = 30.0
"""Seconds that a test waits for a busy machine."""


def beh(client: MmsClient, meter: DrivenMeter) -> int:
    value: int = read(client, meter.domain, ("LLN0.Beh", "stVal", "ST")).value
    return value


@asynccontextmanager
async def again(running: Scene, client: MmsClient, meter: DrivenMeter) -> AsyncIterator[DrivenMeter]:
    """The meter on a new connection, when the bridge is connected again and has heard what is retained."""
    await eventually(lambda: gateway(client, "GGIO1.Ind1").value, deadline=LONG)
    broker = running.broker
    async with aiomqtt.Client(broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V5) as mqtt:
        yield replace(meter, client=mqtt)


async def test_an_older_position_does_not_come_back_with_an_older_file_of_the_broker(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:
            await meter.read(**FULL)
            await eventually(lambda: position(client, meter, "XSWI1") == ("on", GOOD))
            with older_file(broker):
                meter.position, meter.operations = Position.OPEN, 1
                await meter.relay("c-1")
                await eventually(lambda: position(client, meter, "XSWI1") == ("off", GOOD))
            async with again(running, client, meter) as back:
                await back.read(**FULL)
                await eventually(lambda: qualities(client, meter) == {GOOD}, deadline=LONG)
                assert position(client, meter, "XSWI1") == position(client, meter, "CSWI1") == ("off", GOOD)


async def test_a_meter_that_died_with_its_broker_becomes_questionable(broker: Broker) -> None:
    """Nobody publishes its will: its status stays online in the broker's file."""
    async with scene(broker) as running:
        client, meter = await served(running, interval=1.0)
        with client:
            await meter.reads_until(lambda: qualities(client, meter) == {GOOD}, **FULL)
            with older_file(broker):
                pass
            await eventually(lambda: gateway(client, "GGIO1.Ind1").value, deadline=LONG)
            await eventually(lambda: qualities(client, meter) == {OLD}, deadline=LONG)
            await eventually(lambda: position(client, meter, "XSWI1") == ("on", OLD), deadline=LONG)
            await eventually(lambda: gateway(client, "GGIO1.IntIn4").value == 1, deadline=LONG)  # stale


async def test_a_silent_meter_makes_its_position_questionable(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running, interval=1.0)
        with client:
            await meter.read(**FULL)
            await meter.block(open=True)
            blocked = ("XSWI1.BlkOpn", "stVal", "ST")
            await eventually(lambda: read(client, meter.domain, blocked).value is True)
            await eventually(lambda: position(client, meter, "XSWI1") == ("on", OLD), deadline=LONG)
            assert position(client, meter, "CSWI1") == ("on", OLD)
            assert read(client, meter.domain, ("XSWI1.OpCnt", "stVal", "ST")).quality == OLD
            assert read(client, meter.domain, blocked).quality == OLD
            await meter.reads_until(lambda: position(client, meter, "XSWI1") == ("on", GOOD), **FULL)


async def retained(broker: Broker, settings: MqttSettings, meter: str, *messages: Message) -> None:
    """Publish these of a meter before any bridge listens."""
    async with aiomqtt.Client(broker.host, broker.port) as client:
        for message in messages:
            topic = settings.topics.meter(meter, type(message).__name__.lower())
            await client.publish(topic, message.payload(), qos=1, retain=True)


def told(session: str, ts: datetime) -> tuple[Message, ...]:
    """Birth, online, closed, and a reading, of this time."""
    birth = Birth(name="x", hardware=Hardware(serial="1"), firmware="1", interval=10, session=session, ts=ts)
    return (
        birth,
        Status(online=True, session=session, ts=ts),
        Relay(position=Position.CLOSED, operations=0, ts=ts),
        Reading.model_validate({"epoch": 1, "seq": 1, "ts": ts, **FULL}),
    )


@pytest.mark.parametrize("seconds", [-3600, 3600])
async def test_a_bridge_that_begins_does_not_trust_what_is_old_or_of_no_known_age(
    broker: Broker, seconds: int
) -> None:
    """The reading's time is all that tells its age; a time in the future tells none."""
    mqtt = MqttSettings(host=broker.host, port=broker.port, prefix=f"older{seconds}".replace("-", "m"))
    await retained(broker, mqtt, meter_id(1), *told("s1", utc_now() + timedelta(seconds=seconds)))
    async with scene(broker, prefix=mqtt.prefix) as running:
        meter = DrivenMeter(running.client, running.topics, meter_id(1), epoch=1, seq=1)
        running.meters[meter.meter_id] = meter
        await running.publish_cid()
        client = await running.associate()
        with client:
            await eventually(lambda: beh(client, meter) == ON)
            await eventually(lambda: qualities(client, meter) == {OLD})
            await eventually(lambda: position(client, meter, "XSWI1") == ("on", OLD))
            await meter.read(**FULL)
            await eventually(lambda: position(client, meter, "XSWI1") == ("on", GOOD))
            await eventually(lambda: qualities(client, meter) == {GOOD})


async def test_a_meter_whose_clock_was_set_back_is_heard(broker: Broker) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:
            await meter.read(**FULL)
            await eventually(lambda: position(client, meter, "XSWI1") == ("on", GOOD))
            birth, status, relay, reading = told("back", utc_now() - timedelta(hours=1))
            opened = relay.model_copy(update={"position": Position.OPEN})
            for message in (birth, status, opened, reading):
                await meter.publish(type(message).__name__.lower(), message)
            await eventually(lambda: position(client, meter, "XSWI1") == ("off", GOOD))
            await meter.status(online=False)  # the will of the session before
            await meter.publish("reading", reading.model_copy(update={"seq": 2, "voltage": 111.0}))
            await eventually(lambda: read(client, meter.domain, ("MMXN1.Vol", "mag.f", "MX")).value == 111.0)
            assert qualities(client, meter) == {GOOD}


async def test_a_meter_that_was_let_in_again_stays_in_with_an_older_file_of_the_broker(
    broker: Broker,
) -> None:
    async with scene(broker) as running:
        client, meter = await served(running)
        with client:
            await meter.publish("access", Access(allowed=False, reason="stolen", ts=utc_now()))
            await eventually(lambda: beh(client, meter) == OFF)
            with older_file(broker):
                await asyncio.sleep(0.002)  # a later millisecond
                await meter.publish("access", Access(allowed=True, ts=utc_now()))
                await eventually(lambda: beh(client, meter) == ON)
            async with again(running, client, meter) as back:
                await back.join()
                await back.read(**FULL)
                await eventually(lambda: qualities(client, meter) == {GOOD}, deadline=LONG)
                assert beh(client, meter) == ON


async def test_a_retired_meter_stays_off_with_an_older_file_of_the_broker(broker: Broker) -> None:
    """An association from before still sees it; only a birth of the meter itself brings it back."""
    async with scene(broker) as running:
        beside = await running.add_meter(2)
        client, meter = await served(running)
        with client:
            await meter.read(**FULL)
            await eventually(lambda: qualities(client, meter) == {GOOD})
            with older_file(broker):
                await meter.publish("birth", b"")
                await eventually(lambda: beh(client, meter) == OFF)
            async with again(running, client, meter) as back:
                await back.read(**FULL)
                await back.relay(None, local=True)  # it was retired while it runs
                await replace(beside, client=back.client).read(**FULL)  # handled after those
                await eventually(lambda: qualities(client, beside) == {GOOD}, deadline=LONG)
                assert (beh(client, meter), qualities(client, meter)) == (OFF, {INVALID})
                await back.join()
                await eventually(lambda: beh(client, meter) == ON, deadline=LONG)
