"""Runs Mosquitto of a deployment, and has it read its files again when they change.

The registrar and the administrator's commands only write files (access list, passwords, revocation list);
they need no right to signal the broker, which may be another user's, or in another container.

>>> run(settings)  # doctest: +SKIP
0
"""

from __future__ import annotations

import ctypes
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

from broker.descriptors import raise_limit
from broker.errors import ConfigurationError
from broker.mosquitto import WATCHED, BrokerSettings, check_files, command

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # prctl(2)
START_SECONDS = 5.0
"""After which Mosquitto listens to signals, whatever it has to load; it is told again what changed before."""

Stamp = tuple[tuple[int, int, int], ...]


def run(settings: BrokerSettings) -> int:
    """Until SIGTERM or SIGINT, or until Mosquitto ends; its exit code (0 after a signal).

    Raises:
        ConfigurationError: a file of the deployment is missing.
        UnavailableError: Mosquitto is not installed.
    """
    assert settings.security is not None, "a broker without a deployment needs no guardian"
    folder = settings.security
    seen = stamp(folder)
    raise_limit()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited: until Mosquitto listens to it, it would end it
    process = subprocess.Popen(command(settings), preexec_fn=_end_with_guardian)  # noqa: PLW1509 - one thread
    started, early = time.monotonic() + START_SECONDS, False
    stopping: list[int] = []

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stopping.append(number))
    signal.signal(signal.SIGHUP, lambda *_: process.send_signal(signal.SIGHUP))
    while process.poll() is None:
        now = stamp(folder)
        starting = time.monotonic() < started
        if now != seen or (early and not starting):
            seen, early = now, starting
            if _usable(folder):
                log.info("identities or rights have changed: Mosquitto reads them again")
                process.send_signal(signal.SIGHUP)
        if stopping:
            process.terminate()  # again and again: Mosquitto 2.0 forgets one just after it says "running"
        time.sleep(LOOK_SECONDS)
    return 0 if stopping else process.returncode


def _usable(folder: Path) -> bool:
    """Whether Mosquitto may read the files; what it has read before stays in force otherwise."""
    try:
        check_files(folder)
    except ConfigurationError as error:
        log.error("what Mosquitto has read before stays in force: %s", error)
        return False
    return True


def _end_with_guardian() -> None:
    """In the child: have the kernel end it when we are killed, or it would hold the ports on (Linux)."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def stamp(folder: Path) -> Stamp:
    """Tells one state of the files from another; writers replace each file in one step."""
    found = []
    for name in WATCHED:
        try:
            told = (folder / name).stat()
        except FileNotFoundError:
            found.append((0, 0, 0))  # between two states
        else:
            found.append((told.st_ino, told.st_mtime_ns, told.st_size))
    return tuple(found)
