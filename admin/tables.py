"""How a table fits a terminal: columns that give way, cells of several lines, and at last one line per field.

>>> heading("power"), heading("read_at"), heading("voltage_l1_mean")
('power W', 'read at', 'voltage l1 mean V')
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from rich.table import Table
from rich.text import Text

from admin.plain import plain
from broker.contract.quantities import QUANTITIES

Row = Mapping[str, Any]

GAP = 2
"""Characters between two columns."""
PROSE = frozenset(
    {"address", "cause", "cure", "data_sets", "detail", "doubts", "file", "logical_nodes", "options",
     "payload", "quantities", "reason", "refused because", "reports", "server", "value"}
)  # fmt: skip
"""Columns of words: a cell may have several lines. All other cells stay on one."""
NARROWEST = 18
"""Characters of a column of words; with less room each field gets a line of its own."""
_OTHER_UNITS = {"interval": "s", "energy_used": "Wh", "energy_doubtful": "Wh", "bytes": "B", "size": "B"}
_STATISTICS = ("_min", "_mean", "_max")


@cache
def unit_of(name: str) -> str:
    """The unit of a field; empty if it has none.

    >>> unit_of("energy"), unit_of("power_max"), unit_of("name")
    ('Wh', 'W', '')
    """
    for ending in ("", *_STATISTICS):
        row = QUANTITIES.get(name.removesuffix(ending))
        if name.endswith(ending) and row is not None:
            return row.unit
    return _OTHER_UNITS.get(name, "")


def heading(name: str) -> str:
    """What stands above a column: the field and its unit."""
    return f"{name.replace('_', ' ')} {unit_of(name)}".rstrip()


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


def text(value: object) -> Text:
    """A cell; what a stranger wrote into a name is neither markup nor a terminal's control code."""
    return Text(plain(cell(value)))


def too_wide(rows: Sequence[Row], width: int, spare: Iterable[str]) -> list[str]:
    """The columns of ``spare`` to leave out, so that a table has ``width`` characters at most.

    Empty columns first, which tell nothing.
    """
    widths = {key: _width(rows, key) for key in rows[0]}
    needed = sum(widths.values()) + GAP * (len(widths) - 1)
    candidates = [key for key in spare if key in widths]
    empty = [key for key in candidates if all(row[key] in (None, "") for row in rows)]
    out = []
    for key in (*empty, *(key for key in candidates if key not in empty)):
        if needed <= width:
            break
        needed -= widths[key] + GAP
        out.append(key)
    return out


def _width(rows: Sequence[Row], key: str) -> int:
    """Of a column on one line; of one of words no more than its cells need to be read."""
    longest = max(text(row[key]).cell_len for row in rows)
    return max(len(heading(key)), min(longest, NARROWEST) if key in PROSE else longest)


def fits(rows: Sequence[Row], width: int) -> bool:
    """Whether no cell has to be broken but those of words."""
    return sum(_width(rows, key) for key in rows[0]) + GAP * (len(rows[0]) - 1) <= width


def table(rows: Sequence[Row]) -> Table:
    """A rich table; numbers to the right."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for key in rows[0]:
        values = [row[key] for row in rows if row[key] is not None]
        numbers = values and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        grid.add_column(
            heading(key),
            justify="right" if numbers else "left",
            overflow="fold",
            no_wrap=key not in PROSE,
            min_width=_width(rows, key),
        )
    for row in rows:
        grid.add_row(*(text(value) for value in row.values()))
    return grid


def record(row: Row) -> Table:
    """One thing: a line for each of its fields, with units."""
    grid = Table.grid(padding=(0, GAP))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for key, value in row.items():
        unit = unit_of(key) if isinstance(value, int | float) and not isinstance(value, bool) else ""
        grid.add_row(key.replace("_", " "), Text(f"{plain(cell(value))} {unit}".rstrip()))
    return grid
