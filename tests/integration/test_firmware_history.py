"""Nothing is lost: what ``stored`` does not name comes again, over restarts of broker and meter."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from broker.contract.reading import History
from meter_firmware.meter import FILE_NAME
from meter_firmware.settings import OutboxSettings
from meter_firmware.storage import Storage
from tests.support.brokers import Broker
from tests.support.firmware_rig import Rig, command


def kept(rig: Rig) -> set[int]:
    """What is in the outbox of a meter that does not run."""
    with Storage(rig.settings.data_dir / FILE_NAME) as storage:
        return {seq for (seq,) in storage.all("SELECT seq FROM outbox")}


def replayed(rig: Rig, since: int = 0) -> set[int]:
    return {
        reading.seq
        for message in rig.messages[since:]
        if message.kind == "history"
        for reading in History.model_validate(message.payload).readings
    }


async def until_replayed(rig: Rig, wanted: set[int], *, since: int = 0) -> None:
    await rig.heard("history", lambda _history: replayed(rig, since) >= wanted, since=since)


async def test_stored_empties_the_outbox_and_only_of_what_it_names(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path, outbox=OutboxSettings(resend_after=60)) as rig:
        async with rig.meter():
            epoch = (await rig.heard("reading"))["epoch"]
            await rig.heard("reading", lambda reading: reading["seq"] >= 6)
            await rig.confirm(epoch + 1, 1, 100)
            await rig.confirm(epoch, 1, 2)
            await rig.confirm(epoch, 4, 5)
            await rig.command(command("c1"))
            await rig.heard("result")
        left = kept(rig)
        assert left == {3, *range(6, max(left) + 1)}
        assert rig.so_far("history") == []


async def test_what_stays_unconfirmed_comes_again_on_history(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path) as rig, rig.meter():
        epoch = (await rig.heard("reading"))["epoch"]
        await rig.heard("reading", lambda reading: reading["seq"] >= 2)
        await rig.confirm(epoch, 1, 1)
        await rig.command(command("c1"))
        await rig.heard("result")  # so it has heard what was confirmed
        heard = len(rig.messages)
        await until_replayed(rig, {2}, since=heard)
        before = len(rig.messages)
        await until_replayed(rig, {2}, since=before)
        assert 1 not in replayed(rig, heard)
        live = {reading["seq"]: reading for reading in rig.so_far("reading")}
        for message in rig.so_far("history"):
            for reading in message["readings"]:
                assert live[reading["seq"]] == reading, "the same reading, to the byte"


async def test_a_broker_restart_loses_nothing(broker: Broker, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"outbox": OutboxSettings(resend_after=60)}
    async with Rig.on(broker, tmp_path, **settings) as rig, rig.meter():
        last = await rig.heard("reading", lambda reading: reading["seq"] >= 3)
        broker.kill()
        await asyncio.sleep(0.5)  # readings are taken meanwhile
        broker.start()
        async with Rig.listening(rig.settings, rig.pzem) as again:
            await until_replayed(again, set(range(1, last["seq"] + 1)))
            fresh = await again.heard("birth")
            assert fresh["session"] != rig.so_far("birth")[0]["session"]
            after = await again.heard("reading", lambda reading: reading["seq"] > last["seq"] + 3)
            live = {reading["seq"] for reading in again.so_far("reading")}
            await until_replayed(again, set(range(1, after["seq"] + 1)) - live)


async def test_readings_of_a_time_without_a_broker_are_sent_when_there_is_one(
    broker: Broker, tmp_path: Path
) -> None:
    async with Rig.on(broker, tmp_path, outbox=OutboxSettings(resend_after=60)) as rig:
        async with rig.meter():
            await rig.heard("reading", lambda reading: reading["seq"] >= 4)
        left = kept(rig)
        assert left >= {1, 2, 3, 4}
        before = len(rig.messages)
        async with rig.meter():
            await until_replayed(rig, left, since=before)
            status = await rig.heard("status", lambda status: status["online"], since=before)
            assert status["outbox"] >= len(left)


async def test_a_full_outbox_drops_the_oldest_and_says_so(broker: Broker, tmp_path: Path) -> None:
    bounded = OutboxSettings(days=0.5 / 86_400, resend_after=60)
    assert bounded.capacity(0.1) == 5
    async with Rig.on(broker, tmp_path, outbox=bounded) as rig:
        async with rig.meter():
            await rig.heard("reading", lambda reading: reading["seq"] >= 8)
        last = max(kept(rig))
        assert kept(rig) == set(range(last - 4, last + 1))
        before = len(rig.messages)
        async with rig.meter():
            status = await rig.heard("status", lambda status: status["online"], since=before)
        assert status["dropped"] >= last - 5


async def test_live_readings_flow_while_a_backlog_waits(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path, outbox=OutboxSettings(resend_after=0.2)) as rig:
        async with rig.meter():
            await rig.heard("history")
            sent = rig.so_far("reading")[-1]["seq"]
            await rig.heard("reading", lambda reading: reading["seq"] >= sent + 5)
        await rig.heard("status", lambda status: not status["online"])  # behind the last reading
        live = [reading["seq"] for reading in rig.so_far("reading")]
        assert live == list(range(1, live[-1] + 1))
        assert (await rig.retained())["reading"]["seq"] == live[-1], "history never replaces a newer reading"
