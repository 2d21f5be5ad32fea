"""The commands of compose.yaml, run here: the same lines, with our folder and free ports."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.brokers import free_port
from tests.chain import until
from tests.cli import STOP_SECONDS, environment
from tests.project import commands


def test_containers_commands_make_a_whole_chain(tmp_path: Path) -> None:
    mqtt_port, mms_port = free_port(), free_port()
    places = {"/data": str(tmp_path), "1883": str(mqtt_port), "10102": str(mms_port)}
    places |= {"9850": str(free_port()), "9851": str(free_port())}
    with ExitStack() as stack:
        processes = {
            name: start(line, places, tmp_path / f"{name}.log", stack) for name, line in commands().items()
        }
        mqtt = f"127.0.0.1:{mqtt_port}"
        ieds = until(lambda: served(mqtt), seconds=30)
        assert ieds == [{"ied": "SMGW001", "host": "127.0.0.1", "port": mms_port, "meters": 10}]
        devices = until(lambda: browsed(f"127.0.0.1:{mms_port}"), seconds=20)
        assert devices == 11
        for name in reversed(processes):
            processes[name].send_signal(signal.SIGTERM)  # as `docker stop` does
            code = processes[name].wait(STOP_SECONDS)
            assert code == 0, (name, (tmp_path / f"{name}.log").read_text())


def start(line: list[str], places: dict[str, str], log: Path, stack: ExitStack) -> subprocess.Popen[bytes]:
    """Run one command with our places in it; killed at the end if it still runs."""
    words = [_placed(word, places) for word in line]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "admin", *words], env=environment(), stdout=output, stderr=output
        )
    stack.callback(process.kill)
    return process


def _placed(word: str, places: dict[str, str]) -> str:
    for theirs, ours in places.items():
        word = word.replace(theirs, ours)
    return word


def served(mqtt: str) -> Any:
    """The endpoints of ten meters; None while there are fewer, or no broker yet."""
    shown = attempted("scl", "show", "--mqtt", mqtt)
    return shown["endpoints"] if shown and shown["meters"] == 10 else None


def browsed(mms: str) -> int | None:
    """How many logical devices the MMS server has."""
    devices = attempted("mms", "browse", mms)
    return len(devices) if devices and len(devices) > 1 else None


def attempted(*arguments: str) -> Any:
    """What a command prints as JSON; None when it fails."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "admin", *arguments, "--json"],
        env=environment(),
        capture_output=True,
        timeout=30,
        check=False,
    )
    return json.loads(done.stdout) if done.returncode == 0 else None
