"""The live table of ``up``: the meters' values, read over MMS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from admin.mms.meter_values import GOOD, Told, read_at, worst_quality
from admin.tables import text
from broker.contract.quantities import HOUSEHOLD, INSTEAD, QUANTITIES, Quantity

COLUMNS = tuple(QUANTITIES[name] for name in HOUSEHOLD)
"""Of a plain meter; others show there what is next to it (`INSTEAD`)."""


def heading(row: Quantity) -> str:
    """Unit and phase; of a ratio the first letters of its label.

    >>> [heading(row) for row in COLUMNS]
    ['V', 'A', 'W', 'PF', 'Hz', 'Wh']
    """
    unit = row.unit or "".join(word[0] for word in row.label.split()).upper()
    return f"{unit} {row.phase}".rstrip()


@dataclass(frozen=True)
class Line:
    """A meter; ``told`` is None while it cannot be read."""

    name: str
    told: Mapping[str, Told] | None


def live_table(lines: Sequence[Line], *, now: datetime, more: int) -> Group:
    """The table; ``more`` meters have no room."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("meter")
    for row in COLUMNS:
        grid.add_column(heading(row), justify="right")
    for title in ("relay", "quality", "age s"):
        grid.add_column(title, justify="right" if title == "age s" else "left")
    for line in lines:
        grid.add_row(text(line.name), *_cells(line.told, now))
    hint = f"… and {more} more; " if more else ""
    return Group(grid, Text(f"{hint}Ctrl-C stops everything", style="dim"))


def _cells(told: Mapping[str, Told] | None, now: datetime) -> list[Any]:
    if told is None:
        return [*("" for _ in COLUMNS), "", Text("not served", style="red"), ""]
    quality = worst_quality(told)
    age = (now - read_at(told)).total_seconds()
    return [
        *(_number(told, row) for row in COLUMNS),
        str(told["relay"].value or "?") if "relay" in told else "none",
        Text(quality, style="green" if quality == GOOD else "yellow"),
        f"{max(0.0, age):.0f}",
    ]


def _number(told: Mapping[str, Told], row: Quantity) -> str:
    one = told.get(row.name) or told.get(INSTEAD.get(row.name, ""))
    return f"{one.value:.{row.decimals}f}" if one else ""
