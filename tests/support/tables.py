"""The tables of the command line as they stand on a terminal of 100 columns, and what of them is cut.

>>> faults("name     power W\\nHouse 1     12.3\\n", [{"name": "House 1", "power": 12.3}])
[]
>>> faults("name   power W\\nHouse     12.3\\n1\\n", [{"name": "House 1", "power": 12.3}])
['name: House 1']
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from admin.plain import plain
from admin.tables import PROSE, cell, heading
from tests.support.cli import run

WIDTH = 100
TERMINAL = {"TTY_COMPATIBLE": "1", "COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "xterm"}
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT")


def on_a_terminal(*words: str, folder: Path, code: int = 0) -> str:
    """What the command prints on stdout there."""
    return _STYLE.sub("", run(*words, folder=folder, code=code, **TERMINAL).stdout)


def faults(shown: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Cells that are not whole, and lines that are too long; ``rows`` are the same as ``--json`` has them."""
    lines = [line.rstrip() for line in shown.splitlines()]
    found = [f"{len(line)} characters: {line}" for line in lines if len(line) > WIDTH]
    titles = lines[0] if lines else ""
    as_records = not all(len(row) < 2 or f"{heading(next(iter(row)))} " in f"{titles} " for row in rows[:1])
    for row in rows:
        for key, value in row.items():
            if isinstance(value, list | dict) or key in PROSE or _TIME.match(str(value)):
                continue
            if not as_records and not re.search(rf"(^|  ){re.escape(heading(key))}(  |$)", titles):
                continue  # has given way, or is told otherwise to people
            text = plain(cell(value)).strip()
            if not any(text in line for line in lines):
                found.append(f"{key}: {text}")
    return found
