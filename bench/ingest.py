"""Readings per second from publish to committed row, beside a bare subscriber that only counts.

    python -m bench.ingest --readings 100000 --meters 1000 --runs 5
    python -m bench.ingest --database postgresql --json

Every run starts a fresh Mosquitto with our configuration twice and sends it the same load
(`bench.ingest_load`, a process of its own), after one reading of each meter, which makes it known:

- reference: a gmqtt client that subscribes at QoS 1 and counts;
- ours: the bridge process, with an empty database on disk. The clock runs from the first publish to
  the commit of the last reading; then the rows in the database are counted.

With ``--bridges 2`` the reference is one bridge of the same kind. ``ratio`` is ours / reference. All
processes share the machine, as they do in a small installation; with ``--pin`` load generator and broker
share one core, and bridges and database another.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from queue import Queue

import gmqtt  # type: ignore[import-untyped]
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import func, select

from bench.ingest_load import PREFIX
from bench.places import Place, bare
from bridge.store import database
from bridge.store.tables import Reading
from broker.contract.status import ServiceStatus
from broker.contract.topics import Topics
from broker.mqtt.settings import MqttSettings
from tests.support.databases import new_database, running_postgres

STATUS_SECONDS = 0.05
"""How often the bridge tells what it has stored: the error of the measured time."""

DEADLINE = 60.0
"""Seconds without any status after which a run has failed."""

At = Callable[[Path], AbstractContextManager[Place]]
"""Starts the broker with its data in a folder."""

BRIDGE = """
import logging, sys
from bridge.run import run
from bridge.settings import BridgeSettings
from broker.mqtt.settings import MqttSettings
logging.basicConfig(level=logging.WARNING)
port, url, status, *group = sys.argv[1:]
mqtt = MqttSettings(port=int(port))
shared = {"group": "bench", "instance": group[0]} if group else {}
run(BridgeSettings(mqtt=mqtt, database_url=url, status_seconds=float(status), **shared))
"""


@contextmanager
def process(*command: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process with pipes, ended at the end."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env) as running:
        try:
            yield running
        finally:
            running.terminate()


@contextmanager
def load(place: Place, options: argparse.Namespace) -> Iterator[subprocess.Popen[str]]:
    """The load generator, ready to send; in a deployment as one who may speak for all meters."""
    sizes = [f"--{name}={getattr(options, name)}" for name in ("readings", "meters", "connections", "window")]
    command = (sys.executable, "-m", "bench.ingest_load", f"--port={place.port}", *sizes)
    with process(*command, env=place.environment("admin")) as running:
        assert line(running) == "ready"
        yield running


def line(running: subprocess.Popen[str]) -> str:
    """The next line that the process prints."""
    assert running.stdout is not None
    return running.stdout.readline().strip()


def go(running: subprocess.Popen[str]) -> float:
    """Start the load; the time."""
    assert running.stdin is not None
    running.stdin.write("\n")
    running.stdin.flush()
    return time.time()


def count(port: int, readings: int, *, before: int) -> None:
    """Be the reference: print ``ready``, count, print the time after ``before`` and after all messages."""

    async def counted() -> None:
        done = asyncio.Event()
        seen = 0

        def on_message(*_: object) -> int:
            nonlocal seen
            seen += 1
            if seen in (before, before + readings):
                print(time.time(), flush=True)
            if seen == before + readings:
                done.set()
            return 0

        client = gmqtt.Client("count", clean_session=True, receive_maximum=10_000)
        client.on_message = on_message
        client.on_connect = lambda *_: client.subscribe(Topics(PREFIX).everything, qos=1)
        client.on_subscribe = lambda *_: print("ready", flush=True)
        await client.connect("127.0.0.1", port)
        await done.wait()
        await client.disconnect()

    asyncio.run(counted())


def reference(options: argparse.Namespace) -> float:
    """Readings/s of the counting subscriber."""
    sizes = (f"--readings={options.readings}", f"--meters={options.meters}")
    command = (sys.executable, "-m", "bench.ingest", *sizes, "--count-at")
    with (
        tempfile.TemporaryDirectory(dir=options.dir) as folder,
        bare(Path(folder)) as place,
        process(*command, str(place.port)) as counter,
    ):
        assert line(counter) == "ready"
        with load(place, options) as loading:
            line(counter)
            begin = go(loading)
            return float(options.readings / (float(line(counter)) - begin))


@contextmanager
def on_core(options: argparse.Namespace, core: int) -> Iterator[None]:
    """With ``--pin``, what is started in the block runs on this core alone."""
    before = os.sched_getaffinity(0)
    if options.pin:
        os.sched_setaffinity(0, {sorted(before)[core % len(before)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def ours(options: argparse.Namespace, url: str | None, *, count: int, at: At = bare) -> float:
    """Readings/s of ``count`` bridges together."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=options.dir))
        with on_core(options, 0):
            place = stack.enter_context(at(Path(folder)))
        url = url or f"sqlite:///{folder}/bench.sqlite"
        command = (sys.executable, "-c", BRIDGE, str(place.port), url, str(STATUS_SECONDS))
        watch = Watch(place.settings("bridge"))
        total = options.meters + options.readings
        with ExitStack() as bridges:
            for number in range(count):
                instance = [f"b{number}"] if count > 1 else []
                with on_core(options, 1):
                    bridges.enter_context(process(*command, *instance, env=place.environment("bridge")))
            watch.wait(lambda: watch.online == count)
            with on_core(options, 0), load(place, options) as loading:
                watch.wait(lambda: watch.stored == options.meters)
                begin = go(loading)
                watch.wait(lambda: watch.stored == total)
                seconds = time.time() - begin
        watch.close()
        engine = database.connect(url)
        with engine.connect() as connection:
            rows = connection.scalar(select(func.count()).select_from(Reading))
        engine.dispose()
        assert rows == total, f"{rows} rows of {total} readings"
        return float(options.readings / seconds)


