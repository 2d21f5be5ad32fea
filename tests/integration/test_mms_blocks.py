"""XSWI1.BlkOpn and BlkCls: operated by SCADA, kept by the broker, told again to one that has forgotten."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from open61850.mms import MmsClient
from open61850.mms.control import Origin

from broker.contract.block import Block
from broker.contract.messages import utc_now
from broker.contract.notice import MeterNotice, NoticeCode
from broker.contract.relay import OriginCategory
from broker.contract.status import ServiceStatus
from tests.integration.test_mms_addcauses import INTERLOCKING, SBO, TIME_LIMIT, at_desk, stands, tried
from tests.integration.test_mms_values import GOOD, position
from tests.support.brokers import Broker
from tests.support.mms import DEADLINE, DrivenMeter, Scene, eventually
from tests.support.mms_control import CLOSING, OPENING, Desk


async def kept(running: Scene, meter: DrivenMeter) -> Block:
    """What the broker keeps on the meter's topic."""
    return Block.model_validate_json(await running.retained_block(meter))


def blocked(client: MmsClient, meter: DrivenMeter) -> tuple[Any, Any]:
    """stVal of BlkOpn and BlkCls."""
    opening, closing = (stands(client, meter, f"XSWI1.{name}.stVal[ST]") for name in ("BlkOpn", "BlkCls"))
    return opening, closing


async def test_blocks_are_operated_and_told_back(broker: Broker) -> None:
    async with at_desk(broker) as (running, desk, meter):
        opening, closing = (Desk(desk.client, meter, item) for item in (OPENING, CLOSING))
        assert await opening.operate(True) is None
        assert blocked(desk.client, meter) == (True, False)
        block = await kept(running, meter)
        assert (block.open, block.close) == (True, False)
        assert (block.origin.category, block.origin.identifier) == (OriginCategory.REMOTE_CONTROL, "desk")
        assert (block.origin.via or "").startswith("mms 127.0.0.1:")
        told = stands(desk.client, meter, "XSWI1.BlkOpn.t[ST]")
        assert abs(told.timestamp() - block.ts.timestamp()) < 0.002
        assert await desk.select(False) == INTERLOCKING
        assert await closing.operate(True) is None
        assert await opening.operate(False) is None
        block = await kept(running, meter)
        assert (block.open, block.close) == (False, True)
        assert await tried(desk, SBO, False) is None


async def test_a_block_can_be_set_while_the_meter_is_offline(broker: Broker) -> None:
    async with at_desk(broker) as (running, desk, meter):
        await meter.status(online=False)
        await eventually(lambda: position(desk.client, meter, "XSWI1")[1] != GOOD)
        assert await Desk(desk.client, meter, OPENING).operate(True) is None
        assert (await kept(running, meter)).open


async def test_a_refused_change_of_a_block_is_told_to_the_ledger(broker: Broker) -> None:
    async with at_desk(broker) as (running, desk, meter):
        refusals = await running.refusals()
        assert await Desk(desk.client, meter, OPENING).operate(True, test=True) == 8
        told = await asyncio.wait_for(refusals.get(), DEADLINE)
        assert told.command is None
        assert told.block is not None
        assert (told.block.open, told.block.close, told.block.origin.identifier) == (True, False, "desk")
        assert await running.retained_block(meter) == b""


async def test_clearing_or_spoiling_the_topic_releases_nothing(broker: Broker) -> None:
    async with at_desk(broker) as (running, desk, meter):
        block = await meter.block(open=True)
        await eventually(lambda: blocked(desk.client, meter) == (True, False))
        ts = block.ts.replace(year=block.ts.year - 1)
        older = block.model_copy(update={"open": False, "ts": ts, "open_ts": ts, "close_ts": ts})
        for spoilt in (b"", b"rubbish", older.payload()):
            await meter.publish("block", spoilt)
            for _ in range(round(DEADLINE / 0.05)):
                if await running.retained_block(meter) == block.payload():
                    break
                await asyncio.sleep(0.05)
            assert await running.retained_block(meter) == block.payload(), spoilt
            assert await desk.select(False) == INTERLOCKING


async def test_a_broker_that_has_forgotten_a_block_is_told_again(broker: Broker) -> None:
    async with at_desk(broker) as (running, desk, meter):
        block = await meter.block(close=True)
        await eventually(lambda: blocked(desk.client, meter) == (False, True))
        broker.kill()
        for file in Path(broker.config).parent.rglob("*.db"):
            file.unlink()
        broker.start()
        async with asyncio.timeout(60):
            while True:
                try:
                    if await running.retained_block(meter) == block.payload():
                        break
                except aiomqtt.MqttError:
                    pass
                await asyncio.sleep(0.05)
        assert blocked(desk.client, meter) == (False, True)


async def test_a_new_bridge_finds_what_is_blocked(broker: Broker) -> None:
    """The broker keeps it: the bridge has no store of its own."""
    async with at_desk(broker) as (running, _, meter):
        await meter.block(open=True)
        prefix = running.topics.prefix
    async with at_desk(broker, prefix=prefix) as (_, desk, meter):
        await eventually(lambda: blocked(desk.client, meter) == (True, False))
        assert await desk.select(False) == INTERLOCKING


async def test_a_block_is_acknowledged_when_it_is_in_the_ledger(broker: Broker) -> None:
    """What the broker alone has is lost with it."""
    async with at_desk(broker, operate_limit=1.0) as (running, desk, meter):
        prefix = running.topics.prefix
        status = ServiceStatus(online=True, version="1", session="b", ts=utc_now())
        await running.client.publish(
            running.topics.service_status("bridge"), status.payload(), qos=1, retain=True
        )
        opening = Desk(desk.client, meter, OPENING)
        assert await opening.operate(True) == TIME_LIMIT, "the bridge has not said that it has it"
        block = await kept(running, meter)
        assert block.open, "but it holds"
    async with at_desk(broker, prefix=prefix) as (running, desk, meter):
        await eventually(lambda: blocked(desk.client, meter) == (True, False))
        opening = Desk(desk.client, meter, OPENING)

        async def record() -> None:
            for _ in range(round(DEADLINE / 0.05)):
                if not (heard := await kept(running, meter)).open:
                    break
                await asyncio.sleep(0.05)
            other = heard.ts - timedelta(seconds=1)
            for ts in (other, heard.ts):
                notice = MeterNotice(code=NoticeCode.BLOCK_RECORDED, block_ts=ts, ts=utc_now())
                await meter.publish("notice", notice, retain=False)

        recording = asyncio.create_task(record())
        assert await opening.operate(False) is None
        await recording


@pytest.mark.parametrize(
    ("octets", "told"),
    [
        (b"\n\0\0\5", "0x0A000005"),
        (b"\xff\xfe", "0xFFFE"),
        (b"desk\x1b[2J", "0x6465736B1B5B324A"),
        (b"desk 4\0\0", "desk 4"),
        ("Pult Ä".encode(), "Pult Ä"),
    ],
)
async def test_an_origin_that_is_no_text_is_told_in_hex(broker: Broker, octets: bytes, told: str) -> None:
    async with at_desk(broker) as (running, desk, meter):
        origin = Origin(3, octets)
        assert await Desk(desk.client, meter, CLOSING, origin=origin).operate(True) is None
        assert (await kept(running, meter)).origin.identifier == told
        one = Desk(desk.client, meter, origin=origin)
        assert await tried(one, SBO, False) is None
        assert [command.origin.identifier for command in meter.commands] == [told]
