"""The PZEM-004T's register table, against the datasheet's scales."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contract.messages import utc_now
from broker.contract.quantities import QUANTITIES
from broker.contract.reading import Reading
from meter_firmware.sensors.modbus.devices.pzem004t import ALARM_REGISTER, PZEM004T, TABLE
from meter_firmware.sensors.sensor import Measurement
from tests.support.modbus import crc16
from tests.support.pzem import THESIS

REGISTERS = 10
WORDS = st.integers(0, 0xFFFF)


def decode(words: Sequence[int]) -> Measurement:
    """The ten registers as quantities."""
    return PZEM004T.decode(dict(enumerate(words)))


def test_the_thesis_raw_registers_give_its_values() -> None:
    assert decode(THESIS) == Measurement(
        voltage=231.0,
        current=0.191,
        power=21.3,
        energy=98_414.0,
        frequency=50.0,
        power_factor=0.48,
        alarm=False,
    )


@pytest.mark.parametrize(("raw", "alarm"), [(0x0000, False), (0xFFFF, True), (0x1234, None)])
def test_alarm_is_set_clear_or_absent(raw: int, alarm: bool | None) -> None:
    assert decode((*THESIS[:9], raw)).get("alarm") is alarm


@pytest.mark.parametrize(
    ("register", "raw", "quantity"),
    [
        (0, 3001, "voltage"),
        (2, 2, "current"),
        (4, 6, "power"),
        (7, 1001, "frequency"),
        (8, 101, "power_factor"),
    ],
)
def test_an_impossible_value_is_absent_and_the_others_stay(register: int, raw: int, quantity: str) -> None:
    words = [*THESIS[:register], raw, *THESIS[register + 1 :]]
    expected = decode(THESIS)
    del expected[quantity]
    assert decode(words) == expected


def with_energy(energy: int) -> tuple[int, ...]:
    """The thesis's registers with another counter."""
    return (*THESIS[:5], energy & 0xFFFF, energy >> 16, *THESIS[7:])


@given(energy=st.integers(0, 9_999_990))
def test_32_bit_values_come_low_word_first(energy: int) -> None:
    assert decode(with_energy(energy))["energy"] == energy


@pytest.mark.parametrize("energy", [9_999_991, 2**31, 0xFFFFFFFF])
def test_the_counter_ends_at_9999990(energy: int) -> None:
    """Beyond it is damage: the data sheet's range is 0 to 9999.99 kWh."""
    assert decode(with_energy(energy)).get("energy") is None
    assert decode(with_energy(energy))["voltage"] == 231.0


def test_a_frame_without_voltage_and_frequency_is_no_measurement() -> None:
    assert decode((0,) * REGISTERS) == {}
    frozen = (0, *THESIS[1:7], 0, *THESIS[8:])
    assert decode(frozen) == {}
    assert decode((0, *THESIS[1:]))["energy"] == 98_414, "only one of them may be measured"


@given(st.lists(WORDS, min_size=REGISTERS, max_size=REGISTERS))
def test_whatever_the_registers_hold_makes_a_valid_reading(words: list[int]) -> None:
    reading = Reading.model_validate({"epoch": 1, "seq": 1, "ts": utc_now(), **decode(words)})
    assert reading.power_factor is None or reading.power_factor <= 1


def test_the_table_covers_every_quantity_and_register_once() -> None:
    covered = [row.address + word for row in TABLE for word in range(PZEM004T.words(row))] + [ALARM_REGISTER]
    assert covered == list(range(REGISTERS))
    assert {row.quantity for row in TABLE} == {row.name for row in QUANTITIES.values() if row.household}


def test_the_fake_sensor_checks_frames_like_the_standard() -> None:
    # Modbus over serial line, appendix B, and the check value of CRC-16/MODBUS.
    assert crc16(b"\x02\x07") == b"\x41\x12"
    assert crc16(b"123456789") == b"\x37\x4b"
