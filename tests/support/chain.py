"""The whole chain as its users run it: every part a process of the CLI, on a real Mosquitto.

>>> with chain(broker, tmp_path) as running:  # doctest: +SKIP
...     running.start("meter", "simulate", "-n", "2", "--interval", "1")
...     running.wait_for_meters(2)
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from open61850.mms import MmsClient
from open61850.mms.errors import MmsError

from tests.support.brokers import Broker, free_port
from tests.support.forked import Forked, run_to_end

T = TypeVar("T")
DEADLINE = 60.0
STOP_SECONDS = 60.0
EVERY_CHANGE = {"METER61850_MMS_DEADBAND": "0", "METER61850_MMS_RANGE": "voltage=0"}
"""Of the bridge: mag is what was measured, so that a test may wait for any value."""


def until(question: Callable[[], T], *, seconds: float = DEADLINE, why: str = "") -> T:
    """Ask until the answer is true; AssertionError with the last answer."""
    end = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < end, f"{why or question}: still {answer!r} after {seconds} s"
        time.sleep(0.05)
    return answer


@dataclass
class Chain:
    """Broker, folder, ports, and the processes that were started."""

    broker: Broker
    folder: Path
    mms_port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def mqtt(self) -> str:
        """The broker's address as the CLI takes it."""
        return f"{self.broker.host}:{self.broker.port}"

    @property
    def database(self) -> Path:
        """The bridge's SQLite file."""
        return self.folder / "chain.sqlite"

    @property
    def url(self) -> str:
        """The database as the CLI takes it."""
        return f"sqlite:///{self.database}"

    def start(self, *arguments: str, name: str = "") -> subprocess.Popen[bytes]:
        """Start a service of the CLI; its log is ``NAME.log`` in the folder."""
        name = name or arguments[0]
        with (self.folder / f"{name}.log").open("ab") as log:
            environment = os.environ | EVERY_CHANGE
            process = Forked("admin", *arguments, stdout=log, stderr=log, cwd=self.folder, env=environment)
        self.processes[name] = process
        return process

    def start_bridge(self, *options: str) -> subprocess.Popen[bytes]:
        """MQTT → database → SCL."""
        where = ("--mqtt", self.mqtt, "--database", self.url, "--mms-port", str(self.mms_port))
        return self.start("bridge", "run", *where, *options)

    def start_mms(self) -> subprocess.Popen[bytes]:
        """Retained topics → MMS."""
        return self.start("mms", "run", "--mqtt", self.mqtt)

    def simulate(self, count: int, *, first: int = 1, interval: float = 0.5) -> subprocess.Popen[bytes]:
        """Simulated meters, the very program of the real one."""
        return self.start(
            *("meter", "simulate", "-n", str(count), "--first", str(first), "--interval", str(interval)),
            *("--data-dir", str(self.folder / "meters"), "--mqtt", self.mqtt),
            name=f"meters{first}",
        )

    def cli(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end; stdout. AssertionError for another exit code."""
        return run_to_end("admin", *arguments, cwd=self.folder, code=code).stdout

    def cli_json(self, *arguments: str, code: int = 0) -> Any:
        """The same with ``--json``, parsed."""
        return json.loads(self.cli(*arguments, "--json", code=code))

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the bridge's database; none while it is not there yet."""
        with (
            suppress(sqlite3.OperationalError),
            closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection,
        ):
            return connection.execute(query, values).fetchall()
        return []

    def meter_ids(self) -> list[str]:
        """Meters of which a reading is stored."""
        query = "SELECT meter_id FROM meter WHERE key IN (SELECT meter FROM reading) ORDER BY meter_id"
        return [row[0] for row in self.rows(query)]

    def wait_for_meters(self, count: int) -> list[str]:
        """Until so many meters have readings in the database; their ids."""
        return until(
            lambda: ids if len(ids := self.meter_ids()) == count else [], why=f"{count} meters stored"
        )

    def connect(self, *, index: int = 0, **options: Any) -> MmsClient:
        """A new association with the IED of that index."""
        return MmsClient.connect("127.0.0.1", self.mms_port + index, timeout=60.0, **options)

    def domain(self, meter_id: str) -> str:
        """MMS name of the meter's logical device, as soon as it has a place."""
        query = "SELECT ied || 'M' || number FROM meter WHERE meter_id = ? AND ied IS NOT NULL"
        ((domain,),) = until(lambda: self.rows(query, meter_id), why=f"{meter_id} has an IED")
        return str(domain)

    def wait_for_domain(self, domain: str, *, seconds: float = DEADLINE) -> None:
        """Until a new association sees the logical device."""

        def served() -> bool:
            with suppress(MmsError, OSError), self.connect() as client:
                return domain in client.get_name_list(9)
            return False

        until(served, seconds=seconds, why=f"{domain} served")

    def stop(self) -> None:
        """SIGTERM to all, the meters first; each must end cleanly in time."""
        for name, process in reversed(self.processes.items()):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            process.terminate()
            try:
                code = process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise AssertionError(f"{name} did not stop in {STOP_SECONDS} s: {self.log(name)}") from None
            assert code in (0, -signal.SIGKILL), f"{name}: exit {code}: {self.log(name)}"

    def log(self, name: str) -> str:
        """The last lines that a service wrote."""
        return (self.folder / f"{name}.log").read_text()[-2000:]


@contextmanager
def chain(broker: Broker, folder: Path) -> Iterator[Chain]:
    """Bridge and MMS bridge on ``broker``, their files in ``folder``; stopped cleanly at the end."""
    running = Chain(broker, folder, free_port())
    running.start_bridge()
    running.start_mms()
    try:
        yield running
    except BaseException:
        for process in running.processes.values():
            process.kill()
            process.wait()
        for name in running.processes:
            print(f"--- {name}\n{running.log(name)}")  # noqa: T201 - pytest shows it with the failure
        raise
    running.stop()
