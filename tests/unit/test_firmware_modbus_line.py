"""Every Modbus kind on a line: good frames, and all that a line, a device or a wrong setting does to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from meter_firmware.sensors.household import HOUR, ORIGIN
from meter_firmware.sensors.kinds import kinds
from meter_firmware.sensors.modbus import sensor as sensor_module
from meter_firmware.sensors.modbus.bus import Line, SerialBus
from meter_firmware.sensors.modbus.devices.sunspec import SUNSPEC, SUNSPEC_1P
from meter_firmware.sensors.modbus.devices.sunspec import image as sunspec_image
from meter_firmware.sensors.modbus.registration import MODELS, Model
from meter_firmware.sensors.modbus.sensor import WRONG_VARIANT, ModbusSensor
from meter_firmware.sensors.modbus.table import Device
from meter_firmware.sensors.sensor import Measurement, SensorError
from meter_firmware.sensors.wired_house import WiredHouse
from meter_firmware.sensors.wiring import Wiring
from tests.support.modbus import FAILURES, Image, Loop, Mode, Slaves, image
from tests.support.modbus_samples import ENTRIES, SAMPLES, Sample
from tests.support.modbus_samples import SUNSPEC as SUNSPEC_SAMPLE

kinds()
UNIT = 5
TABLES = [model for model in MODELS.values() if model.sensor is ModbusSensor]
"""SunSpec first looks for its models."""
every_kind = pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.device.name)


class Wire:
    """A line whose devices answer at once."""

    def __init__(self, slaves: Slaves) -> None:
        self.slaves = slaves
        self.bus = SerialBus("loop", Line(9600, "8N1"))

    def put(self, unit: int, device: Image) -> None:
        """A device on the line."""
        self.slaves.units[unit] = device


@pytest.fixture
def wire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    made = Wire(Slaves(tmp_path, {}))
    monkeypatch.setattr(SerialBus, "_open", lambda _self, _seconds: Loop(made.slaves))
    yield made
    made.bus.close()


def measured(device: Device) -> Measurement:
    """What a house's meter of this kind shows at some instant."""
    return WiredHouse(seed=1, number=1, measures=device.measures).measure(ORIGIN + 5000 * HOUR)


def filled(device: Device, words: dict[int, int]) -> Image:
    """The device with these registers; 0 stands in the others that are read."""
    asked = {at: 0 for first, count in device.blocks for at in range(first, first + count)}
    return image(device.function, asked | device.encode({}) | words, size=4 if device.wide else 2)


def image_of(device: Device) -> Image:
    """The device, with a house's values."""
    if device in (SUNSPEC, SUNSPEC_1P):
        return image(3, sunspec_image(device, 213 if device is SUNSPEC else 211, measured(device)))
    return filled(device, device.encode(measured(device)))


@every_kind
async def test_a_failure_has_a_cause_and_the_next_good_answer_is_taken(wire: Wire, model: Model) -> None:
    wire.put(UNIT, image_of(model.device))
    sensor = model.on(wire.bus, UNIT)
    good = await sensor.read()
    assert set(good) - {"alarm"} == set(model.device.measures)
    for mode, cause in FAILURES.items():
        wire.slaves.mode = mode
        with pytest.raises(SensorError) as caught:
            await sensor.read()
        assert (caught.value.cause, mode) == (cause, mode)
        wire.slaves.mode = Mode.GOOD
        assert await sensor.read() == good


@pytest.mark.parametrize("model", TABLES, ids=lambda model: model.device.name)
async def test_one_request_is_sent_for_each_block(wire: Wire, model: Model) -> None:
    wire.put(UNIT, image_of(model.device))
    await model.on(wire.bus, UNIT).read()
    asked = [
        (int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[4:6], "big"))
        for frame in wire.slaves.requests
    ]
    assert asked == list(model.device.blocks)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)
async def test_a_sample_is_read_from_the_line(wire: Wire, sample: Sample) -> None:
    model = MODELS[sample.kind]
    wire.put(UNIT, filled(model.device, sample.words))
    read = await model.on(wire.bus, UNIT).read()
    assert {name: read[name] for name in sample.expected} == pytest.approx(sample.expected, rel=1e-9)


async def test_the_sample_of_sunspec_is_found_and_read(wire: Wire) -> None:
    block = [int(word, 16) for word in ENTRIES[SUNSPEC_SAMPLE]["registers"]["0x0000"]]
    words = [0x5375, 0x6E53, 1, 65, *([0] * 65), *block, 0xFFFF, 0]
    wire.put(UNIT, image(3, dict(enumerate(words, 40_000))))
    read = await MODELS["sunspec"].on(wire.bus, UNIT).read()
    assert (read["power"], read["energy_export"], read["voltage_l2"]) == (-512, 1_013_400, 229.4)
    with pytest.raises(SensorError, match="it has model 203: use kind sunspec"):
        await MODELS["sunspec_1p"].on(wire.bus, UNIT).read()


