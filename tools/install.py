"""Installs the packages of a lock file with pip, and shows how far it is; nothing but the standard library.

At a terminal one line is kept up to date; elsewhere there is a line for each package. If pip fails, all that
it said follows, and its exit code is ours.

    python -m tools.install requirements/run.lock

>>> taken("Collecting SQLModel==0.0.38 (from -r requirements/run.lock (line 900))")
'SQLModel 0.0.38'
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

PIP = ("-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off")
WIDTH = 24
POLL_SECONDS = 0.5
_PINNED = re.compile(r"^[A-Za-z0-9][\w.-]*==", re.M)
_COLLECTED = re.compile(r"(?:Collecting|Requirement already satisfied:) ([\w.\[\]-]+)==([^\s;]+)")
_IGNORED = re.compile(r"Ignoring .*markers")
_INSTALLING = "Installing collected packages"


def taken(line: str) -> str:
    """The package that pip has begun to download; empty for any other line."""
    found = _COLLECTED.match(line.strip())
    return f"{found[1]} {found[2]}" if found else ""


class Progress:
    """Downloads, then installs: both count up to the number of packages."""

    def __init__(self, total: int, out: TextIO) -> None:
        self._total, self._out = total, out
        self._live = out.isatty()
        self._count = 0
        self._over = threading.Event()

    def read(self, lines: Iterable[str]) -> str:
        """Follow what pip says until it ends; all of it."""
        said = []
        for line in lines:
            said.append(line)
            if _IGNORED.match(line):
                self._total -= 1
            elif name := taken(line):
                self._count += 1
                self._tell("downloading", self._count, name)
            elif line.startswith(_INSTALLING):
                self._install()
        self._over.set()
        self._clear()
        return "".join(said)

    def _install(self) -> None:
        """pip says nothing while it installs: count what has arrived."""
        if not self._live:
            self._out.write(f"installing {self._count} packages\n")
            self._out.flush()
            return
        packages = Path(sysconfig.get_path("purelib"))
        before = len(list(packages.glob("*.dist-info")))

        def follow() -> None:
            while not self._over.wait(POLL_SECONDS):
                there = len(list(packages.glob("*.dist-info"))) - before
                self._tell("installing", min(there, self._count), "")

        threading.Thread(target=follow, daemon=True).start()

    def _tell(self, what: str, count: int, name: str) -> None:
        if self._live:
            done = WIDTH * count // max(1, self._total)
            bar = "█" * done + "░" * (WIDTH - done)
            self._out.write(f"\r\x1b[K{what:11} {bar} {count}/{self._total} {name[:30]}")
        else:
            self._out.write(f"{what} {count}/{self._total} {name}\n")
        self._out.flush()

    def _clear(self) -> None:
        if self._live:
            self._out.write("\r\x1b[K")
            self._out.flush()


def main(lock: Path, out: TextIO) -> int:
    """pip's exit code."""
    total = len(_PINNED.findall(lock.read_text()))
    command = [sys.executable, "-u", *PIP, "--require-hashes", "-r", str(lock)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        said = Progress(total, out).read(process.stdout)
    if process.returncode:
        out.write(said)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.stderr))
