"""Small files that survive a power cut: either the old content or the new one, never a half.

A folder whose group may read it and nobody else, with the setgid bit (modes 2750 and 2770), is handed to that
group: secrets in it are readable to the group, and writable if the folder is. In any other folder a secret is
its owner's alone. What root writes belongs to the owner of its folder, so that administration as root takes
no file away from the service that it is for.

>>> with tempfile.TemporaryDirectory() as folder:
...     replace(Path(folder) / "note", b"kept", mode=PUBLIC)
...     (Path(folder) / "note").read_text()
'kept'
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PUBLIC, SECRET = 0o644, 0o600


def replace(path: Path, content: bytes, *, mode: int) -> None:
    """Have ``content`` in ``path``, on the disk when it returns; OSError if that fails, and all is as it was.

    It has ``mode`` from its first octet on, and for a secret what the folder's group may. A file that is so
    already is left alone, so that who watches it sees no change. The folder is there: one that is missing may
    be a disk that is not mounted.
    """
    mode |= handed(path.parent) if mode == SECRET else 0
    if path.exists() and path.read_bytes() == content and path.stat().st_mode & 0o777 == mode:
        return
    with _draft(path, content, mode=mode) as draft:
        os.replace(draft, path)
    sync_folder(path.parent)


@contextmanager
def _draft(path: Path, content: bytes, *, mode: int) -> Iterator[str]:
    """A file beside ``path``, on the disk; it is gone afterwards unless it was given another name."""
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600, nobody else's
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            _give_to_owner(descriptor, path.parent)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        yield draft
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft)


def sync_folder(path: Path) -> None:
    """Have the names in the folder ``path`` on the disk; OSError if that fails."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def handed(folder: Path) -> int:
    """The mode bits that the group of ``folder`` has on secrets in it; 0 unless it is handed to its group."""
    mode = folder.stat().st_mode
    if not mode & stat.S_ISGID or mode & stat.S_IRWXO or not mode & stat.S_IRGRP:
        return 0
    return 0o060 if mode & stat.S_IWGRP else 0o040


def create(path: Path, content: bytes = b"") -> None:
    """Have a secret file at ``path``: what is there stays, else it has ``content``; OSError if that fails.

    Nobody sees it without its content, except on a disk that has no hard links: there it begins empty.
    """
    if content and _linked(path, content):
        return
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, SECRET)
    except FileExistsError:
        return
    try:
        _give_to_owner(descriptor, path.parent)
        os.fchmod(descriptor, SECRET | handed(path.parent))
    finally:
        os.close(descriptor)


def _linked(path: Path, content: bytes) -> bool:
    """Whether it is there now; False on a disk that has no hard links."""
    with _draft(path, content, mode=SECRET | handed(path.parent)) as draft:
        try:
            os.link(draft, path)
        except FileExistsError:
            return True
        except OSError:
            return False
    sync_folder(path.parent)
    return True


def make_folder(path: Path) -> None:
    """Have a folder at ``path``, for its owner alone if it is new; OSError if that fails."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _give_to_owner(folder, path.parent)
    finally:
        os.close(folder)


def _give_to_owner(descriptor: int, folder: Path) -> None:
    """Let what root has made in ``folder`` belong to the folder's owner; setgid sees to the group."""
    if os.geteuid() == 0:
        os.fchown(descriptor, folder.stat().st_uid, -1)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file ``path``, made if it is missing: one process at a time does; waits for the other."""
    create(path)
    with path.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
