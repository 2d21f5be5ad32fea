"""A table on a narrow terminal: columns are left out, and no cell is broken into letters."""

from __future__ import annotations

from admin.output import too_wide

ROWS = [
    {"name": "House 1", "meter_id": "x" * 36, "power": -363.8},
    {"name": "é" * 20, "meter_id": "y", "power": 1},
]
WIDTH = 20 + 2 + 36 + 2 + 6
"""Of all columns, each as wide as its widest cell."""


def test_a_table_that_fits_keeps_all() -> None:
    assert too_wide(ROWS, WIDTH, ["meter_id", "power"]) == []


def test_the_first_spare_column_gives_way_first_and_no_more_than_needed() -> None:
    assert too_wide(ROWS, WIDTH - 1, ["meter_id", "power"]) == ["meter_id"]
    assert too_wide(ROWS, WIDTH - 1, ["no such", "power", "meter_id"]) == ["power"]
    assert too_wide(ROWS, 10, ["meter_id", "power"]) == ["meter_id", "power"]


def test_without_spare_columns_all_stay() -> None:
    assert too_wide(ROWS, 1, ()) == []
