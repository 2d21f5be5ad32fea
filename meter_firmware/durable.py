"""Small files that survive a power cut: either the old text or the new one, never a half.

>>> with tempfile.TemporaryDirectory() as folder:
...     write_text(Path(folder) / "note", "kept")
...     (Path(folder) / "note").read_text()
'kept'
"""

from __future__ import annotations

import os
from pathlib import Path


def write_text(path: Path, text: str, *, secret: bool = False) -> None:
    """Replace ``path`` by ``text``, on the disk when it returns; OSError if that fails.

    A ``secret`` has mode 0600 from its first byte on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o666)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Have the names in the folder ``path`` on the disk; OSError if that fails."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
