"""The table of test cases names tests that exist, by groups of part 10, and says where there is none."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tools.docs.conformance import conformance_markdown
from tools.docs.conformance_stacks import CLIENTS, READERS
from tools.docs.conformance_tests import CASES, GROUPS, NO_TEST, NOT_OFFERED, Case

ROOT = Path(__file__).resolve().parents[2]


@cache
def functions(file: str) -> frozenset[str]:
    """The test functions of a file."""
    path = ROOT / file
    if not path.exists():
        return frozenset()
    found = ast.parse(path.read_text()).body
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(one.name for one in found if isinstance(one, kinds) and one.name.startswith("test_"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.text}")
def test_each_named_test_exists(case: Case) -> None:
    for test in case.tests:
        file, _, name = test.partition("::")
        assert name in functions(file), f"{test}: no such test; change tools/docs/conformance_tests.py"


def test_each_case_has_a_test_or_says_why_not() -> None:
    for case in CASES:
        assert bool(case.tests) != bool(case.instead), case
        assert case.tests or case.instead in (NOT_OFFERED, NO_TEST)
    assert len({(case.group, case.text) for case in CASES}) == len(CASES)


def test_each_group_has_cases_in_the_documents_order() -> None:
    groups = [case.group.removesuffix("N") for case in CASES]
    assert list(dict.fromkeys(groups)) == list(GROUPS)
    assert groups == sorted(groups, key=list(GROUPS).index)


def test_each_case_is_in_the_document() -> None:
    text = conformance_markdown()
    for case in CASES:
        assert f"| {case.group} | {case.text} | " in text
        assert all(f"`{test.removeprefix('tests/')}`" in text for test in case.tests)


def test_the_tests_of_other_software_exist_and_have_the_locked_versions() -> None:
    lock = (ROOT / "requirements/dev.lock").read_text()
    for one in (*CLIENTS, *READERS):
        assert not one.test or (ROOT / "tests" / one.test).exists(), one
        package = one.name.split()[0]
        if one.test and f"\n{package}==" in lock:
            assert f"\n{package}=={one.version} " in lock, "run it again, and change the table"
