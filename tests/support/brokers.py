"""A real Mosquitto for tests: our rendered configuration, a free port, killed and restarted at will.

>>> with mosquitto(tmp_path) as broker:  # doctest: +SKIP
...     client.connect(broker.host, broker.port)
...     broker.kill()
...     broker.start()
"""

from __future__ import annotations

import getpass
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from broker.daemon.mosquitto import BrokerSettings, command

FIRST_PORT, PORTS = 12_000, 20_000
TLS_BEYOND = 3680
"""As `admin.chain.parts` has it; this module is for benchmarks without the CLI, too."""
ENOUGH_GIVEN = 1500
_given: set[int] = set()
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
DEADLINE = 60.0
"""Seconds that Mosquitto may take to listen, or to end."""


def free_port(room: int = 1) -> int:
    """A TCP port on loopback that nothing listens on now, nor on the next ``room - 1``.

    Below the ports that the kernel gives to outgoing connections, which would take one first; from a range
    of each test process's own, when several run at once; and not where `up` puts MMS over TLS for another.
    """
    share = PORTS // _WORKERS
    begin = FIRST_PORT + _WORKER * share
    while True:
        first = begin + random.randrange(min(TLS_BEYOND - 80, share // 2))
        ports = range(first, first + room)
        with ExitStack() as probes:
            if _given.isdisjoint(ports) and all(_bound(probes, port) for port in ports):
                _remember(ports)
                return first


def _remember(ports: range) -> None:
    """What was asked for before is not listened on at once: it is not given again for a long time."""
    if len(_given) > ENOUGH_GIVEN:
        _given.clear()
    _given.update(ports)


def _bound(probes: ExitStack, port: int) -> int:
    probe = probes.enter_context(socket.socket())
    try:
        probe.bind(("127.0.0.1", port))
    except (OSError, OverflowError):
        return 0
    return int(probe.getsockname()[1])


@dataclass
class Broker:
    """A running Mosquitto; its data survives ``kill`` and ``start`` as on a real machine."""

    host: str
    port: int
    config: Path
    _command: list[str]
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        """What Mosquitto wrote to stderr, over all its starts."""
        return self.config.with_name("mosquitto.log")

    @property
    def pid(self) -> int:
        """Process id, for SIGSTOP and SIGCONT."""
        assert self._process is not None, "the broker is stopped"
        return self._process.pid

    def start(self) -> None:
        """Start on the same port; returns when it accepts connections."""
        assert self._process is None, "the broker is already running"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + DEADLINE
        while not self._listens():
            assert self._process.poll() is None, f"mosquitto ended: {self.log.read_text()}"
            assert time.monotonic() < deadline, f"mosquitto does not listen: {self.log.read_text()}"
            time.sleep(0.01)

    def stop(self) -> None:
        """Clean stop (SIGTERM): Mosquitto saves its state."""
        if self._process is not None:
            self._process.terminate()
            self._end()

    def kill(self) -> None:
        """``kill -9``: what was not saved is gone."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def _end(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(DEADLINE)
        finally:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0


@contextmanager
def mosquitto(tmp: Path, *, persistence: bool = True) -> Iterator[Broker]:
    """A Mosquitto on a free loopback port with its data below ``tmp``; stopped at the end."""
    settings = BrokerSettings(
        port=free_port(),
        data_dir=tmp / "mosquitto",
        persistence=persistence,
        user=getpass.getuser(),  # root's temporary folders are closed to the user mosquitto
    )
    run = command(settings)
    running = Broker(settings.bind, settings.port, Path(run[-1]), run)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@contextmanager
def older_file(broker: Broker) -> Iterator[None]:
    """Leave with the broker killed and started again with what it knew when the block began."""
    file, kept = broker.config.with_name("mosquitto.db"), broker.config.with_name("older.db")
    file.unlink(missing_ok=True)
    os.kill(broker.pid, signal.SIGUSR1)  # Mosquitto saves its state
    deadline = time.monotonic() + DEADLINE
    while not file.exists():
        assert time.monotonic() < deadline, "Mosquitto did not save its state"
        time.sleep(0.01)
    shutil.copy(file, kept)
    yield
    broker.kill()
    shutil.copy(kept, file)
    broker.start()
