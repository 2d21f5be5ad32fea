"""A meter begins when its sensor has told what it measures, now or in an earlier run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from meter_firmware import learning
from meter_firmware.learning import FILE_NAME, LearningMeter, remembered
from meter_firmware.meter import Meter
from meter_firmware.sensors.sensor import Measurement, SensorError

DEADLINE = 60.0
THREE_PHASES: Measurement = {"voltage_l2": 230.0, "power": -5.0, "alarm": False, "voltage_l1": 230.0}
NAMES = ("power", "voltage_l1", "voltage_l2")


class Told:
    """A sensor that gives these measurements, and then fails; it is also the meter that is built."""

    def __init__(self, *measurements: Measurement | None) -> None:
        self._left = list(measurements)
        self.built: list[tuple[str, ...]] = []
        self.closed = False

    measures: tuple[str, ...] = ()

    async def read(self) -> Measurement:
        measured = self._left.pop(0) if self._left else None
        if measured is None:
            raise SensorError("sensor sends nothing", "test")
        return measured

    def close(self) -> None:
        self.closed = True

    def build(self, quantities: tuple[str, ...]) -> Meter:
        self.built.append(quantities)
        return cast(Meter, self)

    async def run(self, _stop: asyncio.Event) -> None:
        return None


async def runs(sensor: Told, folder: Path, *, kind: str = "p1", stop: asyncio.Event | None = None) -> None:
    meter = LearningMeter(sensor, sensor.build, kind=kind, data_dir=folder)
    await asyncio.wait_for(meter.run(stop or asyncio.Event()), DEADLINE)


async def test_the_first_measurement_says_what_the_meter_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "RETRY_SECONDS", 0.0)
    sensor = Told(None, {"alarm": False}, None, THREE_PHASES)
    await runs(sensor, tmp_path)
    assert sensor.built == [NAMES]  # in the order of the contract, and only its quantities
    assert remembered(tmp_path / FILE_NAME, kind="p1") == NAMES


async def test_a_silent_sensor_gives_what_it_gave_before(tmp_path: Path) -> None:
    await runs(Told(THREE_PHASES), tmp_path)
    sensor = Told()
    await runs(sensor, tmp_path)
    assert sensor.built == [NAMES]


async def test_what_comes_now_counts_more_than_what_came_before(tmp_path: Path) -> None:
    await runs(Told(THREE_PHASES), tmp_path)
    sensor = Told({"power": 1.0})
    await runs(sensor, tmp_path)
    assert sensor.built == [("power",)]
    assert remembered(tmp_path / FILE_NAME, kind="p1") == ("power",)


DAMAGED = (
    *("", "[]", "{}", '{"kind": "p1"}', '{"kind": "sml", "quantities": ["power"]}'),
    *('{"kind": "p1", "quantities": 7}', '{"kind": "p1", "quantities": ["x"]}'),
)


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_memory_or_that_of_another_kind_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    assert remembered(tmp_path / FILE_NAME, kind="p1") == ()


async def test_a_meter_that_is_stopped_before_it_has_learned_closes_its_port(tmp_path: Path) -> None:
    stop = asyncio.Event()

    class Waiting(Told):
        async def read(self) -> Measurement:
            stop.set()
            await asyncio.Event().wait()
            return {}

    sensor = Waiting()
    await runs(sensor, tmp_path, stop=stop)
    assert (sensor.built, sensor.closed) == ([], True)


async def test_a_disk_that_takes_nothing_does_not_keep_a_meter_from_its_work(tmp_path: Path) -> None:
    sensor = Told(THREE_PHASES)
    await runs(sensor, tmp_path / "missing")
    assert sensor.built == [NAMES]
