"""Output of the commands: a table for people, JSON for programs, and nothing else on stdout.

>>> show([{"meter": "House 1", "power": 21.3}], as_json=True)
[{"meter": "House 1", "power": 21.3}]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

from rich.console import Console, Group
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from admin.plain import escaped, plain
from admin.tables import Row, fits, record, table, too_wide
from broker.contract.messages import format_ts

T = TypeVar("T")

NAMED = 10
"""So many columns that are left out are named; more are counted."""

stderr = Console(stderr=True, highlight=False)


def note(message: str) -> None:
    """A message on stderr, without what is not printable."""
    stderr.print(plain(message, keep="\n\t"), markup=False, soft_wrap=True)


def line(message: str) -> None:
    """One line on stdout, without what is not printable."""
    sys.stdout.write(plain(message) + "\n")
    sys.stdout.flush()


def stdout() -> Console:
    """The console for tables; on a pipe as wide as the table needs."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=10_000)


def show(rows: Sequence[Row], *, as_json: bool, empty: str = "nothing", spare: Iterable[str] = ()) -> None:
    """``rows`` as a JSON array, or as a table whose columns are the keys of the first row.

    On a terminal that is too narrow, columns of ``spare`` are left out, the first of them first; if this is
    not enough, each field has a line of its own. No cell is cut.
    """
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        note(empty)
        return
    console = stdout()
    out = too_wide(rows, console.width, spare)
    left = [{key: row[key] for key in row if key not in out} for row in rows]
    if fits(left, console.width):
        console.print(table(left))
    else:
        out = []
        console.print(Group(*_apart([record(row) for row in rows])))
    if out:
        names = ", ".join(key.replace("_", " ") for key in rows[0] if key in out)
        what = names if len(out) <= NAMED else f"{len(out)} of {len(rows[0])} columns"
        note(f"no room for {what}; a wider terminal or --json shows all")


def _apart(things: Iterable[Table]) -> Iterator[Table | str]:
    """With an empty line between two."""
    for number, thing in enumerate(things):
        if number:
            yield ""
        yield thing


def show_one(row: Row, *, as_json: bool) -> None:
    """One thing: a JSON object, or one line for each of its fields."""
    if as_json:
        print_json(row)
    else:
        stdout().print(record(row))


def print_json(value: object) -> None:
    """One JSON document on stdout; times as in the contract."""
    sys.stdout.write(json_text(value) + "\n")


def json_text(value: object) -> str:
    """``value`` as JSON on one line, what is not printable escaped; times as in the contract."""
    return escaped(json.dumps(value, ensure_ascii=False, default=_jsonable))


def _jsonable(value: object) -> str:
    return format_ts(value) if isinstance(value, datetime) else str(value)


def progress(of: Iterable[T], *, what: str, total: int | None) -> Iterator[T]:
    """Go through ``of`` with a bar on stderr, if that is a terminal."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        yield from bar.track(of, total=total)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on stderr, if that is a terminal, that ``what`` takes its time."""
    columns = (SpinnerColumn(), TextColumn(what), TimeElapsedColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        bar.add_task(what, total=None)
        yield
