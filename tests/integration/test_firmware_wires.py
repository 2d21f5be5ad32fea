"""Wired sensors on pseudo-terminals and TCP ports: simulated devices, samples, gateways, and the search."""

from __future__ import annotations

import asyncio
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meter_firmware.sensors.household import HOUR, ORIGIN
from meter_firmware.sensors.kinds import Kind, kind, kinds
from meter_firmware.sensors.modbus.bus import Line
from meter_firmware.sensors.modbus.probe import Place, probe
from meter_firmware.sensors.modbus.registration import MODELS
from meter_firmware.sensors.modbus.simulated import answered, on_serial_line
from meter_firmware.sensors.sensor import Measurement, SensorError
from meter_firmware.sensors.wired_house import WiredHouse
from meter_firmware.settings import MeterSettings, SensorSettings
from tests.support.modbus import FAILURES, Mode, Slaves, image, over_tcp
from tests.support.modbus_samples import SAMPLES, Sample

kinds()
SIMULATED = [each for each in kinds().values() if each.name in MODELS]
OVER_TCP = [sample for sample in SAMPLES if MODELS[sample.kind].device.tcp]
FAILURES_ON_TCP = {mode: cause for mode, cause in FAILURES.items() if mode is not Mode.BAD_CRC}
"""TCP has no checksum."""


def house(measures: tuple[str, ...]) -> Measurement:
    """What a house's meter shows at some instant."""
    return WiredHouse(seed=1, number=1, measures=measures, solar=True).measure(ORIGIN + 5000 * HOUR)


@pytest.mark.parametrize("each", SIMULATED, ids=lambda each: each.name)
async def test_a_simulated_device_is_read_by_the_code_of_a_real_one(each: Kind) -> None:
    assert each.simulated is not None
    values = house(each.measures)
    async with each.simulated(lambda: values) as settings:
        sensor = each.open(settings)
        read = await sensor.read()
        sensor.close()
    assert set(read) - {"alarm"} == set(each.measures)
    assert not ("power_l3" in read and read["power_l3"] > 0), "the third phase feeds in"


@pytest.mark.parametrize("sample", OVER_TCP, ids=lambda sample: sample.kind)
async def test_a_sample_is_read_over_tcp(sample: Sample) -> None:
    device = MODELS[sample.kind].device
    words = device.encode({}) | sample.words
    with over_tcp({1: image(device.function, words)}) as slaves:
        sensor = kind(sample.kind).open(
            SensorSettings(kind=sample.kind, host="127.0.0.1", tcp_port=slaves.port, address=1)
        )
        read = await sensor.read()
        sensor.close()
    assert {name: read[name] for name in sample.expected} == pytest.approx(sample.expected, rel=1e-9)


@pytest.mark.parametrize(
    ("mode", "cause"), FAILURES_ON_TCP.items(), ids=lambda value: getattr(value, "name", None)
)
async def test_a_failure_on_tcp_has_a_cause_and_the_next_good_answer_is_taken(mode: Mode, cause: str) -> None:
    device = MODELS["sdm120"].device
    with over_tcp({1: image(4, device.encode(house(device.measures)))}) as slaves:
        sensor = kind("sdm120").open(SensorSettings(kind="sdm120", host="127.0.0.1", tcp_port=slaves.port))
        good = await sensor.read()
        slaves.mode = mode
        with pytest.raises(SensorError) as caught:
            await sensor.read()
        assert caught.value.cause == cause
        slaves.mode = Mode.GOOD
        assert await sensor.read() == good
        sensor.close()


async def test_a_connection_that_a_device_closes_is_opened_again() -> None:
    device = MODELS["cg_em111"].device
    with over_tcp({1: image(4, device.encode(house(device.measures)))}) as slaves:
        slaves.closes = True
        sensor = kind("cg_em111").open(
            SensorSettings(kind="cg_em111", host="127.0.0.1", tcp_port=slaves.port)
        )
        assert await sensor.read() == await sensor.read()
        assert slaves.connections == 2 * len(device.blocks)
        sensor.close()


async def test_a_host_that_does_not_listen_is_named() -> None:
    with over_tcp({}) as slaves:
        port = slaves.port
    sensor = kind("sdm120").open(SensorSettings(kind="sdm120", host="127.0.0.1", tcp_port=port))
    with pytest.raises(SensorError, match=f"port is not available: 127.0.0.1:{port}: .*refused"):
        await sensor.read()


