"""Meters with telegrams over a line: what comes is measured once, and what does not come has a cause."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from broker.contract.errors import ConfigurationError
from meter_firmware.sensors import iec62056_21, mbus, p1, sml
from meter_firmware.sensors.kinds import kind
from meter_firmware.sensors.sensor import Measurement, Sensor, SensorError
from meter_firmware.sensors.sml import SmlDecoder
from meter_firmware.sensors.telegrams import stream
from meter_firmware.sensors.telegrams.decoder import Damaged, Decoder
from meter_firmware.sensors.telegrams.line import Line
from meter_firmware.sensors.telegrams.stream import StreamSensor
from meter_firmware.sensors.telegrams.text import TextDecoder
from meter_firmware.settings import SensorSettings
from tests.support.brokers import free_port
from tests.support.telegrams import EXPECTED, P1, SML, Port, fails

LONG = 60.0
STREAMS: dict[str, tuple[Callable[[], Decoder], bytes]] = {
    "p1": (partial(TextDecoder, checksum=True), P1),
    "sml": (SmlDecoder, SML),
}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no silent meter."""
    for module, name in (
        *((iec62056_21, "SILENCE_SECONDS"), (mbus, "SILENCE_SECONDS")),
        *((p1, "PATIENCE"), (sml, "PATIENCE")),
    ):
        monkeypatch.setattr(module, name, LONG)


streams = pytest.mark.parametrize(("decoder", "telegram"), STREAMS.values(), ids=STREAMS)


def the_one(decoder: Callable[[], Decoder], telegram: bytes) -> Measurement:
    (found,) = decoder().feed(telegram)
    assert not isinstance(found, Damaged)
    return found


async def read(sensor: Sensor, send: Callable[[], None]) -> Measurement:
    """What ``read`` gives while the meter sends each 50 ms, as meters do each second."""
    reading = asyncio.create_task(sensor.read())
    async with asyncio.timeout(LONG):
        while not reading.done():
            send()
            await asyncio.wait({reading}, timeout=0.05)
    return await reading


@streams
async def test_a_telegram_is_measured_once_and_only_while_it_is_new(
    decoder: Callable[[], Decoder], telegram: bytes, tmp_path: Path
) -> None:
    with Port(tmp_path) as port:
        sensor = StreamSensor(Line(port.name, 9600), decoder, patience=LONG)
        assert sensor.measures == ()
        assert await read(sensor, partial(port.send, telegram)) == the_one(decoder, telegram)
        assert sensor.measures == tuple(the_one(decoder, telegram))
        sensor.close()
        hasty = StreamSensor(Line(port.name, 9600), decoder, patience=0.6)
        port.send(telegram + b"x" + telegram[:9])
        with suppress(SensorError):
            await hasty.read()  # it may have been sent before the port was open
        with pytest.raises(SensorError, match="sensor sends"):
            await hasty.read()
        hasty.close()


async def test_a_telegram_that_came_long_ago_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "FRESH_SECONDS", 0.0)
    with Port(tmp_path) as port:
        sensor = stream.StreamSensor(Line(port.name, 9600), SmlDecoder, patience=1.0)
        with pytest.raises(SensorError, match="sensor sends"):
            await read(sensor, partial(port.send, SML))  # each is old when it is noticed
        sensor.close()


