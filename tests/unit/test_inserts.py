"""Every INSERT names its columns: in a table with one more, or in another order, no value is mistaken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = (
    "admin",
    "bench",
    "bridge",
    "broker",
    "meter_firmware",
    "mms_bridge",
    "registrar",
    "scl_builder",
    "web",
)

_INSERT = re.compile(
    r"\b(?:INSERT(?:\s+OR\s+\w+)?|REPLACE)\s+INTO\s+(?:\{[^}]*\}|[\w.\"]+)\s*(\S)", re.IGNORECASE
)
_COPY = re.compile(r"\bCOPY\s+\w+\s*(\S+)(?=[^\n]*\bSTDIN)", re.IGNORECASE)


def without_columns(source: str) -> list[str]:
    """The beginnings of statements that do not name their columns."""
    text = re.sub(r"[\"']\s*\n\s*f?[\"']", " ", source)  # literals that Python joins
    return [
        match[0] for pattern in (_INSERT, _COPY) for match in pattern.finditer(text) if match[1][0] != "("
    ]


@pytest.mark.parametrize("part", PARTS)
def test_every_insert_names_its_columns(part: str) -> None:
    files = sorted((ROOT / part).rglob("*.py"))
    assert files
    found = {str(file.relative_to(ROOT)): without_columns(file.read_text()) for file in files}
    assert {name: some for name, some in found.items() if some} == {}


@pytest.mark.parametrize(
    "statement",
    [
        '"INSERT INTO meter VALUES (?, ?)"',
        '"INSERT OR IGNORE INTO meter\\n VALUES (?)"',
        'f"INSERT INTO {Due.__tablename__} SELECT 1"',
        '"REPLACE INTO meter SELECT * FROM other"',
        '"INSERT INTO meter"\n    " VALUES (?)"',
        '"COPY staging FROM STDIN (FORMAT BINARY)"',
    ],
)
def test_what_is_found(statement: str) -> None:
    assert without_columns(statement.replace("\\n", "\n"))


def test_what_is_right() -> None:
    assert not without_columns('"INSERT INTO meter (key) VALUES (?)", f"COPY staging ({names}) FROM STDIN"')
    assert not without_columns('"INSERT INTO meter"\n    " (key) VALUES (?)"')
