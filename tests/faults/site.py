"""The chain under attack: Mosquitto, the bridge and meter processes, each a process; relays between.

>>> with site(folder, Layout()) as chain:  # doctest: +SKIP
...     chain.programs["bridge"].kill()
...     chain.programs["bridge"].start()
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psycopg

from meter_firmware.settings import SimulateSettings
from meter_firmware.simulate import meter_ids
from tests.faults.disk import Disk, Quota, may_mount, small_disk
from tests.faults.office import Office, office
from tests.faults.plan import KEEPALIVE
from tests.faults.relay import Network, Relay
from tests.support.brokers import Broker, mosquitto
from tests.support.databases import LocalPostgres, Postgres, new_database, running_postgres

ROOT = Path(__file__).parents[2]
STOP_SECONDS = 60.0
MIB_AT_LEAST = 64
KIB_PER_SECOND = 32
"""What a second of readings takes of the small disk, at most."""

DatabaseKind = Literal["sqlite", "postgresql"]


@dataclass(frozen=True)
class Layout:
    """How large the chain is: meter processes, meters in each, seconds between readings."""

    database: DatabaseKind = "sqlite"
    processes: int = 3
    meters: int = 3
    interval: float = 0.25
    seconds: float = 60.0
    """How long it will run: the small disk is sized for it."""
    mqtt_version: int = 5
    """Protocol level: 5, or 4 (3.1.1)."""


@dataclass
class Program:
    """A process of the CLI that is killed and started again; its log goes on in one file."""

    name: str
    command: list[str]
    folder: Path
    environment: Mapping[str, str]
    running: bool = False
    """Whether it should be: a process that ends without being told to has failed."""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        """What it wrote, over all its starts."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    def start(self) -> None:
        """Start it on the data that it left; nothing if it runs, for two faults may have hurt it."""
        if self._process is not None and self._process.poll() is None:
            return
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, stdout=log, stderr=log, cwd=self.folder, env=dict(self.environment)
            )
        self.running = True

    def kill(self) -> None:
        """``kill -9``."""
        self.running = False
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    def stop(self) -> int:
        """SIGTERM; the exit code. It is killed when it takes longer than a minute (code −9)."""
        assert self._process is not None
        self.running = False
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(STOP_SECONDS)
        self.kill()
        return self._process.returncode

    def failure(self) -> str:
        """How it ended by itself, with its last lines; empty while it is well."""
        code = self._process.poll() if self._process is not None else None
        if not self.running or code is None:
            return ""
        return f"{self.name} ended by itself, exit code {code}\n{tail(self.log)}"


@dataclass(frozen=True)
class Site:
    """Everything that a fault can strike."""

    folder: Path
    layout: Layout
    broker: Broker
    programs: Mapping[str, Program]
    links: Mapping[str, Relay]
    url: str
    disk: Disk | None
    server: Postgres | None
    office: Office
    twins: dict[str, Program] = field(default_factory=dict)
    """Meter process → another one that runs on copies of its meters' cards."""

    def witnessed(self, program: str) -> Path:
        """Where a process reads its clock, and the witness of meters quiet; there it writes."""
        return self.folder / "witness" / program

    def end_twins(self) -> None:
        """Those that run."""
        for twin in self.twins.values():
            twin.kill()

    @property
    def meters(self) -> dict[str, list[str]]:
        """Meter process → ids of its meters."""
        return {
            name: meter_ids(SimulateSettings(n=self.layout.meters, first=first))
            for name, first in _firsts(self.layout).items()
        }

    def outbox(self, meter_id: str) -> Path:
        """A meter's own file."""
        return self.folder / "meters" / meter_id / "meter.sqlite"


@contextmanager
def site(folder: Path, layout: Layout) -> Iterator[Site]:
    """The chain, running; everything is ended at the end, and the small disk is gone."""
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto(folder))
        network = stack.enter_context(Network())
        names = ("bridge", *_firsts(layout))
        links = {f"{name} link": network.relay((broker.host, broker.port)) for name in names}
        bridge = Program("bridge", [], folder, _environment())
        url, disk, server = stack.enter_context(_database(layout, bridge))
        bridge.command += _bridge_command(folder, layout, links["bridge link"], url)
        meters = {name: _meters(folder, layout, name, links[f"{name} link"]) for name in _firsts(layout)}
        there = stack.enter_context(office(folder / "office"))
        made = Site(folder, layout, broker, {"bridge": bridge} | meters, links, url, disk, server, there)
        stack.callback(made.end_twins)
        for name in made.programs:
            made.witnessed(name).mkdir(parents=True)
        for program in made.programs.values():
            stack.callback(program.kill)
            program.start()
        yield made


