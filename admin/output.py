"""Output of the commands: a table for people, JSON for programs, and nothing else on stdout.

>>> show([Row({"meter": "House 1", "power": 21.3})], as_json=True)
[{"meter": "House 1", "power": 21.3}]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from admin.plain import escaped, plain
from broker.contract.messages import format_ts

T = TypeVar("T")
Row = dict[str, Any]

GAP = 2
"""Characters between two columns."""
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


def show(
    rows: Sequence[Mapping[str, Any]], *, as_json: bool, empty: str = "nothing", spare: Iterable[str] = ()
) -> None:
    """``rows`` as a JSON array, or as a table whose columns are the keys of the first row.

    On a terminal that is too narrow, columns of ``spare`` are left out, the first of them first.
    """
    if as_json:
        print_json(list(rows))
    elif rows:
        console = stdout()
        out = too_wide(rows, console.width, spare)
        console.print(table([{key: row[key] for key in row if key not in out} for row in rows]))
        if out:
            names = ", ".join(key.replace("_", " ") for key in rows[0] if key in out)
            what = names if len(out) <= NAMED else f"{len(out)} of {len(rows[0])} columns"
            note(f"no room for {what}; a wider terminal or --json shows all")
    else:
        note(empty)


def too_wide(rows: Sequence[Mapping[str, Any]], width: int, spare: Iterable[str]) -> list[str]:
    """The columns of ``spare`` to leave out, so that a table has ``width`` characters at most."""
    widths = {key: max(len(key), *(text(row[key]).cell_len for row in rows)) for key in rows[0]}
    needed = sum(widths.values()) + GAP * (len(widths) - 1)
    out = []
    for key in spare:
        if needed <= width:
            break
        if key in widths:
            needed -= widths[key] + GAP
            out.append(key)
    return out


def show_one(row: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing: a JSON object, or one line for each of its fields."""
    if as_json:
        print_json(row)
        return
    grid = Table.grid(padding=(0, 2))
    for key, value in row.items():
        grid.add_row(key.replace("_", " "), text(value))
    stdout().print(grid)


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A rich table; numbers to the right."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for key in rows[0]:
        values = [row[key] for row in rows if row[key] is not None]
        numbers = values and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        grid.add_column(key.replace("_", " "), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(text(value) for value in row.values()))
    return grid


def text(value: object) -> Text:
    """A cell; what a stranger wrote into a name is neither markup nor a terminal's control code."""
    return Text(plain(cell(value)))


def cell(value: object) -> str:
    """A value for people: nothing for None, local second for a time, yes and no."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        case float():
            return f"{value:.6g}" if abs(value) < 100_000 else f"{value:.0f}"
    return str(value)


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