@contextmanager
def gateway(slaves: Slaves) -> Iterator[int]:
    """A gateway that passes serial bytes on."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while len(request := self.request.recv(8)) == 8:
                self.request.sendall(slaves.answer(request))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


async def test_a_gateway_that_passes_serial_bytes_on_is_a_serial_port(tmp_path: Path) -> None:
    device = MODELS["sdm120"].device
    slaves = Slaves(tmp_path, {1: image(4, device.encode(house(device.measures)))})
    with gateway(slaves) as port:
        sensor = kind("sdm120").open(SensorSettings(kind="sdm120", port=f"socket://127.0.0.1:{port}"))
        good = await sensor.read()
        slaves.mode = Mode.BAD_CRC
        with pytest.raises(SensorError, match="damaged"):
            await sensor.read()
        slaves.mode = Mode.GOOD
        assert await sensor.read() == good
        sensor.close()


async def test_meters_of_one_process_share_a_bus(tmp_path: Path) -> None:
    device = MODELS["sdm120"].device
    good = image(4, device.encode(house(device.measures)))
    with Slaves(tmp_path, {1: good, 2: good}) as slaves:
        sensors = [
            kind("sdm120").open(SensorSettings(kind="sdm120", port=slaves.port, address=unit))
            for unit in (1, 2)
        ]
        first, second = await asyncio.gather(*(sensor.read() for sensor in sensors))
        assert first == second
        for sensor in sensors:
            sensor.close()


@pytest.mark.parametrize(
    "name", ["sdm630", "sdm120", "dtsu666", "abb_b2x", "orno_we516", "jsy_mk_163", "pzem004t"]
)
async def test_the_search_finds_a_meter_and_its_settings_read_it(name: str, tmp_path: Path) -> None:
    device = MODELS[name].device
    values = house(device.measures)

    def answer(pdu: bytes) -> bytes:
        return answered(device, device.encode(values), pdu)

    address = 3 if name != "pzem004t" else device.address
    async with on_serial_line({address: answer}) as port:
        place = Place(port=port, addresses=(address,), baud_rates=(9600,))
        steps: list[str] = []
        (found,) = await asyncio.to_thread(probe, place, tell=steps.append)
        assert (found.as_json()["kind"], found.address) == (name, address)
        assert steps == [f"{port} 9600 Bd 8N1 address {address}: {_names(found.as_json())}"]
        (tmp_path / "meter.toml").write_text(found.toml())
        settings = MeterSettings.load(tmp_path / "meter.toml").sensor
        sensor = kind(settings.kind).open(settings)
        read = await sensor.read()
        assert read == pytest.approx(found.as_json()["measured"])
        sensor.close()


def _names(told: dict[str, object]) -> str:
    others = told["others"]
    assert isinstance(others, list)
    return ", ".join([str(told["kind"]), *others])


async def test_the_search_finds_a_sunspec_meter_on_tcp() -> None:
    each = kind("sunspec")
    assert each.simulated is not None
    values = house(each.measures)
    async with each.simulated(lambda: values) as settings:
        place = Place(host="127.0.0.1", tcp_port=settings.tcp_port or 0, addresses=(1,))
        (found,) = await asyncio.to_thread(probe, place, tell=lambda _text: None)
    assert found.sensor() == {
        "kind": "sunspec",
        "address": 1,
        "host": "127.0.0.1",
        "tcp_port": settings.tcp_port,
    }


async def test_a_line_without_a_meter_gives_none_and_each_step_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[str] = []
    async with on_serial_line({}) as port:
        monkeypatch.setattr(Place, "lines", lambda _self: [Line(9600, "8N1"), Line(2400, "8N1")])
        place = Place(port=port, addresses=(1,))  # a pseudo-terminal has no parity
        assert await asyncio.to_thread(probe, place, tell=steps.append) == []
    assert steps == [f"{port} {rate} Bd 8N1 address 1: no answer" for rate in (9600, 2400)]


def test_the_search_tries_the_lines_of_all_kinds_and_the_usual_others() -> None:
    lines = Place(port="/dev/ttyUSB0").lines()
    assert lines[0] == Line(9600, "8N1"), "most devices have it"
    assert {Line(model.device.baud_rate, model.device.frame) for model in MODELS.values()} < set(lines)
    assert Place(port="/dev/ttyUSB0", baud_rates=(2400,)).lines()[:2] == [
        Line(2400, "8N1"),
        Line(2400, "8E1"),
    ]
    assert Place(host="192.0.2.7").lines() == [None]
