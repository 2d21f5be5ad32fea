"""A whole meter against a real broker: what is retained, what its death and its sensor's death look like."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from broker.contract.birth import Birth
from broker.contract.errors import ConfigurationError
from broker.contract.reading import Reading
from broker.contract.relay import Relay
from broker.contract.status import Status
from broker.mqtt.settings import MqttSettings
from meter_firmware import run, simulate
from meter_firmware.sensors.modbus.devices.pzem004t import PZEM004T
from meter_firmware.settings import OutboxSettings, RelaySettings, SimulateSettings
from tests.support.brokers import Broker
from tests.support.firmware_rig import DEADLINE, Rig, meter_settings
from tests.support.modbus import Mode

MEASURED = {*PZEM004T.measures, "alarm"}
MAIN = """
import asyncio, sys
from pathlib import Path
from meter_firmware import run
from meter_firmware.settings import MeterSettings
asyncio.run(run.run(MeterSettings.load(Path(sys.argv[1]))))
"""


def has_values(reading: dict[str, Any]) -> bool:
    return set(reading) >= MEASURED


def has_none(reading: dict[str, Any]) -> bool:
    return not MEASURED & set(reading)


@pytest.mark.parametrize("version", [5, 4])
async def test_birth_status_relay_and_reading_are_retained(
    broker: Broker, tmp_path: Path, version: Literal[4, 5]
) -> None:
    mqtt = MqttSettings(host=broker.host, port=broker.port, prefix="t", version=version)
    async with Rig.on(broker, tmp_path, mqtt=mqtt) as rig:
        async with rig.meter():
            await rig.heard("reading", lambda reading: reading["seq"] >= 2)
            kept = await rig.retained()
        assert set(kept) == {"birth", "status", "relay", "reading"}
        birth = Birth.model_validate(kept["birth"])
        assert (birth.name, birth.hardware.serial, birth.ip) == ("Kitchen", "P-1", "127.0.0.1")
        assert (birth.quantities, birth.interval) == (PZEM004T.measures, 0.1)
        status = Status.model_validate(kept["status"])
        assert (status.online, status.session) == (True, birth.session)
        assert Relay.model_validate(kept["relay"]).position == "closed"
        reading = Reading.model_validate(kept["reading"])
        assert (reading.voltage, reading.current, reading.power) == (231.0, 0.191, 21.3)
        assert (reading.energy, reading.frequency, reading.power_factor) == (98_414.0, 50.0, 0.48)


async def test_a_clean_stop_says_offline_in_its_own_session(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path) as rig:
        async with rig.meter():
            online = await rig.heard("status", lambda status: bool(status["online"]))
        offline = await rig.heard("status", lambda status: not status["online"])
        assert offline["session"] == online["session"]
        assert not (await rig.retained())["status"]["online"]
        assert len(rig.so_far("status")) == 2


async def test_every_stop_is_a_clean_one(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meter_firmware.meter.STOP_SECONDS", 10 * DEADLINE)  # none is cut off
    async with Rig.on(broker, tmp_path) as rig:
        for _ in range(20):
            before = len(rig.messages)
            async with rig.meter():
                # The stop comes together with the PUBACK of this reading.
                await rig.heard("reading", since=before)
            await rig.heard("status", lambda status: not status["online"], since=before)


async def test_seq_counts_on_over_restarts_and_sessions_are_fresh(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path) as rig:
        async with rig.meter():
            first = await rig.heard("reading")
        before = len(rig.messages)
        async with rig.meter():
            again = await rig.heard("reading", since=before)
        assert again["epoch"] == first["epoch"]
        assert again["seq"] > first["seq"]
        births = rig.so_far("birth")
        assert len({birth["session"] for birth in births}) == 2
        live = [reading["seq"] for reading in rig.so_far("reading")]
        assert live == sorted(set(live))


async def test_kill_minus_9_is_told_by_the_last_will(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path) as rig:
        config = tmp_path / "meter.toml"
        config.write_text(
            f'interval = 0.1\ndata_dir = "{rig.settings.data_dir}"\n[identity]\nname = "a"\n'
            f'[hardware]\nserial = "1"\n[sensor]\nport = "{rig.pzem.port}"\n[relay]\nkind = "simulated"\n'
            f'[mqtt]\nport = {broker.port}\nprefix = "{rig.settings.mqtt.prefix}"\n'
        )
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", MAIN, str(config))
        try:
            await rig.heard("reading", has_values)
            online = await rig.heard("status", lambda status: bool(status["online"]))
            process.kill()
            offline = await rig.heard("status", lambda status: not status["online"])
            assert offline["session"] == online["session"]
        finally:
            await asyncio.wait_for(process.wait(), DEADLINE)


async def test_sigterm_is_a_clean_stop_within_three_seconds(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path) as rig:
        running = asyncio.create_task(run.run(rig.settings))
        await rig.heard("reading")
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(running, 60)
        await rig.heard("status", lambda status: not status["online"])
        loop = asyncio.get_running_loop()
        assert loop.remove_signal_handler(signal.SIGTERM)
        assert loop.remove_signal_handler(signal.SIGINT)


async def test_a_stop_does_not_wait_for_a_broker_that_hangs(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path) as rig, rig.meter():
        await rig.heard("reading")
        os.kill(broker.pid, signal.SIGSTOP)
        # rig.meter() checks that the stop takes at most three seconds
    os.kill(broker.pid, signal.SIGCONT)


async def test_a_stop_does_not_wait_for_a_broker_that_is_not_there(broker: Broker, tmp_path: Path) -> None:
    settings = meter_settings(broker, tmp_path)
    broker.kill()
    stop = asyncio.Event()
    running = asyncio.create_task(run.run(settings, stop=stop))
    await asyncio.sleep(0.3)
    stop.set()
    await asyncio.wait_for(running, 60)


@pytest.mark.parametrize("mode", [Mode.BAD_CRC, Mode.SILENCE, Mode.GARBAGE, Mode.EXCEPTION, Mode.PARTIAL])
async def test_a_sensor_that_fails_gives_readings_without_values_until_it_is_back(
    broker: Broker, tmp_path: Path, mode: Mode
) -> None:
    async with Rig.on(broker, tmp_path) as rig, rig.meter():
        await rig.heard("reading", has_values)
        rig.pzem.mode = mode
        failed = await rig.heard("reading", has_none)
        Reading.model_validate(failed)
        later = await rig.heard("reading", lambda reading: reading["seq"] > failed["seq"])
        assert has_none(later)
        rig.pzem.mode = Mode.GOOD
        back = await rig.heard("reading", lambda r: r["seq"] > later["seq"] and has_values(r))
        assert back["energy"] == 98_414.0


async def test_a_sensor_port_that_is_gone_does_not_end_the_meter(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Rig.on(broker, tmp_path) as rig:
        rig.pzem.unplug()
        async with rig.meter():
            await rig.heard("reading", lambda reading: reading["seq"] >= 5 and has_none(reading))
            rig.pzem.plug()
            await rig.heard("reading", has_values)
        told = [record.getMessage() for record in caplog.records if "port" in record.getMessage()]
        assert len(told) == 1, "logged once per cause, not once per reading"


async def test_what_cannot_start_says_so(broker: Broker, tmp_path: Path) -> None:
    stop = asyncio.Event()
    with pytest.raises(ConfigurationError, match=r"RPi\.GPIO"):
        await run.run(meter_settings(broker, tmp_path, relay=RelaySettings(kind="gpio")), stop=stop)
    settings = meter_settings(broker, tmp_path)
    (settings.data_dir / "meter.sqlite").write_bytes(b"damage" * 1000)
    with pytest.raises(ConfigurationError, match="damaged"):
        await run.run(settings, stop=stop)
    (settings.data_dir / "meter_id").write_text("damage")
    with pytest.raises(ConfigurationError, match="meter_id is damaged"):
        await run.run(settings, stop=stop)


async def test_one_meter_that_cannot_start_ends_the_others_cleanly(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path) as rig:
        settings = SimulateSettings(n=3, interval=0.2, data_dir=tmp_path / "town", mqtt=rig.settings.mqtt)
        damaged = settings.data_dir / simulate.meter_ids(settings)[1] / "meter.sqlite"
        damaged.parent.mkdir(parents=True)
        damaged.write_bytes(b"damage" * 1000)
        with pytest.raises(ConfigurationError, match="damaged"):
            await asyncio.wait_for(simulate.run(settings, stop=asyncio.Event()), DEADLINE)
        for meter_id in simulate.meter_ids(settings):
            kept = await rig.retained(meter_id)
            assert "status" not in kept or not kept["status"]["online"]


async def test_simulated_meters_are_the_same_meters_after_a_restart(broker: Broker, tmp_path: Path) -> None:
    async with Rig.on(broker, tmp_path) as rig:
        settings = SimulateSettings(
            n=3,
            seed=5,
            interval=0.2,
            data_dir=tmp_path / "town",
            outbox=OutboxSettings(),
            mqtt=rig.settings.mqtt,
        )
        for _ in range(2):
            stop, before = asyncio.Event(), len(rig.messages)
            running = asyncio.create_task(simulate.run(settings, stop=stop))
            await rig.heard("reading", lambda reading: reading["seq"] % 10 == 9, since=before)
            stop.set()
            await asyncio.wait_for(running, 60)
        births = rig.so_far("birth")
        assert len(births) == 6
        assert {birth["hardware"]["serial"] for birth in births} == {f"SIM-5-{n:05d}" for n in (1, 2, 3)}
        assert len({reading["epoch"] for reading in rig.so_far("reading")}) <= 3
        readings = [Reading.model_validate(reading) for reading in rig.so_far("reading")]
        assert all(set(PZEM004T.measures) <= reading.model_fields_set for reading in readings)
        for meter_id in simulate.meter_ids(settings):
            energies = [
                message.payload["energy"]
                for message in rig.messages
                if (message.meter_id, message.kind) == (meter_id, "reading")
            ]
            assert len(energies) >= 2
            assert energies == sorted(energies)