class Watch:
    """The status messages of the bridges, as they come."""

    def __init__(self, broker: MqttSettings) -> None:
        self._told: Queue[tuple[str, ServiceStatus]] = Queue()
        self._latest: dict[str, ServiceStatus] = {}
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe(Topics(PREFIX).service_status("+"))
        self._client.on_message = lambda _client, _user, message: self._told.put(
            (message.topic, ServiceStatus.model_validate_json(message.payload))
        )
        if tls := broker.tls():
            self._client.tls_set_context(tls)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()

    @property
    def online(self) -> int:
        """Bridges that are online."""
        return sum(status.online for status in self._latest.values())

    @property
    def stored(self) -> int:
        """New readings that all of them have stored."""
        return sum(status.counters["stored"] for status in self._latest.values())

    def wait(self, condition: Callable[[], bool]) -> None:
        """Return when the statuses meet ``condition``; queue.Empty when none comes any more."""
        while not condition():
            service, status = self._told.get(timeout=DEADLINE)
            self._latest[service] = status

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


def run(options: argparse.Namespace, url: Callable[[], str | None]) -> list[dict[str, float]]:
    """All runs: readings/s of both, and the ratio; the reference of several bridges is one."""
    results = []
    for number in range(options.runs):
        bare = reference(options) if options.bridges == 1 else ours(options, url(), count=1)
        stored = ours(options, url(), count=options.bridges)
        results.append({"reference": bare, "ours": stored, "ratio": stored / bare})
        if not options.json:
            print(
                f"run {number + 1}: reference {bare:,.0f}/s, ours {stored:,.0f}/s, ratio {stored / bare:.2f}"
            )
    return results


def report(options: argparse.Namespace, results: list[dict[str, float]]) -> None:
    """Medians and spread of all runs."""
    summary = {
        name: {"median": statistics.median(values), "min": min(values), "max": max(values)}
        for name in results[0]
        for values in [[result[name] for result in results]]
    }
    if options.json:
        sizes = {name: getattr(options, name) for name in ("database", "readings", "meters", "runs")}
        print(json.dumps({**sizes, "cores": os.cpu_count(), "results": summary}))
        return
    for name, unit in (("reference", "readings/s"), ("ours", "readings/s"), ("ratio", "")):
        values = summary[name]
        form = ".2f" if name == "ratio" else ",.0f"
        low, high = format(values["min"], form), format(values["max"], form)
        print(f"{name:10}{format(values['median'], form):>10} {unit} (median; {low} to {high})")


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--readings", type=int, default=100_000, help="in one run; Mosquitto's queue holds 100,000")
    add("--meters", type=int, default=1000, help="they take turns")
    add("--connections", type=int, default=8, help="TCP connections of the load generator")
    add("--window", type=int, default=100, help="unacknowledged messages of one connection")
    add("--runs", type=int, default=5)
    add("--bridges", type=int, default=1, help="so many share the load; more than one needs postgresql")
    add(
        "--pin",
        action="store_true",
        help="load generator and broker on one core, bridges and database on another",
    )
    add("--database", choices=["sqlite", "postgresql"], default="sqlite")
    add("--dir", help="folder for the databases; a disk, not a RAM disk")
    add("--json", action="store_true", help="print one JSON object")
    add("--count-at", type=int, metavar="PORT", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """See the module."""
    options = parsed()
    if options.count_at:
        count(options.count_at, options.readings, before=options.meters)
    elif options.database == "sqlite":
        report(options, run(options, lambda: None))
    else:
        with ExitStack() as stack:
            with on_core(options, 1):
                server = stack.enter_context(contextmanager(running_postgres)())
            report(options, run(options, lambda: new_database(server)))


if __name__ == "__main__":
    main()
