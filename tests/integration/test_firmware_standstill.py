"""A meter that stands still, or hears late, while its clock is behind: it obeys nothing that is too old."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from broker.contract.messages import utc_now
from broker.contract.reading import Stored
from broker.contract.relay import Position
from broker.mqtt.settings import MqttSettings
from meter_firmware import clock
from tests.integration.test_firmware_commands import result
from tests.support.brokers import Broker
from tests.support.firmware_rig import Rig, command

BEHIND = 4.5
"""Seconds that the meter's clock is behind; less than a command may seem to come from the future."""
STANDS, VALID = 5.5, 4.0

_METER = """
import asyncio, sys
from datetime import timedelta
from meter_firmware import clock, run
from meter_firmware.settings import MeterSettings
real = clock.utc_now
clock.utc_now = lambda: real() - timedelta(seconds=float(sys.argv[2]))
asyncio.run(run.run(MeterSettings.model_validate_json(sys.argv[1])))
"""


@contextmanager
def meter_process(rig: Rig, log: Path) -> Iterator[int]:
    """The meter as a process of its own, its clock behind; its pid."""
    settings = rig.settings.model_dump_json()
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", _METER, settings, str(BEHIND)], stderr=out)
    try:
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
        process.kill()
        process.wait(60)


async def answer_readings(rig: Rig) -> None:
    """As the bridge does, with its time."""
    told = 0
    while True:
        for reading in rig.so_far("reading")[told:]:
            told += 1
            stored = Stored(epoch=reading["epoch"], first=reading["seq"], seq=reading["seq"], ts=utc_now())
            await rig.client.publish(rig.topic("stored"), stored.payload())
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("bridge", [False, True])
async def test_a_meter_that_stood_still_does_not_obey_what_is_too_old(
    broker: Broker, tmp_path: Path, bridge: bool
) -> None:
    async with Rig.on(broker, tmp_path) as rig:
        answering = asyncio.create_task(answer_readings(rig)) if bridge else None
        with meter_process(rig, tmp_path / "meter.log") as pid:
            await rig.heard("reading")
            await rig.command(command("before", valid=30))
            assert await result(rig, "before") == ("done", "")
            os.kill(pid, signal.SIGSTOP)
            await rig.command(command("c1", Position.CLOSED, valid=VALID))
            await asyncio.sleep(STANDS)
            os.kill(pid, signal.SIGCONT)
            assert (await result(rig, "c1"))[0] == "expired"
            assert (await rig.retained())["relay"]["operations"] == 1
        if answering is not None:
            answering.cancel()


@asynccontextmanager
async def slow_line(broker: Broker) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A port that leads to the broker; what the broker sends waits while the event is not set."""
    flows = asyncio.Event()
    flows.set()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, held: bool) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if held:
                    await flows.wait()
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(broker.host, broker.port)
        await asyncio.gather(pump(reader, back, held=False), pump(there, writer, held=True))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], flows


async def test_a_command_that_was_held_up_on_its_way_is_not_obeyed(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The meter did not stand still, and by its own clock the command is a second old."""
    monkeypatch.setattr(clock, "utc_now", lambda: utc_now() - timedelta(seconds=BEHIND))
    async with slow_line(broker) as (port, flows), Rig.on(broker, tmp_path) as rig:
        mqtt = MqttSettings(host="127.0.0.1", port=port, prefix=rig.settings.mqtt.prefix)
        rig.settings = rig.settings.model_copy(update={"mqtt": mqtt})
        answering = asyncio.create_task(answer_readings(rig))
        async with rig.meter():
            await rig.heard("reading", lambda reading: reading["seq"] > 5)
            await rig.command(command("before", valid=30))
            assert await result(rig, "before") == ("done", "")
            flows.clear()
            await asyncio.sleep(0.3)
            await rig.command(command("c1", Position.CLOSED, valid=VALID))
            await asyncio.sleep(STANDS)
            flows.set()
            assert (await result(rig, "c1"))[0] == "expired"
        answering.cancel()
