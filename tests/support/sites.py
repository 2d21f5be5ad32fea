"""A whole deployment as its users run it: `init`, then broker, registrar and bridge as processes of the CLI.

>>> with deployed(tmp_path) as running:  # doctest: +SKIP
...     code = running.new_code(count=2)
...     running.enrol(running.meter("a"), code)
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registrar.deployment import Deployment
from tests.support.brokers import free_port
from tests.support.chain import until
from tests.support.cli import environment, run
from tests.support.forked import Forked, run_to_end

STOP_SECONDS = 60.0


@dataclass
class MeterFolder:
    """A meter's settings and its data, on its own disk."""

    config: Path

    @property
    def data(self) -> Path:
        """Its data_dir."""
        return self.config.parent / "data"

    @property
    def identity(self) -> Path:
        """Its identity folder, once it has one."""
        return self.data / "identity"

    @property
    def meter_id(self) -> str:
        """Made at its first start."""
        return (self.data / "meter_id").read_text().strip()


@dataclass
class Deployed:
    """The folder, and what runs."""

    folder: Path
    ports: tuple[int, int, int]
    """Of services, certificates, passwords."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def deployment(self) -> Deployment:
        """Opened anew, as another process would."""
        return Deployment.open(self.folder / "d")

    def cli(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run ``meter61850 --dir … …`` to its end; AssertionError unless it ends with ``code``."""
        return run_to_end("admin", *arguments, cwd=self.folder, env=self.environment(), code=code)

    def answer(self, *arguments: str) -> Any:
        """What a command prints with ``--json``."""
        return json.loads(self.cli(*arguments, "--json").stdout)

    def environment(self) -> dict[str, str]:
        """Names the deployment."""
        return environment() | {"METER61850_DIR": str(self.folder / "d")}

    def start(self, *arguments: str, name: str = "") -> subprocess.Popen[bytes]:
        """Start a service; its log is ``NAME.log`` in the folder."""
        name = name or arguments[0]
        with (self.folder / f"{name}.log").open("ab") as log:
            words = ("--log-level", "info", *arguments)
            process = Forked("admin", *words, cwd=self.folder, env=self.environment(), stdout=log, stderr=log)
        self.processes[name] = process
        return process

    def stop(self, name: str) -> None:
        """SIGTERM, and wait."""
        process = self.processes.pop(name)
        process.terminate()
        assert process.wait(STOP_SECONDS) in (0, 130), f"{name}: {self.log(name)}"

    def log(self, name: str) -> str:
        """What a service wrote."""
        return (self.folder / f"{name}.log").read_text()

    def simulate(self, count: int, *, interval: float) -> None:
        """Simulated meters, each with its identity (`admin.chain.parts.enlist_simulated`)."""
        self.start(
            *("meter", "simulate", "-n", str(count), "--interval", str(interval)),
            *(
                "--data-dir",
                str(self.folder / "meters"),
                "--identities",
                str(self.folder / "d" / "identities"),
            ),
            name="meters",
        )

    def start_broker(self) -> None:
        """Until it listens."""
        self.start("broker", "run")
        until(lambda: self.log("broker").count("listen socket") >= 3, why="the broker listens")

    def start_registrar(self) -> None:
        """Until it is connected."""
        before = self.log("enrol").count("connected to") if (self.folder / "enrol.log").exists() else 0
        self.start("enrol", "run")
        until(lambda: self.log("enrol").count("connected to") > before, why="the registrar is connected")

    def new_code(self, *options: str) -> str:
        """A code as `enrol new` prints it."""
        return self.cli("enrol", "new", *options).stdout.strip()

    def meter(self, name: str, *, serial: str = "") -> MeterFolder:
        """A meter's folder with simulated relay; its sensor is nowhere."""
        folder = self.folder / name
        folder.mkdir()
        config = folder / "meter.toml"
        config.write_text(
            f'interval = 0.2\nclock_wait = 0\ndata_dir = "{folder}/data"\n'
            f'[identity]\nname = "{name}"\naddress_code = "7530"\n'
            f'[hardware]\nserial = "{serial or f"S-{name}"}"\n[sensor]\nport = "{folder}/ttyPZEM"\n'
            '[relay]\nkind = "simulated"\n[outbox]\nresend_after = 0.5\n'
        )
        return MeterFolder(config)

    def enrol(
        self, meter: MeterFolder, code: str, *options: str, exit_code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run `meter enrol` for it."""
        return self.cli(
            *("meter", "enrol", "--broker", f"127.0.0.1:{self.ports[2]}", "--code", code),
            *("--ca", str(self.folder / "d" / "ca" / "ca.crt"), "--config", str(meter.config), *options),
            code=exit_code,
        )

    def request(self, meter_id: str) -> dict[str, Any]:
        """What `enrol list` says of a meter."""
        found: list[dict[str, Any]] = self.answer("enrol", "list")["requests"]
        (one,) = [request for request in found if request["meter_id"] == meter_id]
        return one

    def end(self) -> None:
        """Kill what is left."""
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def deployed(folder: Path, *services: str) -> Iterator[Deployed]:
    """A new deployment with its broker, and ``services``: registrar, bridge, mms."""
    ports = (free_port(), free_port(), free_port())
    running = Deployed(folder, ports)
    told = ("--services-port", str(ports[0]), "--port", str(ports[1]), "--password-port", str(ports[2]))
    run("init", str(folder / "d"), *told)
    try:
        running.start_broker()
        if "registrar" in services:
            running.start_registrar()
        if "bridge" in services:
            running.start("bridge", "run")
        yield running
    except BaseException:
        for log in sorted(folder.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()[-3000:]}")  # noqa: T201 - pytest shows it with the failure
        raise
    finally:
        running.end()
