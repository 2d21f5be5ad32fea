"""The bridge's wall clock goes wrong in all that reads it, and the clock that nobody sets stays right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.site import ROOT

ASK = """
import sys, time
from pathlib import Path
from tests.faults.wrong_clock import WrongClock
right, steady = time.time_ns() // 1_000_000, time.monotonic()
WrongClock(Path(sys.argv[1])).install()
import bridge.store.upkeep
from bridge.store.audit import now_ms
from bridge.store.clock import Clock
from broker.contract.messages import utc_now
clock = Clock()
walls = now_ms(), round(utc_now().timestamp() * 1000), bridge.store.upkeep.time_ns() // 1_000_000
print(*(wall - right for wall in walls))
print((time.monotonic() - steady) * 1000)
(Path(sys.argv[1]) / "clock").write_text("0")
print(clock.in_doubt)
"""


@pytest.mark.parametrize("offset", ["-3600", "-1.5", "0", "1.5", "86400"])
def test_every_look_at_the_wall_clock_is_wrong_by_as_much(tmp_path: Path, offset: str) -> None:
    (tmp_path / "clock").write_text(offset)
    told = subprocess.run(
        [sys.executable, "-c", ASK, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    walls, steady, doubt = told.stdout.splitlines()
    for wall in walls.split():
        ahead = float(wall) - 1000 * float(offset)
        assert -1 <= ahead <= float(steady) + 1, "by no more than the time that it took"
    assert float(steady) >= 0
    assert doubt == str(abs(float(offset)) > 2)
