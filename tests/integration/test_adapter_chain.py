"""Devices → adapter → bridge: what they have told is in the store once, whatever is killed between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import SQLModel

from adapters.points import meter_id_of
from bridge.store.queries import Store
from broker.contract.messages import format_ts, utc_now
from tests.support import adapters, made_up
from tests.support.adapters import Town, rig, town
from tests.support.bridges import bridge
from tests.support.brokers import Broker
from tests.support.forked import Forked

assert SQLModel
KEY = "d1"
METER = meter_id_of(made_up.NAME, KEY)


@contextmanager
def adapter(config: Path, log: Path) -> Iterator[Forked]:
    """An adapter as a process of its own."""
    with log.open("ab") as file, Forked("tests.support.adapter_process", str(config), stderr=file) as process:
        try:
            yield process
        finally:
            process.kill()


def stored(store: Store, meter_id: str = METER) -> list[Any]:
    """The meter's readings in the store, in the order of their energy."""
    found = [one.meter for one in store.meters(retired=True) if one.meter.meter_id == meter_id]
    return sorted(store.readings(found[0]), key=lambda row: row.energy or 0) if found else []


async def in_store(store: Store, count: int) -> list[Any]:
    """The readings with values, when there are so many."""
    async with asyncio.timeout(adapters.DEADLINE):
        while True:
            rows = [row for row in await asyncio.to_thread(stored, store) if row.energy is not None]
            if len(rows) >= count:
                return rows
            await asyncio.sleep(0.05)


@asynccontextmanager
async def watched(broker: Broker, tmp_path: Path) -> AsyncIterator[tuple[Store, Town]]:
    """The bridge, its store, and devices."""
    url = f"sqlite:///{tmp_path}/store.sqlite"
    with bridge(broker, url):
        async with town(broker) as devices:
            yield Store(url), devices
