"""Devices → adapter → bridge: what they have told is in the store once, whatever is killed between."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

from adapters import acceptance
from adapters.points import meter_id_of
from bridge.store.pack_format import StoredReading
from broker.contract.messages import format_ts, utc_now
from tests.support import made_up
from tests.support.adapters import rig as running_adapter
from tests.support.adapters import toml
from tests.support.bridges import TOPICS, Rig, chain, eventually
from tests.support.brokers import Broker
from tests.support.forked import Forked

KEY = "d1"
METER = meter_id_of(made_up.NAME, KEY)


@contextmanager
def adapter(config: Path) -> Iterator[Forked]:
    """An adapter as a process of its own."""
    with (
        config.with_suffix(".log").open("ab") as file,
        Forked("tests.support.adapter_process", str(config), stderr=file) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def tell(rig: Rig, kind: str, told: object, *, retain: bool = False) -> None:
    rig.client.publish(f"{made_up.NAME}/{KEY}/{kind}", json.dumps(told), retain=retain)


def online(rig: Rig) -> bool:
    return b'"online":true' in rig.client.latest.get(TOPICS.meter(METER, "status"), b"")


def stored(rig: Rig) -> list[StoredReading]:
    """The meter's readings that have values, oldest first."""
    meter = rig.meter(METER)
    return [row for row in rig.store.readings(meter) if row.energy is not None] if meter else []


def energies(rig: Rig) -> list[float]:
    return sorted(row.energy for row in stored(rig))


def on_disk(folder: Path) -> int:
    """The number of the last reading that the meter has kept."""
    with closing(sqlite3.connect(folder / "adapter" / "adapter.sqlite")) as connection:
        return int(connection.execute("SELECT seq FROM outbox_state").fetchone()[0])


def test_exactly_once_through_kills_of_adapter_and_bridge(broker: Broker, tmp_path: Path) -> None:
    with chain(broker, f"sqlite:///{tmp_path}/store.sqlite") as rig:
        config = toml(broker, tmp_path)
        tell(rig, "info", {}, retain=True)
        with adapter(config) as process:
            eventually(lambda: online(rig), what="the meter is online")
            for number in range(1, 31):
                tell(rig, "values", {"power": 1.0, "energy": number})
            eventually(lambda: energies(rig) == list(range(1, 31)), what="the readings are stored")
            rig.bridge.kill()
            for number in range(31, 61):
                tell(rig, "values", {"power": 1.0, "energy": number})
            process.kill()
            process.wait(60)
        kept = on_disk(tmp_path)
        assert kept >= 30
        rig.bridge.start()
        with adapter(config):
            eventually(lambda: len(stored(rig)) >= kept, what="what was on the disk is stored")
            eventually(lambda: online(rig), what="the meter is online again")
            assert energies(rig) == list(range(1, kept + 1))
            tell(rig, "values", {"power": 1.0, "energy": 100})
            eventually(lambda: 100 in energies(rig), what="it goes on")
        assert energies(rig) == [*range(1, kept + 1), 100]


def test_times_and_history_reach_the_store(broker: Broker, tmp_path: Path) -> None:
    with chain(broker, f"sqlite:///{tmp_path}/store.sqlite") as rig, adapter(toml(broker, tmp_path)):
        tell(rig, "info", {}, retain=True)
        eventually(lambda: online(rig), what="the meter is online")
        now = utc_now()
        old = now - timedelta(hours=30)
        tell(rig, "values", {"energy": 3, "at": format_ts(now)})
        tell(rig, "values", {"energy": 4})
        tell(rig, "values", {"energy": 1, "at": format_ts(old), "historical": True})
        tell(rig, "nonsense", {})
        rig.client.publish(f"{made_up.NAME}/{KEY}/values", b"\xff{")
        rig.client.publish(f"{made_up.NAME}/{KEY}/bug", b"{}")
        eventually(lambda: energies(rig) == [1, 3, 4], what="all are stored")
        rows = {row.energy: row for row in stored(rig)}
        assert rows[1].ts == int(old.timestamp() * 1000)
        assert rows[3].ts == int(now.timestamp() * 1000)
        assert [rows[energy].clock_synchronized for energy in (1, 3, 4)] == [True, True, False]
        live = json.loads(rig.client.latest[TOPICS.meter(METER, "reading")])
        assert live["energy"] == 4
    aside = (tmp_path / "adapter" / "aside" / "home.jsonl").read_text()
    assert {json.loads(line)["cause"] for line in aside.splitlines()} == {
        "unknown topic",
        "not JSON",
        "the family's decoder has failed",
    }


