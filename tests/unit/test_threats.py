"""docs/threats.md: every test that it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "threats.md").read_text()
HERE, _, PENDING = TEXT.partition("\n## Pending\n")
"""Only tests in the section Pending may be missing; without that section none may."""
REFERENCE = re.compile(r"(tests/[\w/]+\.py)::(\w+)")


@cache
def names_of_tests(path: str) -> frozenset[str]:
    """Names of the test functions of a file; empty if there is no such file."""
    file = ROOT / path
    tree = ast.parse(file.read_text() if file.exists() else "")
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(one.name for one in functions if one.name.startswith("test_"))


@pytest.mark.parametrize(("path", "name"), sorted(set(REFERENCE.findall(HERE))))
def test_it_names_a_test_that_there_is(path: str, name: str) -> None:
    assert name in names_of_tests(path)


def test_what_is_pending_is_named_in_full() -> None:
    rows = [line for line in PENDING.splitlines() if line.startswith("| ") and "shown by" not in line]
    assert [row for row in rows if not REFERENCE.search(row)] == []


def test_every_denial_has_a_test() -> None:
    """What an attacker can do needs none; what he cannot does."""
    denials = [line for line in TEXT.splitlines() if "| cannot |" in line]
    assert len(denials) > 25
    assert [line for line in denials if not REFERENCE.search(line)] == []


def test_what_is_claimed_is_not_pending_too() -> None:
    assert set(REFERENCE.findall(HERE)) & set(REFERENCE.findall(PENDING)) == set()
