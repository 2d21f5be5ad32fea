"""The examples in the docstrings of scl_builder run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import scl_builder

MODULES = [
    "scl_builder",
    *(found.name for found in pkgutil.walk_packages(scl_builder.__path__, "scl_builder.")),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_there_are_examples() -> None:
    attempted = sum(doctest.testmod(importlib.import_module(name)).attempted for name in MODULES)
    assert attempted >= 20
