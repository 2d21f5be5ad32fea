"""docs/threats.md: every test that it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from registrar import layout

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "threats.md").read_text()
REFERENCE = re.compile(r"(tests/[\w/]+\.py)::(\w+)")


@cache
def names_of_tests(path: str) -> frozenset[str]:
    """Names of the test functions of a file; empty if there is no such file."""
    file = ROOT / path
    tree = ast.parse(file.read_text() if file.exists() else "")
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(one.name for one in functions if one.name.startswith("test_"))


@pytest.mark.parametrize(("path", "name"), sorted(set(REFERENCE.findall(TEXT))))
def test_it_names_a_test_that_there_is(path: str, name: str) -> None:
    assert name in names_of_tests(path)


def test_its_table_of_files_is_that_of_the_layout() -> None:
    """Service → user → files; units, compose and `init` follow the same table."""
    begin = TEXT.index("| service | user | reads | writes |")
    rows = TEXT[begin : TEXT.index("\n\n", begin)].splitlines()[2:]
    assert rows == [f"| {' | '.join(row)} |" for row in layout.describe()]


def test_every_denial_has_a_test() -> None:
    """What an attacker can do needs none; what he cannot does."""
    denials = [line for line in TEXT.splitlines() if "| cannot |" in line]
    assert len(denials) > 25
    assert [line for line in denials if not REFERENCE.search(line)] == []
