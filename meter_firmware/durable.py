"""Small files that survive a power cut: either the old text or the new one, never a half.

>>> with tempfile.TemporaryDirectory() as folder:
...     write_text(Path(folder) / "note", "kept")
...     (Path(folder) / "note").read_text()
'kept'
"""

from __future__ import annotations

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text``, on the disk when it returns; OSError if that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
