"""What is blocked at a meter: told by a real broker, kept on disk, told again to a broker without it."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.contract.block import Block
from broker.contract.messages import utc_now
from broker.contract.relay import Origin, OriginCategory, Position
from meter_firmware.session import SUBSCRIPTIONS
from tests.integration.test_firmware_commands import result
from tests.support.brokers import Broker
from tests.support.firmware_rig import Rig, command

ORIGIN = Origin(category=OriginCategory.REMOTE_CONTROL, identifier="desk 4")


def block(*, open: bool = False, close: bool = False, age: float = 0.0) -> Block:
    """A block of now, or so many seconds ago."""
    ts = utc_now() - timedelta(seconds=age)
    return Block(open=open, close=close, ts=ts, open_ts=ts, close_ts=ts, origin=ORIGIN)


async def publish(rig: Rig, payload: bytes) -> None:
    """Retain it on the meter's topic."""
    await rig.client.publish(rig.topic("block"), payload, qos=1, retain=True)


async def kept(rig: Rig) -> dict[str, Any]:
    """What the broker keeps."""
    return (await rig.retained()).get("block", {})


async def test_a_block_is_enforced_and_released(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path) as rig, rig.meter():
        await rig.heard("reading")
        await publish(rig, block(open=True).payload())
        await rig.command(command("c1"))
        assert await result(rig, "c1") == ("refused", "opening is blocked")
        answer = await rig.heard("result", lambda told: told["command_id"] == "c1")
        assert answer["cause"] == "blocked"
        await publish(rig, block(close=True).payload())
        await rig.command(command("c2"))
        assert await result(rig, "c2") == ("done", "")
        await rig.command(command("c3", Position.CLOSED))
        assert await result(rig, "c3") == ("refused", "closing is blocked")


async def test_a_block_that_was_set_meanwhile_comes_before_the_first_command(
    broker: Broker, tmp_path: Path
) -> None:
    async with Rig.on(broker, tmp_path) as rig:
        await publish(rig, block(open=True).payload())
        async with rig.meter():
            await rig.heard("status", lambda status: status["online"])
            await rig.command(command("c1"))
            assert await result(rig, "c1") == ("refused", "opening is blocked")


async def test_the_meter_remembers_what_the_broker_has_forgotten(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path) as rig:
        newest = block(open=True)
        for forgotten in (newest.payload(), b"", b"rubbish", block(age=60).payload()):
            await publish(rig, forgotten)
            before = len(rig.messages)
            async with rig.meter():
                await rig.heard("status", lambda status: status["online"], since=before)
                if forgotten != newest.payload():
                    await rig.heard("block", lambda told: told == _json(newest), since=before)
                await rig.command(command(f"c{before}"))
                assert await result(rig, f"c{before}", since=before) == ("refused", "opening is blocked")
            assert await kept(rig) == _json(newest)


async def test_clearing_and_spoiling_the_topic_releases_nothing(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path) as rig, rig.meter():
        await rig.heard("reading")
        newest = block(open=True)
        await publish(rig, newest.payload())
        await rig.heard("block", lambda told: told == _json(newest))
        for number, spoilt in enumerate((b"", b"rubbish", block(age=60).payload(), b"x" * 100_000)):
            before = len(rig.messages)
            await publish(rig, spoilt)
            await rig.heard("block", lambda told: told == _json(newest), since=before)
            await rig.command(command(f"c{number}"))
            assert await result(rig, f"c{number}") == ("refused", "opening is blocked")
        assert await kept(rig) == _json(newest)


async def test_a_meter_where_nothing_was_ever_blocked_says_nothing(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path) as rig, rig.meter():
        await rig.heard("reading")
        await publish(rig, b"rubbish")
        await rig.command(command("c1"))
        assert await result(rig, "c1") == ("done", "")
        assert [told for told in rig.so_far("block") if told] == []


def _json(block: Block) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(block.payload())
    return told


async def test_block_and_command_at_once_are_taken_in_order(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path) as rig, rig.meter():
        await rig.heard("reading")
        await publish(rig, block(open=True).payload())
        await asyncio.gather(*(rig.command(command(f"c{n}")) for n in range(5)))
        for n in range(5):
            assert await result(rig, f"c{n}") == ("refused", "opening is blocked")
        assert (await rig.retained())["relay"]["operations"] == 0


def test_what_is_blocked_is_subscribed_to_first() -> None:
    """A broker answers in order: so a retained block is here before a command can be."""
    assert SUBSCRIPTIONS.index("block") < SUBSCRIPTIONS.index("command")


NEWER: dict[str, dict[str, Any]] = {
    "unknown category": {"origin": {"category": "load-management", "identifier": "x"}},
    "long identifier": {"origin": {"category": "process", "identifier": "x" * 70}},
    "long via": {"origin": {"category": "process", "identifier": "x", "via": "y" * 300}},
    "time of 2150": {"ts": "2150-01-01T00:00:00Z", "open_ts": None, "close_ts": None},
    "nothing but what it blocks": {
        "ts": None,
        "open_ts": None,
        "close_ts": None,
        "close": None,
        "origin": None,
    },
}


@pytest.mark.parametrize("odd", NEWER.values(), ids=NEWER)
async def test_what_a_newer_issuer_blocks_is_enforced_and_what_it_releases_is_not(
    broker: Broker, tmp_path: Path, odd: dict[str, Any]
) -> None:
    async with Rig.on(broker, tmp_path) as rig, rig.meter():
        await rig.heard("reading")
        await publish(rig, json.dumps(_json(block(open=True)) | odd).encode())
        await rig.command(command("c1"))
        assert await result(rig, "c1") == ("refused", "opening is blocked")
        before = len(rig.messages)
        await publish(rig, json.dumps(_json(block()) | odd).encode())
        await rig.command(command("c2"))
        assert await result(rig, "c2") == ("refused", "opening is blocked")
        await rig.heard("block", lambda told: told.get("open") is True and bool(told["ts"]), since=before)
