"""``meter61850 meter probe`` as its users run it, and the settings that it prints."""

from __future__ import annotations

import json
from pathlib import Path

from meter_firmware.sensors.household import HOUR, ORIGIN
from meter_firmware.sensors.kinds import kinds
from meter_firmware.sensors.modbus.registration import MODELS
from meter_firmware.sensors.wired_house import WiredHouse
from meter_firmware.settings import MeterSettings
from tests.support.cli import error, run
from tests.support.modbus import Image, Slaves, image, over_tcp

kinds()
QUICK = ("--address", "1", "--baud-rate", "9600")


def sdm630() -> Image:
    """A meter of a house."""
    device = MODELS["sdm630"].device
    house = WiredHouse(seed=1, number=1, measures=device.measures)
    return image(device.function, device.encode(house.measure(ORIGIN + 5000 * HOUR)))


def test_the_output_is_the_settings_of_the_meter(tmp_path: Path) -> None:
    with Slaves(tmp_path, {1: sdm630()}) as slaves:
        done = run("meter", "probe", "--port", slaves.port, *QUICK)
        told = json.loads(run("meter", "probe", "--port", slaves.port, *QUICK, "--json").stdout)
    (tmp_path / "meter.toml").write_text(done.stdout)
    settings = MeterSettings.load(tmp_path / "meter.toml")
    assert (settings.sensor.kind, settings.sensor.port, settings.relay.kind) == (
        "sdm630",
        slaves.port,
        "none",
    )
    assert f"{slaves.port} 9600 Bd 8N1 address 1: sdm630" in done.stderr, "progress"
    assert [(each["kind"], each["address"], each["frame"]) for each in told] == [("sdm630", 1, "8N1")]
    assert 200 < told[0]["measured"]["voltage_l1"] < 250


def test_a_gateway_on_tcp_is_searched_too(tmp_path: Path) -> None:
    with over_tcp({3: sdm630()}) as slaves:
        place = ("--host", "127.0.0.1", "--tcp-port", str(slaves.port), "--address", "3")
        told = json.loads(run("meter", "probe", *place, "--json").stdout)
    assert [(each["kind"], each["address"], each["tcp_port"]) for each in told] == [
        ("sdm630", 3, slaves.port)
    ]


def test_nothing_there_is_an_error_with_its_cure(tmp_path: Path) -> None:
    with Slaves(tmp_path, {}) as slaves:
        done = run("meter", "probe", "--port", slaves.port, *QUICK, code=4)
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith(
        f"error: no meter answers at {slaves.port}: check its address"
    )
    assert "sensor port is not available" in error("meter", "probe", "--port", "/dev/ttyNone", code=4)
    assert "give --port (a serial device) or --host (TCP)" in error("meter", "probe", code=2)


def test_two_meters_with_one_folder_do_not_start(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('data_dir = "same"\n[identity]\nname = "a"\n[hardware]\nserial = "1"\n')
    (tmp_path / "b.toml").write_text((tmp_path / "a.toml").read_text())
    told = error("meter", "run", "--config", "a.toml", "--config", "b.toml", code=2, folder=tmp_path)
    assert "same: 2 meters have it; give each its own" in told