async def test_a_meter_is_offline_with_its_device_and_comes_back(broker: Broker, tmp_path: Path) -> None:
    async with running_adapter(broker, tmp_path) as town:
        await town.tell(KEY, "info", {}, retain=True)
        await town.meter(KEY, "status", lambda status: status.get("online") is True)
        since = len(town.heard)
        await town.tell(KEY, "online", True)  # again, as at a new connection to its broker
        await town.tell(KEY, "online", False)
        await town.meter(KEY, "status", lambda status: status.get("online") is False, since=since)
        await town.tell("d2", "info", {})
        await town.meter("d2", "status", lambda status: status.get("online") is True)
        own = [told for topic, told in town.heard[since:] if topic == TOPICS.meter(METER, "status")]
        assert [told["online"] for told in own] == [False], "it does not come back by itself"
        since = len(town.heard)
        await town.tell(KEY, "online", True)
        await town.meter(KEY, "status", lambda status: status.get("online") is True, since=since)
        await town.tell(KEY, "values", {"power": 4.0})
        await town.meter(KEY, "reading", lambda reading: reading.get("power") == 4.0, since=since)


async def test_a_device_that_was_away_at_the_start_is_registered_all_the_same(
    broker: Broker, tmp_path: Path
) -> None:
    async with running_adapter(broker, tmp_path) as town:
        await town.tell(KEY, "online", False, retain=True)
        await town.tell(KEY, "info", {}, retain=True)
        await town.tell(KEY, "online", False, retain=True)
        await town.meter(KEY, "birth", lambda birth: birth.get("name") == KEY)
        await town.meter(KEY, "status", lambda status: status.get("online") is False)


async def test_new_quantities_and_new_rules_are_told_in_a_new_birth(broker: Broker, tmp_path: Path) -> None:
    async with running_adapter(broker, tmp_path, accept=[]) as town:
        await town.tell(KEY, "info", {"quantities": ["power"]}, retain=True)
        await town.tell(KEY, "values", {"power": 1.0})
        accepted = tmp_path / "adapter" / "accepted.json"
        await asyncio.to_thread(accept, accepted.parent, "Hall")
        await town.meter(KEY, "birth", lambda birth: birth.get("quantities") == ["power"])
        await town.tell(KEY, "values", {"power": 2.0, "energy": 7.0})
        await town.meter(KEY, "birth", lambda birth: birth.get("quantities") == ["power", "energy"])
        await town.meter(KEY, "reading", lambda reading: reading.get("energy") == 7.0)
        await asyncio.to_thread(accept, accepted.parent, "Cellar")
        await town.meter(KEY, "birth", lambda birth: birth.get("name") == "Cellar")
        since = len(town.heard)
        await asyncio.to_thread(dismiss, accepted.parent)
        await town.meter(KEY, "status", lambda status: status.get("online") is False, since=since)
    assert not any(told.get("power") == 1.0 and "seq" in told for _, told in town.heard)


def accept(data_dir: Path, name: str) -> None:
    acceptance.change(data_dir, add=[acceptance.Rule(family=made_up.NAME, key=KEY, name=name)])


def dismiss(data_dir: Path) -> None:
    acceptance.change(data_dir, remove=[(made_up.NAME, KEY)])
