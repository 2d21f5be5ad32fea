"""Meters that answer a request over a line, IEC 62056-21 mode C and M-Bus: each failure has a cause."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from meter_firmware.sensors import iec62056_21, mbus
from meter_firmware.sensors.kinds import kind
from meter_firmware.sensors.sensor import Measurement, SensorError
from meter_firmware.sensors.telegrams.line import Line
from meter_firmware.sensors.telegrams.polled import PolledSensor, Talk
from meter_firmware.settings import SensorSettings
from tests.support.telegrams import BLOCK, EXPECTED, IDENTIFICATION, MBUS, Port, fails

LONG = 60.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no silent meter."""
    for module in (iec62056_21, mbus):
        monkeypatch.setattr(module, "SILENCE_SECONDS", LONG)


def readout(piece: bytes, *, block: bytes = BLOCK) -> bytes:
    """What a meter of mode C answers; an optical head gives the request back as well."""
    return {b"/?!\r\n": piece + IDENTIFICATION, b"\x06050\r\n": piece + block}.get(piece, b"")


async def test_mode_c_asks_confirms_the_meters_baud_rate_and_changes_to_it(tmp_path: Path) -> None:
    rates: list[int] = []

    def exchange(talk: Talk) -> Measurement:
        rates.append(talk.port.baudrate)
        told = iec62056_21.exchange(talk, change=True)
        rates.append(talk.port.baudrate)
        return told

    with Port(tmp_path, readout) as port:
        sensor = PolledSensor(Line(port.name, 300), exchange)
        for _ in range(2):
            told = await sensor.read()
            assert {name: told[name] for name in EXPECTED if not name.startswith("power")} == {
                name: value for name, value in EXPECTED.items() if not name.startswith("power")
            }
        sensor.close()
        assert port.heard == b"/?!\r\n\x06050\r\n" * 2
    assert rates == [300, 9600, 300, 9600]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda piece: b"", "sensor does not answer: .*silent for"),
        (lambda piece: b"/EM", "sensor answer is damaged: .*no end of it"),
        (lambda piece: b"/EMHB\\METER\r\n", "sensor speaks another mode"),
        (lambda piece: b"x" * 200, "sensor answer is damaged"),
        (partial(readout, block=BLOCK[:-9]), "sensor answer is damaged: .*no end of it"),
        (partial(readout, block=BLOCK[:-1] + b"\x00"), "check character 00, not 69"),
    ],
    ids=["silence", "cut name", "mode B", "garbage", "cut", "damaged"],
)
async def test_mode_c_names_what_went_wrong(
    answer: Callable[[bytes], bytes], error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Port(tmp_path, answer) as port:
        sensor = kind("iec62056_21").open(SensorSettings(kind="iec62056_21", port=port.name, frame="8N1"))

        async def ask(patience: float) -> None:
            monkeypatch.setattr(iec62056_21, "SILENCE_SECONDS", patience)
            await sensor.read()

        await fails(ask, error)
        sensor.close()


def on_m_bus(piece: bytes, *, frame: bytes = MBUS) -> bytes:
    """Answers of address 5, and of any that is alone."""
    asked = {b"\x10\x40\x05\x45\x16": b"\xe5", b"\x10\x40\xfe\x3e\x16": b"\xe5"}
    asked |= {b"\x10\x7b\x05\x80\x16": frame, b"\x10\x7b\xfe\x79\x16": frame}
    return asked.get(piece, b"")


@pytest.mark.parametrize("address", [5, None])
async def test_m_bus_is_asked_by_address(address: int | None, tmp_path: Path) -> None:
    with Port(tmp_path, on_m_bus) as port:
        settings = SensorSettings(kind="mbus", port=port.name, frame="8N1", address=address)
        sensor = kind("mbus").open(settings)
        told = await sensor.read()
        sensor.close()
    assert (told["energy_import"], told["energy_export"], told["power"]) == (4_216_825, 1_013_454, -520)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda piece: b"", "sensor does not answer"),
        (partial(on_m_bus, frame=MBUS[:40]), "sensor answer is damaged: .*no end of it"),
        (partial(on_m_bus, frame=MBUS[:-2] + b"\x00\x16"), "sensor answer is damaged: .*not 66 16"),
        (partial(on_m_bus, frame=b"\x00" * 600), "bytes without an end"),
    ],
    ids=["silence", "cut", "damaged", "garbage"],
)
async def test_m_bus_names_what_went_wrong(
    answer: Callable[[bytes], bytes], error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Port(tmp_path, answer) as port:
        sensor = kind("mbus").open(SensorSettings(kind="mbus", port=port.name, frame="8N1"))

        async def ask(patience: float) -> None:
            monkeypatch.setattr(mbus, "SILENCE_SECONDS", patience)
            await sensor.read()

        await fails(ask, error)
        sensor.close()


async def test_closing_ends_a_read_that_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mbus, "SILENCE_SECONDS", 10 * LONG)
    asked = threading.Event()

    def silent(_piece: bytes) -> bytes:
        asked.set()
        return b""

    with Port(tmp_path, silent) as port:
        sensor = kind("mbus").open(SensorSettings(kind="mbus", port=port.name, frame="8N1"))
        reading = asyncio.create_task(sensor.read())
        assert await asyncio.to_thread(asked.wait, LONG)
        await asyncio.to_thread(sensor.close)
        with pytest.raises(SensorError):
            await asyncio.wait_for(reading, LONG)
