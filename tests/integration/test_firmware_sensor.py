"""The PZEM-004T driver over the wire: good answers, and everything that a wire can do to them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.contract.errors import ConfigurationError
from meter_firmware.sensors.kinds import kind
from meter_firmware.sensors.modbus.bus import Line, SerialBus
from meter_firmware.sensors.modbus.devices.pzem004t import PZEM004T
from meter_firmware.sensors.modbus.sensor import ModbusSensor
from meter_firmware.sensors.sensor import SensorError
from tests.support.modbus import FAILURES, Mode, crc16
from tests.support.pzem import THESIS, Pzem

MEASURED = PZEM004T.decode(dict(enumerate(THESIS)))


@pytest.fixture
def pzem(tmp_path: Path) -> Iterator[Pzem]:
    with Pzem(tmp_path, address=1) as server:
        yield server


@pytest.mark.parametrize("address", [0xF8, 1])
async def test_one_request_for_ten_registers_gives_the_thesis_values(pzem: Pzem, address: int) -> None:
    sensor = on(pzem.port, address)
    measured = await sensor.read()
    sensor.close()
    assert measured == MEASURED
    assert (measured["energy"], measured["power_factor"]) == (98_414.0, 0.48)
    request = bytes((address, 0x04, 0, 0, 0, 10))
    assert pzem.requests == [request + crc16(request)]


def on(port: str, address: int) -> ModbusSensor:
    """A sensor on this port, on a bus of its own as another program's would be."""
    return ModbusSensor(PZEM004T, SerialBus(port, Line(9600, "8N1")), address=address)


async def test_another_slaves_address_is_not_answered(pzem: Pzem) -> None:
    with pytest.raises(SensorError, match="does not answer"):
        await on(pzem.port, 2).read()


@pytest.mark.parametrize(("mode", "cause"), FAILURES.items(), ids=lambda value: getattr(value, "name", None))
async def test_a_failure_has_a_cause_and_the_next_good_answer_is_taken(
    pzem: Pzem, mode: Mode, cause: str
) -> None:
    sensor = on(pzem.port, 0xF8)
    pzem.mode = mode
    for _ in range(2):
        with pytest.raises(SensorError) as caught:
            await sensor.read()
        assert caught.value.cause == cause
    pzem.mode = Mode.GOOD
    assert await sensor.read() == MEASURED
    sensor.close()


async def test_a_frame_without_voltage_and_frequency_is_a_failed_read(tmp_path: Path) -> None:
    with Pzem(tmp_path, address=1, registers=(0, 0, 0, 0, 0, *THESIS[5:7], 0, 0, 0)) as pzem:
        sensor = on(pzem.port, 1)
        with pytest.raises(SensorError) as caught:
            await sensor.read()
        assert caught.value.cause == "sensor measures nothing"
        sensor.close()


def test_every_misbehaviour_is_tested() -> None:
    assert set(FAILURES) == set(Mode) - {Mode.GOOD}


async def test_a_port_that_goes_and_comes_back_is_opened_again(pzem: Pzem) -> None:
    sensor = on(pzem.port, 0xF8)
    await sensor.read()
    pzem.unplug()
    for _ in range(3):
        with pytest.raises(SensorError) as caught:
            await sensor.read()
        assert caught.value.cause == "sensor port is not available"
    pzem.plug()
    assert await sensor.read() == MEASURED
    sensor.close()


async def test_failed_reads_leak_no_file(pzem: Pzem) -> None:
    sensor = on(pzem.port, 0xF8)
    pzem.mode = Mode.EXCEPTION
    open_before = len(os.listdir("/proc/self/fd"))
    for _ in range(4):
        with pytest.raises(SensorError):
            await sensor.read()
    assert len(os.listdir("/proc/self/fd")) <= open_before
    sensor.close()


async def test_a_sensor_belongs_to_one_reader(pzem: Pzem) -> None:
    first, second = (on(pzem.port, 0xF8) for _ in range(2))
    await first.read()
    with pytest.raises(SensorError, match="not available"):
        await second.read()
    first.close()
    await second.read()
    second.close()


def test_a_kind_that_is_not_known_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match=r"'sdm6300' is not known: use one of .*pzem004t"):
        kind("sdm6300")
