"""Runs Mosquitto of a deployment, and has it read its files again when they change.

The registrar and the administrator's commands only write files (access list, passwords, revocation list);
they need no right to signal the broker, which may be another user's, or in another container.

>>> run(settings)  # doctest: +SKIP
0
"""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from pathlib import Path

from broker.contract.errors import ConfigurationError
from broker.daemon.mosquitto import BrokerSettings, command
from broker.daemon.security_files import WATCHED, check_files
from broker.descriptors import raise_limit
from broker.kernel import end_with_parent

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
AGAIN_SECONDS = 1.0, 5.0
"""After a change, at which Mosquitto is told once more: 2.0 forgets a signal that comes while it reads."""
DATABASE = "mosquitto.db"
START_SECONDS = 5.0
"""After which Mosquitto is taken to listen to signals where the kernel does not say (no /proc)."""

Stamp = tuple[tuple[int, int, int], ...]


def run(settings: BrokerSettings) -> int:
    """Until SIGTERM or SIGINT, or until Mosquitto ends; its exit code (0 after a signal).

    A saved state that Mosquitto cannot load (broken, or larger than its memory limit) is put aside: each
    program publishes again what it keeps retained, and no reading depends on it.

    Raises:
        ConfigurationError: a file of the deployment is missing.
        UnavailableError: Mosquitto is not installed.
    """
    assert settings.security is not None, "a broker without a deployment needs no guardian"
    raise_limit()
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stopping.append(number))
    code, listened = _guarded(settings, stopping)
    database = settings.data_dir / DATABASE
    if code and not listened and not stopping and database.exists():
        aside = database.with_name(f"{DATABASE}.{time.strftime('%Y%m%dT%H%M%S')}.unreadable")
        database.rename(aside)
        log.error("Mosquitto does not start with %s: trying without it, it is kept as %s", database, aside)
        code, listened = _guarded(settings, stopping)
        if not listened:  # it was something else
            aside.rename(database)
    return 0 if stopping else code


def _guarded(settings: BrokerSettings, stopping: list[int]) -> tuple[int, bool]:
    """One life of Mosquitto, ended by a number in ``stopping``: its exit code, and whether it has served."""
    folder = settings.security
    assert folder is not None
    seen = stamp(folder)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited: until Mosquitto listens to it, it would end it
    # when we are killed Mosquitto ends too: else it would keep the ports
    process = subprocess.Popen(command(settings), preexec_fn=end_with_parent)  # noqa: PLW1509 - one thread
    signal.signal(signal.SIGHUP, lambda *_: process.send_signal(signal.SIGHUP))
    began, listens, early = time.monotonic(), False, False
    again: list[float] = []
    while process.poll() is None:
        now, moment = stamp(folder), time.monotonic()
        listens = listens or _listens_to_signals(process.pid, age=moment - began)
        if now != seen or (early and listens):
            seen, early = now, not listens
            again = [moment + seconds for seconds in AGAIN_SECONDS]
            if _usable(folder):
                log.info("identities or rights have changed: Mosquitto reads them again")
                process.send_signal(signal.SIGHUP)
        elif again and moment >= again[0]:
            del again[0]
            if _usable(folder):
                process.send_signal(signal.SIGHUP)
        if stopping:
            process.terminate()  # again and again: Mosquitto 2.0 forgets one just after it says "running"
        time.sleep(LOOK_SECONDS)
    return process.returncode, listens


def _listens_to_signals(pid: int, *, age: float) -> bool:
    """Whether a process catches SIGHUP: Mosquitto does when it has loaded its database and listens."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return age > START_SECONDS
    (caught,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(caught >> (signal.SIGHUP - 1) & 1)


def _usable(folder: Path) -> bool:
    """Whether Mosquitto may read the files; what it has read before stays in force otherwise."""
    try:
        check_files(folder)
    except ConfigurationError as error:
        log.error("what Mosquitto has read before stays in force: %s", error)
        return False
    return True


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
