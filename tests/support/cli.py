"""The command line as its users run it: a process, its two streams, its exit code.

>>> run("--version").stdout.split()[0]
'meter61850'
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support.brokers import free_port
from tests.support.forked import run_to_end

DEADLINE = 60.0
STOP_SECONDS = 60.0


KEPT = "METER61850_MMS_WAIT_HOOK"
"""A setting that a run of tests gives to the programs: pytest --wait-hook off."""
SPARE = "METER61850_SPARE"
"""The other: without spare logical devices, but for the tests that are about them."""


def environment() -> dict[str, str]:
    """Ours without settings of the developer's."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("METER61850_") or name in (KEPT, SPARE)
    }


def run(
    *arguments: str, folder: Path | None = None, code: int = 0, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run ``meter61850 …`` to its end; AssertionError unless it ends with ``code``.

    ``more`` are environment variables.
    """
    return run_to_end("admin", *arguments, cwd=folder, env=environment() | more, code=code)


def answer(*arguments: str, folder: Path | None = None) -> Any:
    """What ``meter61850 … --json`` prints."""
    return json.loads(run(*arguments, "--json", folder=folder).stdout)


def error(*arguments: str, code: int, folder: Path | None = None) -> str:
    """The one line that a failing command says."""
    done = run(*arguments, folder=folder, code=code)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert done.stdout == ""
    return lines[0]


@dataclass
class Running:
    """A running ``meter61850 up``."""

    process: subprocess.Popen[str]
    folder: Path
    mqtt_port: int
    mms_port: int
    web_port: int
    log: Path

    @property
    def mqtt(self) -> str:
        """The broker as the CLI takes it."""
        return f"127.0.0.1:{self.mqtt_port}"

    @property
    def mms(self) -> str:
        """The first MMS server as the CLI takes it."""
        return f"127.0.0.1:{self.mms_port}"

    def ready(self) -> str:
        """Wait for the READY line; AssertionError with all that was said when it does not come."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in self.log.read_text().splitlines():
                if line.startswith("READY"):
                    return line
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def children(self) -> dict[str, psutil.Process]:
        """The children by the name of their log."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            words = child.cmdline()
            role = "broker" if "mosquitto" in words[0] else words[words.index("admin") + 1]
            found[{"meter": "meters", "enrol": "registrar"}.get(role, role)] = child
        return found

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def up(folder: Path, *options: str, **more: str) -> Iterator[Running]:
    """``meter61850 up`` on free ports with its data in ``folder``; ended, with its children, at the end.

    ``more`` are environment variables.
    """
    mqtt_port, mms_port = free_port(3), free_port(2)
    log = folder / "up.txt"
    web_port = free_port()
    ports = ("--mqtt-port", str(mqtt_port), "--mms-port", str(mms_port), "--web-port", str(web_port))
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "admin", "up", *ports, *options],
            cwd=folder,
            env=environment() | more,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    running = Running(process, folder, mqtt_port, mms_port, web_port, log)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_SECONDS)