async def test_a_device_that_is_no_sunspec_is_named_so(wire: Wire) -> None:
    wire.put(UNIT, image(3, dict.fromkeys(range(40_000, 40_010), 7)))
    with pytest.raises(SensorError, match="no SunS at 40000, 0, 50000"):
        await MODELS["sunspec"].on(wire.bus, UNIT).read()


SWAPPED = (
    ("cg_em24_e1", "cg_em24"),
    ("dtsu666", "pro380"),
    ("orno_we516", "dtsu666"),
    ("jsy_mk_333", "iem3000"),
)


@pytest.mark.parametrize(("is_one", "set_as"), SWAPPED)
async def test_a_swapped_variant_gives_no_measurement(wire: Wire, is_one: str, set_as: str) -> None:
    real, wrong = MODELS[is_one].device, MODELS[set_as].device
    everywhere = dict.fromkeys(range(0x7000), 0)
    wire.put(UNIT, image(wrong.function, everywhere | real.encode(measured(real))))
    with pytest.raises(SensorError, match="wrong variant") as caught:
        await MODELS[set_as].on(wire.bus, UNIT).read()
    assert caught.value.cause == WRONG_VARIANT


async def test_a_variant_without_scales_is_named_with_its_values(wire: Wire) -> None:
    device = MODELS["dtsu666"].device
    values = measured(device)
    unscaled = {
        name: float(value) / 10 if name.startswith("voltage") else value for name, value in values.items()
    }
    wire.put(UNIT, filled(device, device.encode(unscaled)))
    sensor = MODELS["dtsu666"].on(wire.bus, UNIT)
    with pytest.raises(SensorError, match=r"as dtsu666: voltage_l1 2\d\.\d+ V, voltage_l2"):
        await sensor.read()
    wire.put(UNIT, filled(device, device.encode(values)))
    assert (await sensor.read())["voltage_l1"] == values["voltage_l1"]


async def test_only_first_values_are_checked(wire: Wire) -> None:
    """A meter that has shown good values is believed when the mains fails."""
    device = MODELS["sdm120"].device
    wire.put(UNIT, image_of(device))
    sensor = MODELS["sdm120"].on(wire.bus, UNIT)
    await sensor.read()
    wire.put(UNIT, filled(device, device.encode(measured(device) | {"voltage": 40.0})))
    assert (await sensor.read())["voltage"] == 40.0


async def test_a_block_that_a_device_does_not_have_is_left_out(wire: Wire) -> None:
    device = MODELS["abb_b2x"].device
    words = device.encode(measured(device))
    wire.put(
        UNIT, image(3, {address: word for address, word in words.items() if not 0x5460 <= address < 0x5500})
    )
    sensor = MODELS["abb_b2x"].on(wire.bus, UNIT)
    first, second = await sensor.read(), await sensor.read()
    assert first == second
    assert "energy_import" in first
    assert "energy_import_l1" not in first
    assert sum(frame[2:4] == b"\x54\x60" for frame in wire.slaves.requests) == 1, "it is asked once"


async def test_a_reversed_meter_tells_its_export_as_import(wire: Wire) -> None:
    model = MODELS["sdm630"]
    wire.put(UNIT, image_of(model.device))
    plain = await model.on(wire.bus, UNIT).read()
    turned = model.on(wire.bus, UNIT, Wiring(reverse=True))
    read = await turned.read()
    assert (read["power"], read["energy_export"]) == (-plain["power"], plain["energy_import"])
    assert set(read) == set(turned.measures)


async def test_a_silent_unit_does_not_stall_the_others(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(sensor_module, "monotonic", lambda: now[0])
    device = MODELS["sdm120"].device
    wire.put(1, image_of(device))
    alive, dead = (ModbusSensor(device, wire.bus, address=unit) for unit in (1, 2))
    for _ in range(120):  # two minutes
        await alive.read()
        with pytest.raises(SensorError) as caught:
            await dead.read()
        assert caught.value.cause == "sensor does not answer"
        now[0] += 1
    asked = [frame[0] for frame in wire.slaves.requests]
    assert asked.count(2) == 6, "after 2, 4, 8, 16, 32 and then every 60 s"
    wire.put(2, image_of(device))
    now[0] += 60
    assert await dead.read() == await alive.read()
