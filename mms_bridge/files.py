"""Files over MMS (IEC 61850-7-2 clause 23): the SCD and the CIDs under ``/SCL``, to read and nothing else.

The library serves a folder of ours, which holds only what is put here; its handler asks for each access,
and whatever is not a listing of that folder or the opening of one of its files is denied.

>>> allowed(Service.OPEN, "/SCL/SMGW001.cid"), allowed(Service.OPEN, "SCL/../../etc/passwd")
(True, False)
>>> allowed(Service.DELETE, "/SCL/SMGW001.cid")
False
"""

from __future__ import annotations

import logging
import os
import re
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from broker.errors import Meter61850Error
from mms_bridge.native import FileAccessHandler, lib

log = logging.getLogger(__name__)

FOLDER = "SCL"
SCD = "meter61850.scd"
NONE, ACCESS_DENIED = 0, 96
"""MMS_ERROR_NONE and MMS_ERROR_FILE_FILE_ACCESS_DENIED of mms_common.h."""

_FILE = re.compile(rf"[/\\]?{FOLDER}[/\\]([A-Za-z][0-9A-Za-z_]*\.(?:scd|cid))")
_FOLDERS = frozenset({"", "/", "\\", FOLDER, f"/{FOLDER}", f"{FOLDER}/", f"/{FOLDER}/"})


class FilesError(Meter61850Error, OSError):
    """The disk does not take a file."""


class Service(IntEnum):
    """MmsFileServiceType of mms_server.h."""

    DIRECTORY = 0
    OPEN = 1
    OBTAIN = 2
    DELETE = 3
    RENAME = 4


def allowed(service: int, name: str) -> bool:
    """Whether a client may do ``service`` with ``name``."""
    if service == Service.DIRECTORY:
        return name in _FOLDERS or _FILE.fullmatch(name) is not None
    return service == Service.OPEN and _FILE.fullmatch(name) is not None


class Files:
    """The folder behind the file service of every server."""

    def __init__(self) -> None:
        self.denied = 0
        self._root = TemporaryDirectory(prefix="meter61850-mms-")
        self._staging = TemporaryDirectory(prefix="meter61850-mms-")
        (self.root / FOLDER).mkdir()
        self._on_access = FileAccessHandler(self._access)  # as long as any server: C keeps its address

    @property
    def root(self) -> Path:
        """The base of the names that clients use."""
        return Path(self._root.name)

    def install(self, server: int) -> None:
        """Guard the file service of one IedServer."""
        lib.MmsServer_installFileAccessHandler(lib.IedServer_getMmsServer(server), self._on_access, None)

    def put(self, name: str, content: bytes) -> None:
        """Offer ``content`` as ``/SCL/name``, whole or as it was before; empty takes it away.

        ValueError for a name that is not served; FilesError when the disk does not take it.
        """
        target = self.root / FOLDER / name
        if not allowed(Service.OPEN, f"{FOLDER}/{name}"):
            raise ValueError(f"{name[:80]!r} is no name of a file that is served")
        written = Path(self._staging.name) / name
        try:
            for folder in (target.parent, written.parent):  # who tidies /tmp up may have taken them
                folder.mkdir(parents=True, exist_ok=True)
            if not content:
                target.unlink(missing_ok=True)
                return
            written.write_bytes(content)
            os.replace(written, target)
        except OSError as error:
            raise FilesError(f"{FOLDER}/{name} is not up to date: {error}") from error

    def close(self) -> None:
        """Delete the folder."""
        for folder in (self._staging, self._root):
            with suppress(OSError):
                folder.cleanup()

    def _access(self, _parameter: int, _connection: int, service: int, name: bytes, _other: bytes) -> int:
        text = (name or b"").decode("utf-8", "replace")
        if allowed(service, text):
            return NONE
        self.denied += 1
        log.info("file service %d of %r denied", service, text[:80])
        return ACCESS_DENIED
