"""A disk that can be full: a small tmpfs of ours, or, where we may not mount, a limit on one process.

>>> with small_disk(64) as disk:  # doctest: +SKIP
...     disk.fill()
...     disk.free()
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

MIB = 1024 * 1024


class Disk(Protocol):
    """Where the database is."""

    @property
    def folder(self) -> Path:
        """Where the files go."""

    def fill(self) -> None:
        """From now on nothing more fits."""

    def free(self) -> None:
        """There is room again."""

    @property
    def may_be_read_only(self) -> bool:
        """Whether it can be made so."""

    def protect(self) -> None:
        """Make it read-only; PermissionError while a file on it is open for writing."""

    def allow(self) -> None:
        """Make it writable."""


@dataclass(frozen=True)
class Tmpfs:
    """A file system of its own; ``fill`` leaves not one page."""

    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Write until ENOSPC."""
        with self._ballast.open("wb", buffering=0) as file:
            for size in (MIB, 4096):
                with suppress(_NoSpace):
                    while True:
                        _write(file.fileno(), size)

    def free(self) -> None:
        """Delete what fills it."""
        self._ballast.unlink(missing_ok=True)

    @property
    def may_be_read_only(self) -> bool:
        """It is ours."""
        return True

    def protect(self) -> None:
        """Remount it."""
        _run("mount", "-o", "remount,ro", str(self.folder))

    def allow(self) -> None:
        """Remount it."""
        _run("mount", "-o", "remount,rw", str(self.folder))


@dataclass(frozen=True)
class Quota:
    """``RLIMIT_FSIZE`` = 0 on the process ``pid()``: every write to a file fails with EFBIG."""

    folder: Path
    pid: Callable[[], int]

    def fill(self) -> None:
        """The process can write no file any more (unless it is dead, or started anew)."""
        with suppress(ProcessLookupError):
            _, most = resource.prlimit(self.pid(), resource.RLIMIT_FSIZE)
            resource.prlimit(self.pid(), resource.RLIMIT_FSIZE, (0, most))

    def free(self) -> None:
        """It can again."""
        with suppress(ProcessLookupError):
            _, most = resource.prlimit(self.pid(), resource.RLIMIT_FSIZE)
            resource.prlimit(self.pid(), resource.RLIMIT_FSIZE, (most, most))

    @property
    def may_be_read_only(self) -> bool:
        """A limit of a process ends with it."""
        return False

    def protect(self) -> None:
        """Not here."""
        raise PermissionError("a quota is not read-only")

    def allow(self) -> None:
        """Not here."""


@contextmanager
def small_disk(mib: int, *, owner: int = 0) -> Iterator[Tmpfs]:
    """A tmpfs of so many MiB that user ``owner`` may write; PermissionError where we may not mount."""
    folder = Path(tempfile.mkdtemp(prefix="disk-"))
    folder.chmod(0o755)
    options = f"size={mib}m,uid={owner},mode=0700"
    try:
        _run("mount", "-t", "tmpfs", "-o", options, "meter61850-faults", str(folder))
        try:
            yield Tmpfs(folder)
        finally:
            _run("umount", "--lazy", str(folder))
    finally:
        folder.rmdir()


def may_mount() -> bool:
    """Whether a tmpfs can be mounted here."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        return False
    try:
        with small_disk(1):
            return True
    except PermissionError:
        return False


class _NoSpace(OSError):  # noqa: N818 - a condition, and the one that is wanted
    """ENOSPC."""


def _write(file: int, size: int) -> None:
    try:
        os.write(file, bytes(size))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _NoSpace from error
        raise


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(f"{command[0]}: {done.stderr.strip()}")
