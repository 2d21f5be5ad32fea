"""Mosquitto 2.0 forgets a signal that comes while it reads: each change is told more than once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chain import until
from tests.support.sites import Deployed, deployed


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Deployed]:
    with deployed(tmp_path) as running:
        yield running


def told(site: Deployed, what: str) -> int:
    return site.log("broker").count(what)


def test_a_change_is_read_again_after_a_while(site: Deployed) -> None:
    site.new_code()
    until(
        lambda: told(site, "Reloading config.") > told(site, "reads them again") > 0,
        why="Mosquitto has read more often than files were changed",
    )
