"""The live table of ``up``: the meters' values, read over MMS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from admin.mms.meter_values import GOOD, Told, worst_quality
from admin.output import text

# fmt: off
COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("voltage",      "V",   ".1f"),
    ("current",      "A",   ".3f"),
    ("power",        "W",   ".1f"),
    ("power_factor", "PF",  ".2f"),
    ("frequency",    "Hz",  ".2f"),
    ("energy",       "Wh",  "d"),
)
# fmt: on


@dataclass(frozen=True)
class Line:
    """A meter; ``told`` is None while it cannot be read."""

    name: str
    told: Mapping[str, Told] | None


def live_table(lines: Sequence[Line], *, now: datetime, more: int) -> Group:
    """The table; ``more`` meters have no room."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("meter")
    for _, unit, _ in COLUMNS:
        grid.add_column(unit, justify="right")
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
    age = (now - told["voltage"].ts).total_seconds()
    return [
        *(format(told[name].value, form) for name, _, form in COLUMNS),
        str(told["relay"].value or "?"),
        Text(quality, style="green" if quality == GOOD else "yellow"),
        f"{max(0.0, age):.0f}",
    ]
