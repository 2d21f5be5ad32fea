"""Nobody speaks for a meter but the device, on the broker, that it was accepted from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters import adapter as adapters
from adapters.adapter import Adapter
from adapters.family import Point, Switched, Values
from adapters.points import Kept, meter_id_of, save
from adapters.settings import AdapterSettings
from broker.contract.relay import Position
from tests.support import made_up

ELSEWHERE = "device is on two sources"


def point(key: str = "plug", **others: Any) -> Point:
    told: dict[str, Any] = {"name": key, "vendor": "", "model": "", "serial": key, "quantities": ("power",)}
    return Point(key, **told | others)


@asynccontextmanager
async def accepting(
    folder: Path, sources: tuple[str, ...] = ("a", "b"), **others: Any
) -> AsyncIterator[Adapter]:
    """An adapter that accepts all devices of these sources; no broker is there."""
    told: dict[str, Any] = {
        "source": [{"name": name, "family": made_up.NAME} for name in sources],
        "accept": [{"family": made_up.NAME}],
        "data_dir": folder,
        "mqtt": {"port": 1},
    }
    adapter = Adapter(AdapterSettings.model_validate(told | others))
    try:
        yield adapter
    finally:
        await adapter._end()


async def test_a_device_on_another_broker_does_not_take_a_meter_over(tmp_path: Path) -> None:
    async with accepting(tmp_path) as adapter:
        a, b = adapter.sources
        adapter._take(a, point())
        adapter._take(b, point(switch=True, name="mine now"))  # a's connection may be lost just now
        adapter._take(b, Values("plug", {"power": 9e9}))
        adapter._take(a, Values("plug", {"power": 1.0}))
        (entry,) = adapter.entries
        assert (entry.source, entry.point.switch, entry.taken) == (a, False, 1)
        assert b.aside.counts == {ELSEWHERE: 1}


async def test_a_restart_knows_from_which_broker_a_meter_is(tmp_path: Path) -> None:
    save(tmp_path / meter_id_of(made_up.NAME, "plug"), Kept(made_up.NAME, "b", point()))
    async with accepting(tmp_path) as adapter:
        a, b = adapter.sources
        adapter._remember()
        adapter._take(a, point())
        assert adapter.entries[0].source is b
        assert a.aside.counts == {ELSEWHERE: 1}


async def test_where_no_file_tells_the_source_the_first_that_has_the_device_keeps_it(tmp_path: Path) -> None:
    save(tmp_path / meter_id_of(made_up.NAME, "plug"), Kept(made_up.NAME, "", point()))
    async with accepting(tmp_path) as adapter:
        a, b = adapter.sources
        adapter._remember()
        adapter._take(b, point())
        adapter._take(a, point())
        assert adapter.entries[0].source is b
        assert a.aside.counts == {ELSEWHERE: 1}


async def test_two_keys_that_differ_in_capitals_are_one_meter_which_the_second_does_not_get(
    tmp_path: Path,
) -> None:
    async with accepting(tmp_path) as adapter:
        a = adapter.sources[0]
        adapter._take(a, point("plug"))
        adapter._take(a, point("PLUG"))
        adapter._take(a, Values("PLUG", {"power": 9e9}))
        adapter._take(a, Switched("PLUG", Position.OPEN))
        assert [(one.point.key, one.taken, one._position) for one in adapter.entries] == [("plug", 0, None)]
        assert a.aside.counts == {"two keys differ in capitals only": 1}


async def test_a_flood_of_invented_devices_keeps_no_accepted_one_out(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(adapters, "MOST_POINTS", 10)
    rule = {"family": made_up.NAME, "key": "plug"}
    async with accepting(tmp_path, ("a",), accept=[rule]) as adapter:
        a = adapter.sources[0]
        for number in range(20):
            adapter._take(a, point(f"invented{number}"))
        adapter._take(a, point("plug"))
        assert [one.point.key for one in adapter.entries] == ["plug"]
        assert adapter.known == 11
