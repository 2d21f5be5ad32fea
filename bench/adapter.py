"""Memory and CPU of the adapter for many devices, beside a bare subscriber of the same messages.

    python -m bench.adapter --devices 1000 --rate 1 --seconds 30

Mosquitto, the bridge on SQLite and the adapter are a process each, as in use; the devices are one connection
that publishes their messages evenly. The subscriber only parses what it is sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil

from broker.mqtt import packets
from tests.support.bridges import bridge
from tests.support.brokers import Broker, mosquitto

SUBSCRIBER = """
import asyncio, json, sys, aiomqtt
async def main():
    async with aiomqtt.Client("127.0.0.1", int(sys.argv[1])) as client:
        await client.subscribe("made-up/#", qos=1)
        async for message in client.messages:
            json.loads(message.payload or b"{}")
asyncio.run(main())
"""
DEADLINE = 300.0
VALUES = {"voltage": 230.1, "current": 1.31, "power": 290.4, "power_factor": 0.96, "energy": 12345.0}
CONFIG = """
data_dir = "{folder}/adapter"
[[source]]
name = "town"
family = "made-up"
interval = 10
[[accept]]
family = "made-up"
switch = {switch}
[mqtt]
port = {port}
"""


@contextmanager
def process(*words: str) -> Iterator[psutil.Process]:
    """A process of ours, killed at the end."""
    with subprocess.Popen([sys.executable, *words]) as child:
        try:
            yield psutil.Process(child.pid)
        finally:
            child.kill()


class Town:
    """Devices on one connection."""

    def __init__(self, broker: Broker, count: int) -> None:
        self._broker = broker
        self._count = count
        self.sent = 0
        self.online = 0

    async def open(self) -> None:
        """Connect, and announce them all."""
        self._reader, self._writer = await asyncio.open_connection(self._broker.host, self._broker.port)
        self._writer.write(packets.connect("town", version=4, keepalive=0, will=None, clean=True))
        info = json.dumps({"switch": True, "quantities": list(VALUES)}).encode()
        for number in range(self._count):
            self._send(f"made-up/device-{number}/info", info, retain=True)
        await self._writer.drain()

    def _send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._writer.write(packets.publish(topic.encode(), payload, retain=retain, version=4))

    async def publish(self, rate: float, stop: asyncio.Event) -> None:
        """``rate`` messages a second of each device."""
        start, step = time.monotonic(), 1 / (rate * self._count)
        while not stop.is_set():
            due = int((time.monotonic() - start) / step)
            while self.sent < due:
                told = VALUES | {"energy": 12345.0 + self.sent // self._count}
                self._send(f"made-up/device-{self.sent % self._count}/values", json.dumps(told).encode())
                self.sent += 1
            await self._writer.drain()
            await asyncio.sleep(0.01)


async def online(broker: Broker, count: int) -> float:
    """Seconds until as many meters say that they are online."""
    import aiomqtt  # noqa: PLC0415

    start, seen = time.monotonic(), set[str]()
    async with asyncio.timeout(DEADLINE), aiomqtt.Client(broker.host, broker.port) as client:
        await client.subscribe("sm/v1/+/status", qos=1)
        async for message in client.messages:
            if b'"online":true' in bytes(message.payload):
                seen.add(str(message.topic))
            if len(seen) >= count:
                break
    return time.monotonic() - start


def cpu(one: psutil.Process) -> float:
    """Its CPU time so far in seconds."""
    times = one.cpu_times()
    return times.user + times.system


def stored(folder: Path) -> int:
    """Readings in the store."""
    with closing(sqlite3.connect(folder / "store.sqlite")) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM reading").fetchall()
    return int(count)


async def measure(
    arguments: argparse.Namespace, broker: Broker, adapter: psutil.Process, bare: psutil.Process
) -> dict[str, Any]:
    town, stop = Town(broker, arguments.devices), asyncio.Event()
    await town.open()
    started = await online(broker, arguments.devices)
    publishing = asyncio.create_task(town.publish(arguments.rate, stop))
    await asyncio.sleep(arguments.seconds / 2)  # until it is steady
    kept = stored(arguments.folder)
    before, sent, begun = (cpu(adapter), cpu(bare)), town.sent, time.monotonic()
    await asyncio.sleep(arguments.seconds)
    lasted, used = time.monotonic() - begun, (cpu(adapter) - before[0], cpu(bare) - before[1])
    kept = stored(arguments.folder) - kept
    figures = {
        "devices": arguments.devices,
        "messages a second": round((town.sent - sent) / lasted),
        "seconds until all meters are online": round(started, 1),
        "readings stored a second": round(kept / lasted),
        "adapter: % of a core": round(100 * used[0] / lasted, 1),
        "adapter: us of CPU time for a stored reading": round(1e6 * used[0] / max(1, kept)),
        "subscriber: % of a core": round(100 * used[1] / lasted, 1),
        "adapter to subscriber": round(used[0] / used[1], 2),
        "adapter: MB": round(adapter.memory_info().rss / 1e6, 1),
        "subscriber: MB": round(bare.memory_info().rss / 1e6, 1),
    }
    stop.set()
    await publishing
    return figures


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=1.0, help="messages a second of each device")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--switch", action="store_true", help="with relays")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        arguments.folder = Path(folder)
        config = Path(folder) / "adapters.toml"
        with mosquitto(Path(folder)) as broker, bridge(broker, f"sqlite:///{folder}/store.sqlite"):
            switch = "true" if arguments.switch else "false"
            config.write_text(CONFIG.format(folder=folder, port=broker.port, switch=switch))
            with (
                process("-m", "tests.support.adapter_process", str(config)) as adapter,
                process("-c", SUBSCRIBER, str(broker.port)) as bare,
            ):
                print(json.dumps(asyncio.run(measure(arguments, broker, adapter, bare)), indent=1))


if __name__ == "__main__":
    main()
