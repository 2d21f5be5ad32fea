"""A full disk is full, for the process that it is meant for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.disk import Disk, Quota, may_mount, small_disk

WRITER = """
import sys
for line in sys.stdin:
    try:
        with open(line.strip(), "ab", buffering=0) as file:
            file.write(bytes(4096))
        print("written", flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""


@contextmanager
def writer() -> Iterator[subprocess.Popen[str]]:
    """A process that writes 4 KiB to each file that it is told."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", WRITER], text=True, **pipes) as process:  # type: ignore[call-overload]
        yield process
        process.stdin.close()


def write(process: subprocess.Popen[str], path: Path) -> str:
    """What came of it."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{path}\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def check(disk: Disk, process: subprocess.Popen[str], why: str) -> None:
    file = disk.folder / "data"
    assert write(process, file) == "written"
    disk.fill()
    assert write(process, file) == why
    disk.free()
    assert write(process, file) == "written"


def test_the_small_disk_or_else_the_quota(tmp_path: Path) -> None:
    with writer() as process:
        check(Quota(tmp_path, lambda: process.pid), process, "File too large")
        if may_mount():
            with small_disk(1, owner=os.geteuid()) as disk:
                check(disk, process, "No space left on device")
            assert not disk.folder.exists()