@streams
@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda telegram: b"", "sensor sends nothing"),
        (lambda telegram: telegram[:-3], "sensor sends no telegram"),
        (lambda telegram: telegram.replace(telegram[99:102], b"999"), "sensor telegram is damaged"),
        (lambda telegram: bytes(byte ^ 0xFF for byte in telegram), "sensor sends no telegram"),  # inverted
        (lambda telegram: b"\x55\xaa garbage \r\n" * 20, "sensor sends no telegram"),
    ],
    ids=["silence", "cut", "damaged", "inverted", "garbage"],
)  # fmt: skip
async def test_what_is_no_telegram_has_a_cause_and_the_next_good_one_is_taken(
    decoder: Callable[[], Decoder],
    telegram: bytes,
    tmp_path: Path,
    spoil: Callable[[bytes], bytes],
    cause: str,
) -> None:
    with Port(tmp_path) as port:

        async def hear(patience: float) -> None:
            sensor = StreamSensor(Line(port.name, 9600), decoder, patience=patience)
            sent = False

            def once() -> None:
                nonlocal sent
                if not sent and sensor._watch is not None and sensor._watch.listening:
                    port.send(spoil(telegram))
                    sent = True

            try:
                await read(sensor, once)
            finally:
                sensor.close()

        await fails(hear, cause)
        patient = StreamSensor(Line(port.name, 9600), decoder, patience=LONG)
        assert await read(patient, partial(port.send, telegram)) == the_one(decoder, telegram)
        patient.close()


async def test_a_port_that_is_gone_has_a_cause_and_is_opened_again(tmp_path: Path) -> None:
    sensor = StreamSensor(Line(str(tmp_path / "ttyMETER"), 9600), SmlDecoder, patience=LONG)
    with pytest.raises(SensorError, match="sensor port is not available"):
        await sensor.read()
    with Port(tmp_path) as port:
        await read(sensor, partial(port.send, SML))
        port.unplug()
    with pytest.raises(SensorError, match="sensor port is not available"):
        await sensor.read()
    with Port(tmp_path) as port:
        await read(sensor, partial(port.send, SML))
    sensor.close()


def test_a_port_is_ours_alone(tmp_path: Path) -> None:
    with Port(tmp_path) as port:
        ours = Line(port.name, 9600).open(timeout=1)
        with pytest.raises(OSError, match="exclusively lock"):
            Line(port.name, 9600).open(timeout=1)
        ours.close()


@pytest.fixture
def gateway() -> socket.socket:
    """A TCP port that passes on what a meter sends."""
    listener = socket.create_server(("127.0.0.1", free_port()))
    listener.settimeout(LONG)
    return listener


async def read_for_ever(sensor: Sensor) -> None:
    while True:
        await sensor.read()


def pass_on(listener: socket.socket, telegram: bytes, enough: threading.Event) -> None:
    """Take one connection and send the telegram on it each 50 ms; it ends when that is enough."""
    connection, _ = listener.accept()
    with connection:
        while not enough.wait(0.05):
            connection.sendall(telegram)


async def test_a_gateway_on_tcp_passes_telegrams_on_and_is_called_again(gateway: socket.socket) -> None:
    settings = SensorSettings(kind="p1", host="127.0.0.1", tcp_port=gateway.getsockname()[1])
    sensor = kind("p1").open(settings)
    with gateway:
        for _ in range(2):
            enough = threading.Event()
            threading.Thread(target=pass_on, args=(gateway, P1, enough), daemon=True).start()
            async with asyncio.timeout(LONG):
                assert (await sensor.read())["power"] == -512.0
                enough.set()
                with pytest.raises(SensorError, match="sensor port is not available"):
                    await read_for_ever(sensor)
    sensor.close()


def test_tcp_needs_a_port() -> None:
    with pytest.raises(ConfigurationError, match=r"sensor\.tcp_port is missing: name the port of m\.example"):
        kind("sml").open(SensorSettings(kind="sml", host="m.example"))


@pytest.mark.parametrize("name", ["p1", "p1_v2", "sml", "iec62056_21", "mbus"])
async def test_a_simulated_meter_is_read_as_it_measures_and_reversed(name: str) -> None:
    simulated = kind(name).simulated
    assert simulated is not None
    async with simulated(lambda: dict(EXPECTED)) as settings, asyncio.timeout(LONG):
        for reverse in (False, True):
            sensor = kind(name).open(settings.model_copy(update={"reverse": reverse}))
            told = await sensor.read()
            await asyncio.to_thread(sensor.close)
            if not reverse:
                assert told == EXPECTED
            else:
                assert told["power"] == -EXPECTED["power"]
                assert told["energy_import"] == EXPECTED["energy_export"]
                assert set(sensor.measures) == set(EXPECTED)
