"""Files that are read again while a process runs: a broken one never replaces a good one.

>>> followed = Followed((Path("clients.toml"),), read)     # doctest: +SKIP
>>> followed.start(); followed.look()                      # doctest: +SKIP
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from broker.contract.errors import ConfigurationError

log = logging.getLogger(__name__)

Signature = tuple[tuple[int, int, int] | None, ...]


class Followed:
    """Files that are read together; ``read`` raises ConfigurationError."""

    def __init__(self, files: tuple[Path, ...], read: Callable[[], None]) -> None:
        self._files = files
        self._read = read
        self._seen: Signature = ()
        self._told = ""

    def start(self) -> None:
        """Read for the first time; ConfigurationError if that is not possible."""
        self._seen = signature(self._files)
        self._read()

    def look(self) -> str | None:
        """Read again if a file was changed: what is wrong, "" when it was read, None when nothing changed."""
        seen = signature(self._files)
        if seen == self._seen:
            return None
        self._seen = seen
        try:
            self._read()
        except ConfigurationError as error:
            return self._complaint(str(error))
        self._told = ""
        return ""

    def _complaint(self, complaint: str) -> str:
        if complaint != self._told:
            self._told = complaint
            log.error("%s: the previous file stays in force", complaint)
        return complaint


def signature(files: Iterable[Path]) -> Signature:
    """Tells one state of ``files`` from another."""
    return tuple(map(_stat, files))


def _stat(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
