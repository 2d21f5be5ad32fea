"""What the shell is offered: names of meters in service, and none that would run a command there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import typer

from admin.completion import meter_names

Offered = Callable[[str], list[str]]
HOSTILE = (
    "House $(reboot)", "House `reboot`", "House \\$(reboot)", 'House "; reboot; "', "House '; reboot; '",
    "House !reboot", "House \x1b[2J", "House\nreboot",
)  # fmt: skip


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offered:
    """Names for what was typed, from a database of honest, retired and hostile meters."""
    file = tmp_path / "x.sqlite"
    rows = [(name, None) for name in ("House 10", "House 2 (left); #3", "Garage", *HOSTILE)]
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE meter (key INTEGER PRIMARY KEY, name TEXT, retired_at INTEGER)")
        connection.executemany("INSERT INTO meter (name, retired_at) VALUES (?, ?)", [*rows, ("House 3", 1)])
    context = SimpleNamespace(params={"database": f"sqlite:///{file}"})
    context.find_root = lambda: context

    def names(typed: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", f"meter61850\nrelay\nopen\n{typed}")
        monkeypatch.setenv("COMP_CWORD", "3")
        begun = typed.lstrip("\"'")
        return meter_names(cast("typer.Context", context), begun, usual="", data_dir=tmp_path)

    return names


@pytest.mark.parametrize("quote", ['"', "'"])
def test_between_quotes_names_are_inserted_as_they_are(quote: str, offered: Offered) -> None:
    assert offered(f"{quote}House") == ["House 2 (left); #3", "House 10"]


def test_without_quotes_each_special_character_is_escaped(offered: Offered) -> None:
    assert offered("Hou") == ["House\\ 2\\ \\(left\\)\\;\\ \\#3", "House\\ 10"]


def test_without_a_database_nothing_is_offered(tmp_path: Path) -> None:
    context = SimpleNamespace(params={"database": f"sqlite:///{tmp_path}/none.sqlite"})
    context.find_root = lambda: context
    assert meter_names(cast("typer.Context", context), "", usual="", data_dir=tmp_path) == []
