"""The MMS bridge as a process of its own: it may crash, and is watched for memory and descriptors.

>>> with MmsProcess(folder).running(settings):  # doctest: +SKIP
...     ...
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from mms_bridge.settings import MmsSettings

STOP_SECONDS = 10.0


@dataclass
class MmsProcess:
    """``meter61850 mms run``; its log is ``mms.log`` in the folder."""

    folder: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _command: list[str] = field(default_factory=list, repr=False)

    @property
    def log(self) -> Path:
        """What it wrote, over all its starts."""
        return self.folder / "mms.log"

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """The exit code when it has ended (−11: a crash), None while it runs."""
        assert self._process is not None
        return self._process.poll()

    @property
    def mebibytes(self) -> float:
        """Resident memory."""
        return float(psutil.Process(self.pid).memory_info().rss) / 2**20

    @property
    def descriptors(self) -> int:
        """Open file descriptors."""
        return int(psutil.Process(self.pid).num_fds())

    def start(self) -> None:
        """Start it, or start it again."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "PYTHONFAULTHANDLER": "1"},
            )

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(STOP_SECONDS)
        self._process.kill()
        return self._process.wait(STOP_SECONDS)

    @contextmanager
    def running(self, settings: MmsSettings) -> Iterator[None]:
        """Started on these settings' broker, stopped at the end."""
        mqtt = settings.mqtt
        where = ["--mqtt", f"{mqtt.host}:{mqtt.port}", "--prefix", mqtt.prefix]
        self._command = [sys.executable, "-m", "admin", "mms", "run", *where]
        self.start()
        try:
            yield
        finally:
            self.stop()
