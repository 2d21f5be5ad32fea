"""The town as processes: two brokers, adapter, bridge, and the devices and wired meters that nobody kills.

>>> with town(folder, Layout(devices=12)) as made:  # doctest: +SKIP
...     made.kill("adapter")
...     made.start("adapter")
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any

from adapters.simulated.program import source_lines
from adapters.store import FILE_NAME
from broker.contract.reading import Reading
from meter_firmware.settings import SimulateSettings
from meter_firmware.simulate import MOST_WIRED, meter_ids
from tests.devices.ledger import Away, Row
from tests.faults.cards import COLUMNS
from tests.faults.site import ROOT, Program
from tests.support.brokers import Broker, mosquitto

SHARES = {"tasmota": 4, "shelly2": 3, "zigbee2mqtt": 2, "homeassistant": 1, "sdm630": 1, "p1": 1}
"""Of twelve devices; the last two are wired meters."""
WIRED = ("sdm630", "p1")


@dataclass(frozen=True)
class Layout:
    """How large the town is, and the seconds between two messages of a device."""

    devices: int = 2000
    interval: float = 10.0
    resend_after: float = 5.0

    @property
    def counts(self) -> dict[str, int]:
        """Family or kind → how many."""
        counts = {kind: max(1, share * self.devices // 12) for kind, share in SHARES.items()}
        surplus = sum(max(0, counts[kind] - MOST_WIRED) for kind in WIRED)
        wired = {kind: min(counts[kind], MOST_WIRED) for kind in WIRED}
        return counts | wired | {"tasmota": counts["tasmota"] + surplus}


@dataclass
class Usage:
    """Of one process over all its lives."""

    cpu: float = 0.0
    """Seconds."""
    lived: float = 0.0
    """Seconds."""
    peak: int = 0
    """Bytes that were resident, at most."""

    def look(self, pid: int, since: float) -> None:
        """Add what the process has used; to be called before it is killed."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        self.cpu += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        self.lived += time() - since
        status = Path(f"/proc/{pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        self.peak = max(self.peak, 1024 * int(peak.split()[1]))


@dataclass
class Town:
    """All of it; what can be killed has a name in `plan.TARGETS`."""

    folder: Path
    layout: Layout
    programs: Mapping[str, Program]
    brokers: Mapping[str, Broker]
    usage: Usage = field(default_factory=Usage)
    """The adapter's."""
    away: list[Away] = field(default_factory=list)
    """Of adapter and devices' broker."""
    _since: dict[str, float] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Of the store."""
        return f"sqlite:///{self.folder}/store.sqlite"

    @property
    def wired(self) -> dict[str, list[str]]:
        """Kind → ids of its meters."""
        counts = self.layout.counts
        return {kind: meter_ids(SimulateSettings(n=counts[kind], kind=kind)) for kind in WIRED}

    @property
    def adapted(self) -> int:
        """Devices of the adapter."""
        return sum(count for kind, count in self.layout.counts.items() if kind not in WIRED)

    @property
    def adapter_store(self) -> Path:
        """The one file of the adapter's meters."""
        return self.folder / "adapter" / FILE_NAME

    def outbox(self, meter_id: str) -> Path:
        """File of a wired meter."""
        return self.folder / "meters" / meter_id / "meter.sqlite"

    def book(self, name: str) -> Path:
        """What the devices of a family told, or the folder of a kind's witness."""
        return self.folder / "told" / name

    def start(self, target: str) -> None:
        """Start it on the data that it left."""
        (self.brokers.get(target) or self.programs[target]).start()
        if (gone := self._since.get(target)) and target in ("adapter", "devices' broker"):
            self.away.append(Away(gone, time()))
        self._since[target] = time()

    def kill(self, target: str) -> None:
        """``kill -9``."""
        if target == "adapter":
            self.look()
        self._since[target] = time()
        (self.brokers.get(target) or self.programs[target]).kill()

    def look(self) -> None:
        """Note what the adapter has used in this life."""
        self.usage.look(self.programs["adapter"].pid, self._since["adapter"])

    def failure(self) -> str:
        """The programs that ended by themselves."""
        return "\n".join(filter(None, (program.failure() for program in self.programs.values())))


@contextmanager
def town(folder: Path, layout: Layout) -> Iterator[Town]:
    """The town, running; all processes are killed at the end."""
    with ExitStack() as stack:
        brokers: dict[str, Broker] = {}
        for name in ("devices", "meters"):
            (folder / name).mkdir()
            brokers[f"{name}' broker"] = stack.enter_context(mosquitto(folder / name))
        (folder / "told").mkdir()
        ports = {name: broker.port for name, broker in brokers.items()}
        programs = _programs(folder, layout, ports["devices' broker"], ports["meters' broker"])
        made = Town(folder, layout, programs, brokers)
        made.away.append(Away(time(), time()))  # the adapter has not met the devices yet
        for name, program in programs.items():
            stack.callback(program.kill)
            made.start(name)
        yield made


def _programs(folder: Path, layout: Layout, devices: int, meters: int) -> dict[str, Program]:
    config = folder / "adapters.toml"
    config.write_text(_config(folder, layout, devices, meters))
    mqtt, cli = ["--mqtt", f"127.0.0.1:{meters}"], [sys.executable, "-m", "admin"]
    commands = {
        "bridge": [*cli, "bridge", "run", "--database", f"sqlite:///{folder}/store.sqlite", *mqtt],
        "adapter": [*cli, "adapter", "run", "--config", str(config)],
    }
    for place, (kind, count) in enumerate(layout.counts.items()):
        book = folder / "told" / kind
        many = ["-n", str(count), "--interval", str(layout.interval)]
        if kind in WIRED:
            book.mkdir()
            run = [sys.executable, "-m", "tests.faults.witness", str(book), "meter", "simulate"]
            commands[kind] = [*run, "--kind", kind, *many, "--data-dir", str(folder / "meters"), *mqtt]
        else:
            run = [sys.executable, "-m", "tests.devices.teller", str(book), "adapter", "simulate"]
            commands[kind] = [*run, "--family", kind, *many, "--mqtt", f"127.0.0.1:{devices}"]
        commands[kind] = ["env", f"METER61850_DEVICES_SEED={100 + place}", *commands[kind]]
    environment = _environment(layout)
    return {name: Program(name, command, folder, environment) for name, command in commands.items()}


def _environment(layout: Layout) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("METER61850_")}
    outbox = f'{{"resend_after": {layout.resend_after}}}'
    return clean | {"PYTHONPATH": str(ROOT), "METER61850_SIMULATE_OUTBOX": outbox}


