"""A town behind one MMS bridge: start, memory, idle load, reports, reads and births at 10,000 meters.

    python -m bench.town --meters 10000 --runs 5

The real chain: Mosquitto with our configuration, the bridge on SQLite, which builds the SCD and the CIDs from
the births, and the MMS bridge, each a process; the meters' retained topics are written by raw connections.
Each figure has its reference in the same run:

- start: from the start of the process until every meter's Vol is good at an independent client; beside it the
  time in which a bare gmqtt client receives the same retained messages;
- memory and idle load of the MMS bridge; beside it an interpreter that has only loaded the same modules;
- reports: from the publish of a reading to the report at an independent client, at a fixed rate over all
  meters; beside it the delivery of the same messages to an MQTT subscriber in the same process;
- reads: requests per second over one association while updates run; beside it the bare library, with its
  own threads, serving the same CID;
- birth: from the publish of a birth until a new association sees the new logical device.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gmqtt  # type: ignore[import-untyped]
import paho.mqtt.client as paho
import psutil
from paho.mqtt.enums import CallbackAPIVersion

from bench.ingest_load import PREFIX, Connection, connect, meter_id, reading, send
from bench.town_births import births, births_reference
from bench.town_figures import read_rates, report_lags, wait_readable
from broker.contract.birth import Birth, Hardware
from broker.contract.messages import format_ts, utc_now
from broker.contract.relay import Position, Relay
from broker.contract.status import Revision, Status
from broker.contract.topics import Topics
from tests.support.brokers import mosquitto

TOPICS = Topics(PREFIX)
PER_IED = 50
MMS_PORT = 21_000
IDLE_SECONDS = 10.0
DEADLINE = 120.0

LOADED = "import mms_bridge.run, time; print('ready', flush=True); time.sleep(600)"


@dataclass(frozen=True)
class Town:
    """Where everything is."""

    broker_port: int
    meters: int

    @property
    def ieds(self) -> int:
        """IEDs that the meters fill."""
        return -(-self.meters // PER_IED)


def states(number: int) -> Iterator[tuple[bytes, bytes]]:
    """The retained topics of one meter, as (topic, payload)."""
    name, now = meter_id(number), utc_now()
    birth = Birth(
        name=f"House {number}",
        address=f"Street {number % 97}",
        address_code="7530",
        hardware=Hardware(vendor="Peacefair", model="PZEM-004T", serial=f"{number:08d}"),
        firmware="1.0.0",
        interval=3600,
        session="bench",
        ts=now,
    )
    told = {
        "birth": birth.payload(),
        "status": Status(online=True, session="bench", ts=now).payload(),
        "relay": Relay(position=Position.CLOSED, operations=0, ts=now).payload(),
        "reading": reading(epoch=1, seq=1, ts=format_ts(now)),
    }
    return ((TOPICS.meter(name, kind).encode(), payload) for kind, payload in told.items())


def publish(port: int, numbers: range) -> None:
    """Publish the retained topics of these meters."""
    clients = [Connection(connect(port, 100 + number), 100) for number in range(min(8, len(numbers)))]
    for number in numbers:
        for topic, payload in states(number):
            clients[number % len(clients)].add(topic, payload)
    send(clients)
    for client in clients:
        client.sock.close()


def publish_one(port: int, number: int) -> None:
    """The same of one meter."""
    publish(port, range(number, number + 1))


@contextmanager
def process(folder: Path, name: str, *command: str) -> Iterator[psutil.Process]:
    """A process of ours, with its log in ``folder``."""
    with (
        (folder / f"{name}.log").open("wb") as log,
        subprocess.Popen([sys.executable, *command], stdout=log, stderr=log) as running,
    ):
        try:
            yield psutil.Process(running.pid)
        finally:
            running.terminate()


def await_revision(port: int, meters: int) -> None:
    """Return when the SCD has so many meters."""
    found: list[int] = []

    def take(_client: object, _user: object, message: paho.MQTTMessage) -> None:
        found.append(Revision.model_validate_json(message.payload).meters)

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda client, *_: client.subscribe(TOPICS.revision)
    client.on_message = take
    client.connect("127.0.0.1", port)
    client.loop_start()
    end = time.monotonic() + DEADLINE
    while meters not in found:
        assert time.monotonic() < end, f"the SCD has {found[-1:]} meters of {meters}"
        time.sleep(0.05)
    client.disconnect()
    client.loop_stop()


def bare_receive(port: int, messages: int) -> float:
    """Seconds in which a gmqtt client receives the retained messages."""

    async def received() -> float:
        done, seen = asyncio.Event(), 0

        def on_message(*_: object) -> int:
            nonlocal seen
            seen += 1
            if seen == messages:
                done.set()
            return 0

        client = gmqtt.Client("bare", clean_session=True)
        client.on_message = on_message
        client.on_connect = lambda *_: client.subscribe(TOPICS.everything, qos=1)
        begin = time.perf_counter()
        await client.connect("127.0.0.1", port)
        await asyncio.wait_for(done.wait(), DEADLINE)
        seconds = time.perf_counter() - begin
        await client.disconnect()
        return seconds

    return asyncio.run(received())


def idle_percent(running: psutil.Process) -> float:
    """Share of one core that the process takes now, in %."""
    before = sum(running.cpu_times()[:2])
    time.sleep(IDLE_SECONDS)
    return 100 * float(sum(running.cpu_times()[:2]) - before) / IDLE_SECONDS


def loaded_megabytes(folder: Path) -> float:
    """Memory of an interpreter that has loaded the MMS bridge and does nothing."""
    with process(folder, "loaded", "-c", LOADED) as running:
        end = time.monotonic() + DEADLINE
        while b"ready" not in (folder / "loaded.log").read_bytes():
            assert time.monotonic() < end
            time.sleep(0.05)
        return float(running.memory_info().rss) / 1e6


def measure(options: argparse.Namespace) -> dict[str, float]:
    """One run."""
    with tempfile.TemporaryDirectory(dir=options.dir) as name, ExitStack() as stack:
        folder = Path(name)
        broker = stack.enter_context(mosquitto(folder))
        town = Town(broker.port, options.meters)
        database = f"sqlite:///{folder}/town.sqlite"
        mqtt = f"--mqtt=127.0.0.1:{broker.port}"
        bridge = ("-m", "admin", "bridge", "run", mqtt, "--database", database, f"--mms-port={MMS_PORT}")
        stack.enter_context(process(folder, "bridge", *bridge))
        publish(broker.port, range(town.meters))
        await_revision(broker.port, town.meters)
        result = {"bare_receive_s": bare_receive(broker.port, 4 * town.meters + town.ieds)}
        begin = time.perf_counter()
        mms = stack.enter_context(process(folder, "mms", "-m", "admin", "mms", "run", mqtt))
        wait_readable(MMS_PORT, town.ieds)
        result["start_s"] = time.perf_counter() - begin
        time.sleep(1.0)  # what the start left to do is done
        result["idle_percent"] = idle_percent(mms)
        result["memory_mb"] = mms.memory_info().rss / 1e6
        result["loaded_mb"] = loaded_megabytes(folder)
        result |= report_lags(
            town.broker_port, MMS_PORT, town.meters, rate=options.rate, seconds=options.seconds
        )
        result |= read_rates(town.broker_port, MMS_PORT, town.meters, seconds=options.seconds / 2, server=mms)
        born = partial(publish_one, broker.port)
        result |= births(born, MMS_PORT, town.meters, count=options.births)
        result |= births_reference(MMS_PORT, count=options.births)
        result["memory_after_mb"] = mms.memory_info().rss / 1e6
        return result


def main() -> None:
    """Measure and print medians and spread."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--meters", type=int, default=9980, help="50 in each IED; the last one has room")
    parser.add_argument("--rate", type=int, default=1000, help="readings per second over all meters")
    parser.add_argument("--seconds", type=float, default=20.0, help="of reports; reads take half of it")
    parser.add_argument("--births", type=int, default=20)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--dir", help="folder for the database; a disk, not a RAM disk")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    results = [measure(options) for _ in range(options.runs)]
    figures = {
        name: (statistics.median(values), min(values), max(values))
        for name in results[0]
        if (values := [result[name] for result in results])
    }
    if options.json:
        print(json.dumps({"meters": options.meters, "figures": figures}))
        return
    for name, (median, least, most) in figures.items():
        print(f"{name:24}{median:12,.2f}  ({least:,.2f} to {most:,.2f})")


if __name__ == "__main__":
    main()