def tail(path: Path, *, lines: int = 8) -> str:
    """The last lines of a log."""
    with suppress(FileNotFoundError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    return ""


def _firsts(layout: Layout) -> dict[str, int]:
    """Name of each meter process → number of its first meter."""
    return {f"meters{index + 1}": 1 + index * layout.meters for index in range(layout.processes)}


def _environment() -> dict[str, str]:
    """Ours, without settings of the developer's; quick enough for faults of a few seconds."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("METER61850_")}
    return clean | {
        "PYTHONPATH": str(ROOT),
        "METER61850_MQTT_KEEPALIVE": str(KEEPALIVE),
        "METER61850_SIMULATE_OUTBOX": '{"resend_after": 2}',
        "METER61850_UPKEEP_SECONDS": "1",
        "METER61850_CLOCK_SYNCHRONIZED": "true",  # else what comes from the future is not kept aside
    }


def _mqtt(layout: Layout, link: Relay) -> list[str]:
    return ["--mqtt", f"127.0.0.1:{link.port}", "--mqtt-version", str(layout.mqtt_version)]


def _bridge_command(folder: Path, layout: Layout, link: Relay, url: str) -> list[str]:
    clock = [sys.executable, "-m", "tests.faults.wrong_clock", str(folder / "witness" / "bridge")]
    return [*clock, "bridge", "run", "--database", url, *_mqtt(layout, link)]


def _meters(folder: Path, layout: Layout, name: str, link: Relay) -> Program:
    witness = [sys.executable, "-m", "tests.faults.witness", str(folder / "witness" / name)]
    simulate = ["meter", "simulate", "-n", str(layout.meters), "--first", str(_firsts(layout)[name])]
    options = ["--interval", str(layout.interval), "--data-dir", str(folder / "meters")]
    command = [*witness, *simulate, *options, *_mqtt(layout, link)]
    return Program(name, command, folder, _environment())


@contextmanager
def _database(layout: Layout, bridge: Program) -> Iterator[tuple[str, Disk | None, Postgres | None]]:
    """URL, disk and server of an empty database whose disk is small, where that can be had."""
    mib = MIB_AT_LEAST + round(layout.seconds * KIB_PER_SECOND / 1024)
    with ExitStack() as stack:
        if layout.database == "sqlite":
            disk = stack.enter_context(_sqlite_disk(mib, bridge))
            yield f"sqlite:///{disk.folder}/chain.sqlite", disk, None
            return
        small = stack.enter_context(small_disk(mib, owner=_postgres_user())) if may_mount() else None
        server = stack.enter_context(contextmanager(running_postgres)("-c fsync=off"))
        url = new_database(server)
        if not isinstance(server, LocalPostgres):  # a container does not see our mounts
            small = None
        if small is not None:
            _move(url, server, small.folder)
        yield url, small, server


def _postgres_user() -> int:
    """As whom the installed PostgreSQL runs when we are root; ours where there is none."""
    with suppress(KeyError):
        return pwd.getpwnam("postgres").pw_uid
    return os.geteuid()


@contextmanager
def _sqlite_disk(mib: int, bridge: Program) -> Iterator[Disk]:
    if may_mount():
        with small_disk(mib, owner=os.geteuid()) as disk:
            yield disk
        return
    with tempfile.TemporaryDirectory(prefix="disk-") as folder:
        yield Quota(Path(folder), lambda: bridge.pid)


def _move(url: str, server: Postgres, folder: Path) -> None:
    """Put the tables on the small disk, and leave the log of PostgreSQL where it is."""
    name = url.rpartition("/")[2]
    admin = f"postgresql://postgres:x@127.0.0.1:{server.port}/postgres"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{folder}'".encode())
        connection.execute(f'ALTER DATABASE "{name}" SET TABLESPACE small'.encode())
