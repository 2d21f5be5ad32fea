"""A table on a narrow terminal: columns are left out, words wrap, and no cell is broken into letters."""

from __future__ import annotations

import pytest
from rich.console import Console

from admin import output
from admin.output import show
from admin.tables import fits, heading, table, too_wide, unit_of
from broker.contract.quantities import QUANTITIES

ROWS = [
    {"name": "House 1", "meter_id": "x" * 36, "power": -363.8},
    {"name": "é" * 20, "meter_id": "y", "power": 1},
]
WIDTH = 20 + 2 + 36 + 2 + len("power W")
"""Of all columns, each as wide as its widest cell or its heading."""
TOLD: dict[str, object] = {
    "what": "House 1",
    "detail": "the certificate of a meter ends on Sunday, " * 3,
    "by": "anna",
}


def rendered(rows: list[dict[str, object]], width: int) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(table(rows))
    return capture.get()


def test_a_table_that_fits_keeps_all() -> None:
    assert too_wide(ROWS, WIDTH, ["meter_id", "power"]) == []


def test_the_first_spare_column_gives_way_first_and_no_more_than_needed() -> None:
    assert too_wide(ROWS, WIDTH - 1, ["meter_id", "power"]) == ["meter_id"]
    assert too_wide(ROWS, WIDTH - 1, ["no such", "power", "meter_id"]) == ["power"]
    assert too_wide(ROWS, 10, ["meter_id", "power"]) == ["meter_id", "power"]


def test_an_empty_column_gives_way_before_one_that_tells_something() -> None:
    rows = [row | {"blocked": None} for row in ROWS]
    assert too_wide(rows, WIDTH, ["meter_id", "blocked"]) == ["blocked"]


def test_without_spare_columns_all_stay() -> None:
    assert too_wide(ROWS, 1, ()) == []


def test_words_wrap_and_everything_else_stays_on_one_line() -> None:
    lines = rendered([TOLD], 50).splitlines()
    assert len(lines) > 3
    assert [line for line in lines if "House 1  " in line] == [lines[1]]
    assert lines[1].endswith("anna")
    assert all(len(line) <= 50 for line in lines)


def test_what_does_not_fit_at_all_has_a_line_for_each_field(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "stdout", lambda: Console(width=40, color_system=None))
    assert not fits(ROWS, 40)
    show(ROWS, as_json=False)
    out = capsys.readouterr().out
    assert "x" * 36 not in out.splitlines()[0]
    assert f"meter id  {'x' * 29}" in out
    assert "power     -363.8 W" in out
    assert out.count("x") == 36


@pytest.mark.parametrize("row", QUANTITIES.values(), ids=lambda row: row.name)
def test_every_quantity_is_shown_with_its_unit(row: object) -> None:
    name, unit = row.name, row.unit  # type: ignore[attr-defined]
    assert unit_of(name) == unit
    assert unit_of(f"{name}_mean") == unit
    assert heading(name).endswith(unit)
