"""Modbus devices without a wire: samples, tables, hostile registers, wiring and plausibility."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.contract.errors import ConfigurationError
from broker.contract.messages import utc_now
from broker.contract.quantities import QUANTITIES
from broker.contract.reading import Reading
from meter_firmware.sensors.household import HOUR, ORIGIN
from meter_firmware.sensors.kinds import kind, kinds
from meter_firmware.sensors.modbus import frames
from meter_firmware.sensors.modbus.devices.abb import ABB_B2X
from meter_firmware.sensors.modbus.plausible import complaints
from meter_firmware.sensors.modbus.registration import MODELS
from meter_firmware.sensors.modbus.sunspec import SINGLE, THREE_PHASES, Point, scaled_points
from meter_firmware.sensors.modbus.table import Device, Register, shortest
from meter_firmware.sensors.wired_house import WiredHouse
from meter_firmware.sensors.wiring import Wiring
from meter_firmware.settings import SensorSettings
from tests.support.modbus_samples import ENTRIES, SAMPLES, SUNSPEC, Sample

FACTORS = ("power_factor_l1", "power_factor_l2", "power_factor_l3")

kinds()
DEVICES = {name: model.device for name, model in MODELS.items()}
ALL = st.sampled_from(sorted(DEVICES.values(), key=lambda device: device.name))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_a_sample_gives_its_expected_values(sample: Sample) -> None:
    measured = DEVICES[sample.kind].decode(sample.words)
    assert {name: measured.get(name) for name in sample.expected} == pytest.approx(sample.expected, rel=1e-9)


@settings(max_examples=300)
@given(device=ALL, data=st.data())
def test_hostile_registers_make_a_valid_reading_or_none(device: Device, data: st.DataObject) -> None:
    bits = 32 if device.wide else 16
    blocks = data.draw(st.lists(st.sampled_from(device.blocks), unique=True))  # it may not have some
    words = {
        address: data.draw(st.integers(0, (1 << bits) - 1))
        for start, count in blocks
        for address in range(start, start + count)
    }
    measured = device.decode(words)
    assert all(math.isfinite(value) for value in measured.values())
    assert set(measured) <= {*device.measures, "alarm"}
    Reading.model_validate({"epoch": 1, "seq": 1, "ts": utc_now(), **measured})
    complaints(measured)
    Wiring(reverse=True, ratio=20).applied(measured)


@pytest.mark.parametrize("device", DEVICES.values(), ids=lambda device: device.name)
def test_what_a_device_measures_stands_in_its_registers(device: Device) -> None:
    house = WiredHouse(seed=1, number=1, measures=device.measures)
    measured = house.measure(ORIGIN + 5000 * HOUR)
    read = device.decode(device.encode(measured))
    assert set(read) - {"alarm"} == set(device.measures)
    for name in device.measures:
        steps = [row.times / row.over for row in device.table if row.quantity == name]
        assert read[name] == pytest.approx(measured[name], rel=1e-6, abs=max(steps)), name
    assert not complaints(read)


@pytest.mark.parametrize("device", DEVICES.values(), ids=lambda device: device.name)
def test_a_table_is_sound(device: Device) -> None:
    names = [row.quantity for row in device.table]
    addresses = [row.address + place for row in device.table for place in range(device.words(row))]
    assert len(set(names)) == len(names)
    assert len(set(addresses)) == len(addresses)
    assert set(names) <= set(QUANTITIES)
    assert ("energy" in names) != ("energy_import" in names), "one way, or two ways"
    assert ("energy_import" in names) == ("energy_export" in names)
    asked = {at for start, count in device.blocks for at in range(start, start + count)}
    assert set(addresses) <= asked
    assert all(count <= 125 for _, count in device.blocks)
    assert device.gap or asked == set(addresses) | set(device.special.addresses if device.special else ())


def test_blocks_are_split_at_the_longest_request() -> None:
    rows = tuple(Register(name, 2 * at, "f32") for at, name in enumerate(list(QUANTITIES) + list(QUANTITIES)))
    blocks = Device("a", "A", function=4, table=rows).blocks
    assert [count for _, count in blocks] == [124, 124, 2 * len(rows) - 248][: len(blocks)]
    assert blocks[1][0] == 124


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_is_the_shortest_decimal(value: float) -> None:
    raw = struct.pack(">f", value)
    assert struct.pack(">f", shortest(int.from_bytes(raw, "big"))) == raw


def test_a_single_phase_meter_of_abb_has_no_second_phase() -> None:
    words = ABB_B2X.encode({"voltage_l1": 231.0, "power": 401.0, "energy_import": 4_216_800.0})
    assert ABB_B2X.decode(words) == {"voltage_l1": 231.0, "power": 401.0, "energy_import": 4_216_800.0}


TWO_WAYS = {
    "voltage_l1": 230.0, "current_l1": 2.0, "power_l1": 400.0, "power": -500.0, "power_factor_l1": 0.9,
    "reactive_power_l1": 30.0, "energy_import": 100.0, "energy_export_l1": 7.0, "reactive_import": 3.0,
    "demand_max": 900.0, "frequency": 50.0,
}  # fmt: skip


def test_reverse_swaps_directions_and_negates_powers() -> None:
    assert Wiring(reverse=True).applied(TWO_WAYS) == {
        "voltage_l1": 230.0, "current_l1": 2.0, "power_l1": -400.0, "power": 500.0, "power_factor_l1": -0.9,
        "reactive_power_l1": -30.0, "energy_export": 100.0, "energy_import_l1": 7.0, "reactive_export": 3.0,
        "frequency": 50.0,
    }  # fmt: skip


def test_a_ratio_scales_currents_powers_and_energies_only() -> None:
    scaled = Wiring(ratio=20).applied(TWO_WAYS)
    same = {"voltage_l1", "power_factor_l1", "frequency"}
    assert scaled == {name: value if name in same else 20 * value for name, value in TWO_WAYS.items()}


@pytest.mark.parametrize(
    ("measured", "named"),
    [
        ({"voltage_l1": 2310.0, "frequency": 50.0}, ["voltage_l1 2310 V"]),
        ({"voltage_l1": 231.0, "voltage_l2": 0.0, "voltage_l3": 0.0}, []),
        ({"voltage": 0.0}, ["voltage 0 V"]),
        ({"voltage": 231.0, "frequency": 500.0}, ["frequency 500 Hz"]),
        ({"voltage": 231.0, "current": 1.0, "power": -400.0}, ["power -400 W at 231 V and 1 A"]),
        ({"voltage": 231.0, "current": 0.0, "power": 3.0}, []),
        ({"power": 1e6}, []),
    ],
)
def test_values_that_cannot_be_are_named(measured: dict[str, float], named: list[str]) -> None:
    assert complaints(dict(measured)) == named


@pytest.mark.parametrize(
    ("given_", "named"),
    [
        ({"kind": "pzem004t", "reverse": True}, "sensor.reverse"),
        ({"kind": "sdm630", "address": 248}, "sensor.address 248"),
        ({"kind": "pzem004t", "address": 0}, "sensor.address 0"),
    ],
)
def test_a_setting_that_does_not_fit_the_kind_is_named(given_: dict[str, Any], named: str) -> None:
    told = SensorSettings(**given_)
    with pytest.raises(ConfigurationError, match=named):
        kind(told.kind).open(told)


def test_meters_on_one_port_need_the_same_line() -> None:
    first = kind("sdm630").open(SensorSettings(kind="sdm630", port="/dev/ttyUSB9"))
    kind("sdm120").open(SensorSettings(kind="sdm120", port="/dev/ttyUSB9", address=2))
    with pytest.raises(
        ConfigurationError, match="/dev/ttyUSB9: one meter says 9600 Bd 8N1, another 9600 Bd 8E1"
    ):
        kind("orno_we514").open(SensorSettings(kind="orno_we514", port="/dev/ttyUSB9", address=3))
    first.close()


@given(st.binary(max_size=300), st.integers(1, 125))
def test_a_damaged_answer_is_refused_and_never_read(data: bytes, count: int) -> None:
    try:
        words = frames.words(3, data, count=count)
    except frames.FrameError:
        return
    assert len(words) == count
    assert data[:2] == bytes((3, 2 * count))


def test_frames_are_those_of_the_standard() -> None:
    # Modbus Messaging on TCP/IP V1.0b, 3.1.3 and Modbus over Serial Line, appendix B
    assert frames.tcp(0x1501, 0xFF, frames.request(3, 4, 1)) == bytes.fromhex("15010000 0006 FF 03 0004 0001")
    assert frames.checksum(b"\x02\x07") == b"\x41\x12"


def test_the_sample_of_sunspec_gives_its_expected_values() -> None:
    words = dict(enumerate(int(word, 16) for word in ENTRIES[SUNSPEC]["registers"]["0x0000"]))
    expected = {name.removesuffix("_wh"): value for name, value in ENTRIES[SUNSPEC]["expect"].items()}
    measured = scaled_points(words, THREE_PHASES)
    assert measured == pytest.approx(expected | {name: measured[name] for name in FACTORS})
    assert set(measured) == set(expected) | set(FACTORS)


@given(st.dictionaries(st.integers(0, 110), st.integers(0, 0xFFFF)), st.sampled_from([THREE_PHASES, SINGLE]))
def test_hostile_models_make_a_valid_reading_or_none(
    words: dict[int, int], points: tuple[Point, ...]
) -> None:
    measured = scaled_points(words, points)
    Reading.model_validate({"epoch": 1, "seq": 1, "ts": utc_now(), **measured})


def test_of_direct_current_only_the_power_is_judged() -> None:
    """Registers of another meter gave 172 MW at 0 A, and `probe` took it for a PZEM-017."""
    other = {"voltage": 172.55, "current": 0.0, "power": 171_798_000.0}
    assert complaints(other, alternating=False) == ["power 1.71798e+08 W at 172.55 V and 0 A"]
    assert complaints({"voltage": 12.6, "current": 4.0, "power": 50.4}, alternating=False) == []
