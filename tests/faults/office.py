"""The registrar in the soak: a deployment of its own, which must let new meters in whatever has happened.

>>> with office(folder) as there:  # doctest: +SKIP
...     there.registrar.kill()
...     there.registrar.start()
...     there.trouble()
''
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.sites import Deployed, deployed

NEWCOMERS = 1000
"""Meters that the code lets in: more than are tried."""
KILL_SECONDS = 60.0


@dataclass
class Service:
    """One process of the deployment that is killed and started again."""

    running: Deployed
    name: str
    begin: Callable[[], object]

    @property
    def pid(self) -> int:
        """Process id."""
        return self.running.processes[self.name].pid

    def kill(self) -> None:
        """``kill -9`` for the registrar; the broker's command is asked to end, for it has a child."""
        process = self.running.processes.pop(self.name)
        if self.name == "broker":
            process.terminate()
        else:
            process.kill()
        process.wait(KILL_SECONDS)

    def start(self) -> None:
        """Start it on what it left."""
        self.begin()


@dataclass
class Office:
    """The deployment, its registrar and its broker."""

    running: Deployed
    code: str
    registrar: Service
    broker: Service
    let_in: int = field(default=0)

    def trouble(self) -> str:
        """Let one more meter in; what went wrong, or empty."""
        self.let_in += 1
        meter = self.running.meter(f"new{self.let_in}")
        if code := self.running.processes["enrol"].poll():
            return f"the registrar ended by itself, exit code {code}"
        try:
            self.running.enrol(meter, self.code)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            return f"no new meter is let in: {error}"
        return ""


@contextmanager
def office(folder: Path) -> Iterator[Office]:
    """Broker and registrar, and a code that lets meters in without an administrator."""
    folder.mkdir()
    with deployed(folder, "registrar") as running:
        code = running.new_code("--count", str(NEWCOMERS), "--automatic", "--for", "2d")
        registrar = Service(running, "enrol", lambda: running.start("enrol", "run"))
        broker = Service(running, "broker", lambda: running.start("broker", "run"))
        yield Office(running, code, registrar, broker)
