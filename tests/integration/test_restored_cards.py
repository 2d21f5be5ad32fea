"""A meter whose memory card was restored from a backup, and two with copies of one card: nothing is lost."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bridge.store.alarms import AlarmRecord
from bridge.store.queries import Store
from bridge.store.tables import moment
from broker.contract.messages import format_ts, utc_now
from broker.contract.notice import MeterNotice, NoticeCode
from broker.contract.reading import NO_INSTANCE, Stored
from broker.mqtt.settings import MqttSettings
from meter_firmware import run
from meter_firmware.meter import FILE_NAME
from meter_firmware.settings import MeterSettings, OutboxSettings, SensorSettings
from meter_firmware.storage import Storage
from tests.support.bridges import bridge
from tests.support.brokers import Broker
from tests.support.firmware_rig import Rig
from tests.support.pzem import THESIS, Pzem

pytest_plugins = ("tests.support.databases",)

DEADLINE = 60.0


async def until(condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - a database does not call back
            await asyncio.sleep(0.1)
    assert condition(), what


def waiting(settings: MeterSettings) -> int:
    """Readings in the outbox of a meter that does not run."""
    with Storage(settings.data_dir / FILE_NAME) as storage:
        return int(storage.all("SELECT count(*) FROM outbox")[0][0])


Taken = tuple[str, float]
"""When a reading was taken, and its voltage: twins may take theirs in the same millisecond."""


def heard(rig: Rig) -> set[Taken]:
    """Each reading that the meter has sent."""
    replayed = [one for history in rig.so_far("history") for one in history["readings"]]
    return {(one["ts"], one["voltage"]) for one in (*rig.so_far("reading"), *replayed)}


def stored(store: Store, meter_id: str) -> Counter[Taken]:
    """How often each reading is stored."""
    meter = store.registered(meter_id)
    rows = store.readings(meter) if meter else iter(())
    return Counter((format_ts(moment(row.ts)), row.voltage or 0.0) for row in rows)


def alarms(store: Store, kind: str) -> list[AlarmRecord]:
    return [alarm for alarm in store.alarms() if alarm.kind == kind]


@asynccontextmanager
async def chained(broker: Broker, tmp_path: Path, url: str) -> AsyncIterator[tuple[Rig, Store]]:
    """Broker, bridge, a sensor and a listener; no meter yet."""
    async with Rig.on(broker, tmp_path, outbox=OutboxSettings(resend_after=0.5)) as rig:
        mqtt = MqttSettings(port=broker.port, prefix=rig.settings.mqtt.prefix)
        with bridge(broker, url, mqtt=mqtt):
            await rig.heard("status", lambda status: "counters" in status and status["online"])
            with Store.open(url) as store:
                yield rig, store


async def run_until(rig: Rig, count: int) -> None:
    """The meter runs until it has sent so many readings more."""
    before = len(rig.messages)
    async with rig.meter():
        while sum(message.kind == "reading" for message in rig.messages[before:]) < count:
            await rig.heard("reading", since=len(rig.messages))


async def drain(rig: Rig) -> None:
    """The meter runs until nothing waits in it but what is under way."""
    for _ in range(20):
        await run_until(rig, 5)
        if waiting(rig.settings) <= 2:
            return
    raise AssertionError(f"{waiting(rig.settings)} readings wait in the meter")


async def all_stored_once(rig: Rig, store: Store) -> None:
    """All that was sent, but for what was under way when a meter stopped."""
    sent = heard(rig)
    found = await asyncio.to_thread(stored, store, rig.meter_id)
    assert set(found.values()) == {1}, [taken for taken, count in found.items() if count > 1]
    assert len(sent - found.keys()) <= 4


async def test_a_meter_begins_a_new_epoch_when_it_is_told(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path, outbox=OutboxSettings(resend_after=0.2)) as rig, rig.meter():
        first = await rig.heard("reading", lambda reading: reading["seq"] >= 3)
        notice = MeterNotice(code=NoticeCode.EPOCH_CONFLICT, epoch=first["epoch"], ts=utc_now())
        before = heard(rig)
        await rig.client.publish(rig.topic("notice"), b"{", qos=1)
        await rig.client.publish(rig.topic("notice"), b'{"code":"newer","ts":"2026-11-23T12:00:00Z"}', qos=1)
        await rig.client.publish(rig.topic("notice"), notice.payload(), qos=1)
        fresh = await rig.heard("reading", lambda reading: reading["epoch"] != first["epoch"])
        assert fresh["epoch"] > first["epoch"] + 1

        def renamed(told: dict[str, Any]) -> set[Taken]:
            following = (one for one in told["readings"] if one["epoch"] == first["epoch"] + 1)
            return {(one["ts"], one["voltage"]) for one in following}

        await rig.heard("history", lambda told: renamed(told) >= before)


async def test_a_meter_ignores_what_is_for_its_twin(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path, outbox=OutboxSettings(resend_after=0.2)) as rig, rig.meter():
        own = (await rig.heard("birth"))["instance"]
        first = await rig.heard("reading", lambda reading: reading["seq"] >= 3)
        epoch, seq = first["epoch"], first["seq"]
        assert first["instance"] == own
        for instance in ("twin", NO_INSTANCE):
            notice = MeterNotice(
                code=NoticeCode.EPOCH_CONFLICT, epoch=epoch, first=1, seq=seq, instance=instance, ts=utc_now()
            )
            told = Stored(epoch=epoch, first=1, seq=seq, instance=instance, ts=utc_now())
            await rig.client.publish(rig.topic("notice"), notice.payload(), qos=1)
            await rig.client.publish(rig.topic("stored"), told.payload(), qos=1)
        later = await rig.heard("reading", lambda reading: reading["seq"] >= seq + 3)
        assert later["epoch"] == epoch
        again = await rig.heard("history", since=len(rig.messages))
        assert [one["seq"] for one in again["readings"]][:seq] == list(range(1, seq + 1))
        assert {one["instance"] for one in again["readings"]} == {own}
        ours = Stored(epoch=epoch, first=1, seq=seq, instance=own, ts=utc_now())
        await rig.client.publish(rig.topic("stored"), ours.payload(), qos=1)
        await rig.heard("history", lambda told: told["readings"][0]["seq"] > seq)


async def test_a_card_that_was_restored_from_a_backup(
    broker: Broker, tmp_path: Path, sqlite_url: str
) -> None:
    async with chained(broker, tmp_path, sqlite_url) as (rig, store):
        await run_until(rig, 5)
        shutil.copytree(rig.settings.data_dir, tmp_path / "backup")
        await run_until(rig, 15)
        shutil.rmtree(rig.settings.data_dir)
        shutil.copytree(tmp_path / "backup", rig.settings.data_dir)
        await run_until(rig, 5)
        await drain(rig)
        await all_stored_once(rig, store)
        epochs = {one["epoch"] for one in rig.so_far("reading")}
        assert len(epochs) >= 2
        (alarm,) = alarms(store, "epoch-conflict")
        assert alarm.meter_id == rig.meter_id


async def test_two_meters_with_copies_of_one_card(broker: Broker, tmp_path: Path, sqlite_url: str) -> None:
    async with chained(broker, tmp_path, sqlite_url) as (rig, store):
        await run_until(rig, 3)
        (tmp_path / "b").mkdir()
        with Pzem(tmp_path / "b", registers=(2400, *THESIS[1:])):
            settings = rig.settings.model_copy(
                update={
                    "data_dir": tmp_path / "b" / "meter",
                    "sensor": SensorSettings(port=str(tmp_path / "b" / "ttyPZEM")),
                }
            )
            shutil.copytree(rig.settings.data_dir, settings.data_dir)
            stop = asyncio.Event()
            twin = asyncio.create_task(run.run(settings, stop=stop))
            async with rig.meter():
                await until(lambda: bool(alarms(store, "twin")), "the twin is found")
            stop.set()
            await twin
            (alarm,) = alarms(store, "twin")
            sessions = {birth["session"] for birth in rig.so_far("birth")}
            assert sum(session in alarm.detail for session in sessions) == 2, "both are named"
            assert "127.0.0.1" in alarm.detail
            await drain(rig)
            other = Rig(settings, rig.pzem, rig.meter_id, rig.client, rig.messages, rig.arrived)
            await drain(other)
        await all_stored_once(rig, store)
