"""Runs our own commands as child processes: logs in files, no orphans, no unnoticed end.

A child is ``python -m admin …``. It has its own session, so Ctrl-C reaches only the supervisor, which then
stops the children in order. It asks the kernel for SIGTERM at its parent's death, so no child stays when the
supervisor is killed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from broker.contract.errors import Meter61850Error, UnavailableError, reason
from broker.kernel import end_with_parent

log = logging.getLogger(__name__)

SUPERVISOR = "METER61850_SUPERVISOR"
"""Environment variable: process id of the supervisor."""
LAST_LINES = 5
HOST = "127.0.0.1"
START_SECONDS = 600.0
"""A loaded machine is slow, and a child that cannot start ends by itself: this bound is for a hanging one."""
NOTE_SECONDS = 10.0
_PROBE_SECONDS = 0.05


class ChildDiedError(Meter61850Error):
    """A child ended unexpectedly; the message has the last lines of its log."""


class ChildSilentError(UnavailableError):
    """A child lives, but did not begin to listen; the message has the last lines of its log."""


@dataclass(frozen=True)
class Part:
    """One child: the command line after ``meter61850``, and the seconds that it may take to stop."""

    name: str
    arguments: tuple[str, ...]
    seconds: float
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Child:
    part: Part
    process: asyncio.subprocess.Process
    log: Path
    stopping: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """``async with``: at the end all children are stopped, the last one started first."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: dict[str, _Child] = {}
        self._died: asyncio.Queue[_Child] = asyncio.Queue()
        self._watchers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in reversed(self._children):
            await self.stop(name)

    async def start(self, part: Part) -> None:
        """Start a child; its output goes to ``<logs>/<name>.log``, which begins anew."""
        file = self._logs / f"{part.name}.log"
        with file.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "admin", *part.arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **part.environment, SUPERVISOR: str(os.getpid())},
                start_new_session=True,
            )
        child = self._children[part.name] = _Child(part, process, file)
        watcher = asyncio.create_task(self._watch(child), name=f"watch {part.name}")
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def stop(self, name: str) -> None:
        """SIGTERM, and SIGKILL when the child's seconds are over."""
        child = self._children[name]
        child.stopping = True
        with suppress(ProcessLookupError):
            child.process.terminate()
        try:
            await asyncio.wait_for(child.ended.wait(), child.part.seconds)
        except TimeoutError:
            with suppress(ProcessLookupError):
                child.process.kill()
            await child.ended.wait()

    async def listening(self, name: str, port: int, *, seconds: float = START_SECONDS) -> None:
        """Wait until the child accepts connections on ``port``, for as long as it lives.

        Raises:
            ChildDiedError: it has ended.
            ChildSilentError: it lives, but does not listen after ``seconds``.
        """
        child = self._children[name]
        began = noted = time.monotonic()
        while not await _accepts(port):
            if child.ended.is_set():
                raise _death(child)
            waited = time.monotonic() - began
            if waited > seconds:
                raise ChildSilentError(
                    f"{name} does not listen on port {port} after {waited:.0f} s; {self.last_words(name)}"
                )
            if time.monotonic() - noted > NOTE_SECONDS:
                noted = time.monotonic()
                log.warning(
                    "waiting for %s to listen on port %d (%.0f s); see %s", name, port, waited, child.log
                )
            await asyncio.sleep(_PROBE_SECONDS)

    def last_words(self, name: str) -> str:
        """The log file of a child, and its last lines."""
        return _last_words(self._children[name])

    async def death(self) -> ChildDiedError:
        """Wait until a child ends unexpectedly; the error names it and the cause."""
        return _death(await self._died.get())

    async def _watch(self, child: _Child) -> None:
        await child.process.wait()
        child.ended.set()
        if not child.stopping:
            self._died.put_nowait(child)


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True


def _death(child: _Child) -> ChildDiedError:
    how = _how(child.process.returncode)
    return ChildDiedError(f"{child.part.name} ended by itself ({how}); {_last_words(child)}")


def _last_words(child: _Child) -> str:
    try:
        lines = child.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
    except OSError as error:  # as when there is no file descriptor left
        return f"{child.log} cannot be read now: {reason(error)}"
    said = "".join(f"\n  {line}" for line in lines) or " nothing"
    return f"{child.log} says:{said}"


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit {code}"


def obey_supervisor() -> None:
    """In a child: end by SIGTERM when the supervisor ends, however it ends."""
    parent = os.environ.pop(SUPERVISOR, None)
    if parent is None:
        return
    end_with_parent()
    if os.getppid() != int(parent):  # it ended before we asked
        raise SystemExit(1)
