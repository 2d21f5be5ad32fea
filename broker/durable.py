"""Small files that survive a power cut: either the old content or the new one, never a half.

>>> with tempfile.TemporaryDirectory() as folder:
...     replace(Path(folder) / "note", b"kept", mode=PUBLIC)
...     (Path(folder) / "note").read_text()
'kept'
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PUBLIC, SECRET = 0o644, 0o600


def replace(path: Path, content: bytes, *, mode: int) -> None:
    """Have ``content`` in ``path``, on the disk when it returns; OSError if that fails, and all is as it was.

    It has ``mode`` from its first octet on. A file that is so already is left alone, so that who watches it
    sees no change. The folder is there: one that is missing may be a disk that is not mounted.
    """
    if path.exists() and path.read_bytes() == content and path.stat().st_mode & 0o777 == mode:
        return
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600, nobody else's
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Have the names in the folder ``path`` on the disk; OSError if that fails."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def create(path: Path) -> None:
    """Have a secret file at ``path``: what is there stays, else it is empty; OSError if that fails."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, SECRET))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file ``path``, made if it is missing: one process at a time does; waits for the other."""
    create(path)
    with path.open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
