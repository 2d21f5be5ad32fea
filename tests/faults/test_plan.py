"""The plan is the seed's, and nothing else's."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.faults.plan import KEEPALIVE, KINDS, Fault, plan, targets

EVERYTHING = targets(3, file=True, restart=True)


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_is_reproducible_and_keeps_its_promises(seed: int) -> None:
    faults = plan(seed, seconds=600, targets=EVERYTHING)
    assert faults == plan(seed, seconds=600, targets=EVERYTHING)
    assert len(faults) >= 50
    assert {fault.kind for fault in faults} == {kind.name for kind in KINDS}
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)
    assert max(fault.at + fault.seconds for fault in faults) <= 600
    assert min(fault.seconds for fault in faults if fault.kind == "stop") > 1.5 * KEEPALIVE


@pytest.mark.parametrize("seed", range(20))
def test_faults_of_one_target_never_overlap(seed: int) -> None:
    faults = plan(seed, seconds=600, targets=EVERYTHING, gap=0.5)
    for target in {fault.target for fault in faults}:
        ours = [fault for fault in faults if fault.target == target]
        assert all(one.at + one.seconds < next_.at for one, next_ in pairwise(ours)), target


def test_another_seed_is_another_plan_and_what_cannot_be_hurt_is_left_alone() -> None:
    assert plan(1, seconds=60, targets=EVERYTHING) != plan(2, seconds=60, targets=EVERYTHING)
    kinds = {fault.kind for fault in plan(1, seconds=600, targets=targets(1, disk=False))}
    assert kinds == {kind.name for kind in KINDS} - {"disk full", "restart", "read-only"}
    assert "clock" in str(Fault(1.0, "clock", "meters1 clock", 2.0, "-3600"))
