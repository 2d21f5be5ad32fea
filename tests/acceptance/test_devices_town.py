"""A small town of mixed devices; adapter, bridge and both brokers are killed: told = stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.devices.plan import TARGETS, kills
from tests.devices.run import run
from tests.devices.town import Layout

SEED = 7
SECONDS = 16.0
GAP = 4.0


@pytest.mark.timeout(900)
def test_what_each_device_told_is_stored_once_after_kills_of_all_parts(tmp_path: Path) -> None:
    assert {kill.target for kill in kills(SEED, seconds=SECONDS, gap=GAP)} == {*TARGETS}
    layout = Layout(devices=12, interval=2.0, resend_after=1.0)
    verdict = run(tmp_path, layout, seed=SEED, seconds=SECONDS, gap=GAP, say=print)
    assert verdict.passed, str(verdict.ledger)
    assert verdict.ledger.stored > verdict.ledger.told / 4
    assert verdict.wired > SECONDS / 2
