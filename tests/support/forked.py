"""A program of ours as a process of its own, forked from one that has imported everything: a second quicker.

In all else it is what ``python -P -m MODULE …`` is: its own process id, streams, environment, signals and
exit code. It does not show that a new interpreter finds its imports: `up` and its children, the installed
command and the units are started plainly.

>>> with Forked("admin", "--version") as process:  # doctest: +SKIP
...     process.wait(60)
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from tests.support.project import ROOT

DEADLINE = 60.0
"""Seconds that a command may take."""

descriptors: int | None = None
"""Limit of open files of the programs that are started from now on; None: that of the tests."""

Stream = int | IO[bytes] | IO[str]

_starting = threading.Lock()


class Forked(subprocess.Popen[bytes]):
    """As `subprocess.Popen`, without pipes."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = subprocess.DEVNULL,
        stderr: Stream = subprocess.DEVNULL,
    ) -> None:
        self.args = self._words = [module, *arguments]
        self.stdin = self.stdout = self.stderr = None
        self.returncode: int | None = None
        self._child_created = False  # of this process: it has nothing to wait for itself
        self._channel, theirs = socket.socketpair()
        asked = {
            "module": module,
            "arguments": arguments,
            "cwd": str(cwd or Path.cwd()),
            "environment": dict(os.environ if env is None else env),
            "descriptors": descriptors,
        }
        with open(os.devnull, "r+b") as null, theirs:
            streams = [null if stream == subprocess.DEVNULL else stream for stream in (stdin, stdout, stderr)]
            numbers = [stream if isinstance(stream, int) else stream.fileno() for stream in streams]
            with _starting:
                socket.send_fds(_forker(), [json.dumps(asked).encode()], [*numbers, theirs.fileno()])
        self.pid = int.from_bytes(self._channel.recv(4), "little")

    def poll(self) -> int | None:
        """The exit code, once it has ended."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; TimeoutExpired when it has not ended by then."""
        if self.returncode is None:
            self._channel.settimeout(timeout)
            try:
                status = self._channel.recv(4)
            except (BlockingIOError, TimeoutError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            assert status, f"nobody waits for {self._words}"
            self.returncode = os.waitstatus_to_exitcode(int.from_bytes(status, "little"))
            self._channel.close()
        return self.returncode


def plain(module: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """The same in a new interpreter, which imports what its path has."""
    return subprocess.Popen([sys.executable, "-P", "-m", module, *arguments], **options)


def run_to_end(
    module: str,
    *arguments: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    code: int = 0,
    seconds: float = DEADLINE,
) -> subprocess.CompletedProcess[str]:
    """Run it to its end; AssertionError unless it ends with ``code``, within ``seconds``."""
    with TemporaryFile("w+") as stdout, TemporaryFile("w+") as stderr:
        with Forked(module, *arguments, cwd=cwd, env=env, stdout=stdout, stderr=stderr) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
        texts = [stream.read() for stream in (stdout, stderr) if stream.seek(0) == 0]
    done = subprocess.CompletedProcess([module, *arguments], process.wait(), *texts)
    assert done.returncode == code, f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


_control: list[socket.socket] = []


def _forker() -> socket.socket:
    """The socket of this test process's forker, which is started by the first program; it ends with us."""
    if not _control:
        ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-m", "tests.support.forker", str(theirs.fileno())]
        settled = {name: value for name, value in os.environ.items() if not name.startswith("METER61850_")}
        settled["PYTHONPATH"] = str(ROOT)
        with theirs:
            subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd="/", env=settled)
        _control.append(ours)
    return _control[0]