def _config(folder: Path, layout: Layout, devices: int, meters: int) -> str:
    head = [f'data_dir = "{folder}/adapter"', "clock_synchronized = true"]
    tail = [f"[outbox]\nresend_after = {layout.resend_after}\n[mqtt]\nport = {meters}\n"]
    sources: list[str] = []
    for family in layout.counts.keys() - {*WIRED}:
        sources += source_lines(family, interval=layout.interval, host="127.0.0.1", port=devices)
        sources += ["[[accept]]", f'family = "{family}"']
    return "\n".join([*head, *sources, *tail])


def left(outbox: Path) -> list[Row]:
    """The readings that wait in the outbox of a wired meter whose process has ended."""
    return [_row(outbox.parent.name, payload) for (payload,) in _query(outbox, "SELECT payload FROM outbox")]


def left_of_all(store: Path) -> list[Row]:
    """The readings that wait in the file of an adapter whose process has ended."""
    waiting = "SELECT meter_id, payload FROM outbox JOIN meter ON meter.number = outbox.meter"
    return [_row(meter_id, payload) for meter_id, payload in _query(store, waiting)]


def last_of_all(store: Path) -> dict[str, tuple[int, int]]:
    """Meter id → epoch and last seq that its outbox gave, of an adapter whose process has ended."""
    states = "SELECT meter_id, epoch, seq FROM outbox_state JOIN meter ON meter.number = outbox_state.meter"
    return {meter_id: (epoch, seq) for meter_id, epoch, seq in _query(store, states)}


def _query(file: Path, query: str) -> list[tuple[Any, ...]]:
    """Nothing without a file: the process never got so far."""
    if not file.exists():
        return []
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query).fetchall()


def _row(meter_id: str, payload: bytes) -> Row:
    one = Reading.model_validate_json(payload)
    told = {column: getattr(one, column) for column in COLUMNS}
    values = {column: float(value) for column, value in told.items() if value is not None}
    return Row(meter_id, one.epoch, one.seq, round(one.ts.timestamp() * 1000), values)
