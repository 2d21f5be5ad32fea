"""A block that the ledger has, a broker that has lost it, and a meter that has never heard of it.

The meter was away when it was set. The broker comes back without its file, or with one that is older; until
the bridge has seen to it, the meter obeys no command.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from broker.contract.messages import utc_now
from broker.contract.reading import Stored
from broker.contract.relay import Position
from broker.mqtt.settings import MqttSettings
from tests.integration.test_firmware_blocks import block, publish
from tests.integration.test_firmware_commands import result
from tests.support.bridges import bridge, eventually
from tests.support.brokers import Broker
from tests.support.firmware_rig import Rig, command

UNKNOWN = "not known yet what is blocked"
SECONDS = 60.0


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait without holding up the meter, which runs in this event loop."""
    await asyncio.to_thread(eventually, condition, what=what, seconds=SECONDS)


@asynccontextmanager
async def listening(broker: Broker, folder: Path) -> AsyncIterator[Rig]:
    """A meter of the bridge's prefix."""
    mqtt = MqttSettings(host=broker.host, port=broker.port)
    async with Rig.on(broker, folder, mqtt=mqtt) as rig:
        yield rig


async def vouched(rig: Rig, *, blocks: bool = True, since: int = 0) -> dict[str, Any]:
    """The bridge says whether the broker has all blocks."""
    async with asyncio.timeout(SECONDS):
        return await rig.heard("stored", lambda told: told.get("blocks") is blocks, since=since)


def files(broker: Broker) -> list[Path]:
    """Where the broker keeps what is retained."""
    return list(broker.config.parent.rglob("*.db"))


async def met(rig: Rig, folder: Path, broker: Broker) -> None:
    """Meter and bridge know each other; the broker's state of now is kept in ``older.db``."""
    async with rig.meter():
        await vouched(rig)
        await rig.command(command("met", Position.CLOSED))
        await result(rig, "met")  # what came before it is on the meter's disk, too
    broker.stop()  # saves its state
    (older,) = files(broker)
    shutil.copy(older, folder / "older.db")
    broker.start()


@pytest.mark.parametrize("comes_back", ["empty", "older"])
@pytest.mark.timeout(300)
async def test_a_block_holds_until_the_bridge_has_told_it_again(
    broker: Broker, tmp_path: Path, comes_back: str
) -> None:
    with bridge(broker, f"sqlite:///{tmp_path / 'db.sqlite'}") as running:
        async with listening(broker, tmp_path) as rig:
            await met(rig, tmp_path, broker)
        async with listening(broker, tmp_path) as rig:
            await until(lambda: "MQTT broker" in running.log.read_text(), "the bridge is connected again")
            await publish(rig, block(open=True).payload())
            await rig.heard("notice", lambda told: told["code"] == "block-recorded")
        running.kill()
        broker.kill()
        (file,) = files(broker)
        file.unlink() if comes_back == "empty" else shutil.copy(tmp_path / "older.db", file)
        broker.start()
        async with listening(broker, tmp_path) as rig, rig.meter():
            await rig.heard("status", lambda status: status["online"] and not status.get("repeated"))
            await rig.command(command("before"))
            assert await result(rig, "before") == ("refused", UNKNOWN)
            running.start()
            await vouched(rig)
            await rig.command(command("after"))
            assert await result(rig, "after") == ("refused", "opening is blocked")
            await publish(rig, block().payload())
            await rig.command(command("released"))
            assert await result(rig, "released") == ("done", "")


async def test_a_standing_connection_needs_no_bridge(broker: Broker, tmp_path: Path) -> None:
    async with listening(broker, tmp_path) as rig, rig.meter():
        with bridge(broker, f"sqlite:///{tmp_path / 'db.sqlite'}") as running:
            await vouched(rig)
            running.kill()
            await rig.command(command("c1"))
            assert await result(rig, "c1") == ("done", "")


async def say(rig: Rig, **told: Any) -> None:
    """What a bridge would say, and wait until the meter has it."""
    stored = Stored(epoch=1, first=1, seq=1, ts=utc_now(), **told)
    await rig.client.publish(rig.topic("stored"), stored.payload())


async def test_what_the_bridge_has_not_seen_to_is_not_known(broker: Broker, tmp_path: Path) -> None:
    """A command is judged by what this connection has brought; an older bridge says nothing, as before."""
    async with Rig.on(broker, tmp_path) as rig:
        async with rig.meter():
            await rig.heard("reading")
            await rig.command(command("c0"))
            assert await result(rig, "c0") == ("done", "")
            await say(rig, blocks=False)
            await rig.command(command("c1", Position.CLOSED))
            assert await result(rig, "c1") == ("refused", UNKNOWN)
            await say(rig, blocks=True)
            await rig.command(command("c2", Position.CLOSED))
            assert await result(rig, "c2") == ("done", "")
            await say(rig, blocks=False)
            await rig.command(command("c3"))
            assert await result(rig, "c3") == ("done", ""), "it hears all that has changed since"
        before = len(rig.messages)
        async with rig.meter():
            await rig.heard("status", lambda status: status["online"], since=before)
            await rig.command(command("c4", Position.CLOSED))
            assert await result(rig, "c4") == ("refused", UNKNOWN)
            await say(rig)
            await rig.command(command("c5", Position.CLOSED))
            assert await result(rig, "c5") == ("done", "")
