"""Names of meters for the shell: ``meter61850 relay open "Hou<TAB>``.

Only from a SQLite database that may be read, with one query and without our own store, because a person
waits. Where there is none (PostgreSQL, another machine) nothing is offered.

>>> quoted("House 1", typed="Hou"), quoted("House 1", typed='"Hou')
('House\\\\ 1', 'House 1')
"""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import typer

from broker.contract.errors import Meter61850Error
from broker.contract.names import by_name
from broker.environment import ENV, read

VARIABLE, DIR = "METER61850_DATABASE_URL", "METER61850_DIR"
WAIT_SECONDS = 0.2
MOST = 200
_SPECIAL = re.compile(r"([^\w@%+=:,./-])", re.ASCII)
_RUNS = frozenset("$`\\\"'!")
"""A meter chooses its name. One with these could run a command in the shell, so it is not offered."""


def meter_names(ctx: typer.Context, incomplete: str, *, usual: str, data_dir: Path) -> list[str]:
    """The names of meters in service that begin with ``incomplete``; no error reaches the shell.

    ``usual``: the database of a command that names none; ``data_dir``: the deployment of one that names none.
    """
    with suppress(OSError, sqlite3.Error, Meter61850Error):
        file = _database(ctx, usual, data_dir)
        if file is not None:
            found = sorted(_names(file, incomplete), key=lambda name: by_name(name, ""))
            return [quoted(name, typed=_typed()) for name in found]
    return []


def quoted(name: str, *, typed: str) -> str:
    """``name`` as bash takes it on a line where ``typed`` stands already; it adds a closing quote itself."""
    return name if typed[:1] in ('"', "'") or not typed else _SPECIAL.sub(r"\\\1", name)


def _typed() -> str:
    """The word at the cursor as it was typed; empty in other shells, which quote what they insert."""
    words = os.environ.get("COMP_WORDS", "").split("\n")
    with suppress(ValueError, IndexError):
        return words[int(os.environ["COMP_CWORD"])] or " "
    return ""


def _database(ctx: typer.Context, usual: str, data_dir: Path) -> Path | None:
    """The file of the database that the command would use."""
    given = ctx.params.get("database")
    url = given if isinstance(given, str) and given != usual else os.environ.get(VARIABLE, "")
    told = os.environ.get(DIR)
    folder = ctx.find_root().params.get("folder") or (data_dir if told is None else told and Path(told))
    if not url and folder and (Path(folder) / ENV).exists():
        url = read(Path(folder) / ENV).get(VARIABLE, "")
    file = (url or usual).removeprefix("sqlite:///")
    return None if "://" in file else Path(file)


def _names(file: Path, begin: str) -> list[str]:
    query = "SELECT name FROM meter WHERE retired_at IS NULL AND substr(name, 1, ?) = ? ORDER BY key LIMIT ?"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=WAIT_SECONDS)) as connection:
        rows = connection.execute(query, (len(begin), begin, MOST))
        return [
            name for name in (str(name) for (name,) in rows) if name.isprintable() and not _RUNS & set(name)
        ]
