"""A clean clone on a machine of its own: a network without other programs, with Mosquitto or without.

Commands run as they stand in the README, with the ports that they name, in a shell of that machine.

>>> with newcomer(tmp_path, mosquitto=True) as shell:  # doctest: +SKIP
...     shell.run("make up", background=True)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from broker.daemon.mosquitto import find
from tests.support.cli import environment
from tests.support.project import ROOT

DEADLINE = 180.0
UNSHARE = ("unshare", "-nm") if os.geteuid() == 0 else ("unshare", "-rnm")
"""A network and mounts of its own; util-linux."""
LOOPBACK = (
    "import fcntl, socket, struct; "
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 0x41))"  # SIOCSIFFLAGS: up, running
)
MAKES = ("ARGS", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")
"""What `make test ARGS=…` gives its programs, and with them another make."""
PROGRAM = f'#!/bin/sh\nPYTHONPATH="$(dirname "$0")/../.." exec {sys.executable} -P -m admin "$@"\n'


def is_possible() -> bool:
    """Whether this machine lets us make another one."""
    return (
        shutil.which("unshare") is not None and not subprocess.run([*UNSHARE, "true"], check=False).returncode
    )


@dataclass
class Command:
    """One command, which runs or has ended."""

    out: Path
    err: Path
    code: Path

    def ended(self) -> int:
        """Its exit code, when it has one."""
        until(lambda: self.code.exists() and self.code.read_text().endswith("\n"), self)
        return int(self.code.read_text())

    def shows(self, text: str) -> str:
        """The first line of its output with ``text``, when it is there."""
        until(lambda: any(text in line for line in self.lines()), self)
        return next(line for line in self.lines() if text in line)

    def lines(self) -> list[str]:
        """Complete lines of its output until now."""
        return self.out.read_text().rpartition("\n")[0].splitlines()

    def __str__(self) -> str:
        return f"{self.out.read_text()[-2000:]}{self.err.read_text()[-2000:]}"


def until(condition: object, command: Command) -> None:
    """Wait for ``condition()``; AssertionError with all that the command said."""
    deadline = time.monotonic() + DEADLINE
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, str(command)
        time.sleep(0.05)


@dataclass
class Shell:
    """bash on the newcomer's machine, in the clone."""

    process: subprocess.Popen[str]
    clone: Path
    notes: Path
    commands: list[Command] = field(default_factory=list)

    def run(self, line: str, *, background: bool = False) -> Command:
        """Begin ``line``; the next one begins when it has ended, or at once if it is in the background."""
        files = (self.notes / f"{len(self.commands)}.{kind}" for kind in ("out", "err", "code"))
        command = Command(*files)
        command.out.touch()
        command.err.touch()
        self.commands.append(command)
        redirected = f"{line} >{command.out} 2>{command.err}"
        stdin = self.process.stdin
        assert stdin is not None
        stdin.write(f"{redirected} &\n" if background else f"( {line} ) >{command.out} 2>{command.err}; ")
        stdin.write("" if background else f"echo $? >{command.code}\n")
        stdin.flush()
        return command


def clone(folder: Path) -> Path:
    """What is in the repository, changes that are not committed included, as after `make` has installed."""
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, files):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "meter61850").write_text(PROGRAM)
    (programs / "meter61850").chmod(0o755)
    (programs / "python").symlink_to(sys.executable)
    (folder / ".venv" / ".installed").touch()
    return folder


@contextmanager
def newcomer(folder: Path, *, mosquitto: bool) -> Iterator[Shell]:
    """A shell in a clean clone; at the end all that it has started is ended."""
    notes = folder / "notes"
    notes.mkdir(parents=True)
    place = clone(folder / "meter61850")
    process = subprocess.Popen(
        [*UNSHARE, "bash"],
        cwd=place,
        env={name: value for name, value in environment().items() if name not in MAKES} | {"PYTHONPATH": ""},
        stdin=subprocess.PIPE,
        text=True,
    )
    shell = Shell(process, place, notes)
    binary = find()
    try:
        assert process.stdin is not None
        process.stdin.write("trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n")
        assert shell.run(f'{sys.executable} -c "{LOOPBACK}"').ended() == 0
        if not mosquitto and binary is not None:
            assert shell.run(f"mount --bind /dev/null {binary}").ended() == 0
        yield shell
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(DEADLINE)
