"""The short form: the whole chain, hurt in every way within half a minute, on both databases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults.disk import may_mount
from tests.faults.plan import KINDS, Fault, plan, targets
from tests.faults.run import DATABASE_AWAY, run
from tests.faults.site import DatabaseKind, Layout

SEED = 2063
"""Its plans for the two databases hurt each role in each way."""
SECONDS = 24.0
GAP = 0.75


def kind_and_role(fault: Fault) -> tuple[str, str]:
    """Whom it strikes, whatever its number."""
    return fault.kind, "clock" if fault.kind == "clock" else re.sub(r"\d", "", fault.target)


def test_both_short_plans_together_hurt_every_role_in_every_way() -> None:
    on_sqlite = plan(SEED, seconds=SECONDS, targets=targets(3, file=may_mount()), gap=GAP)
    on_postgresql = plan(SEED, seconds=SECONDS, targets=targets(3, restart=True), gap=GAP)
    struck = {kind_and_role(fault) for fault in on_sqlite + on_postgresql}
    roles = {(kind.name, role) for kind in KINDS for role in kind.roles}
    assert struck == {(kind, "disk" if role == "file" else role) for kind, role in roles}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_reading_is_stored_once_after_all_faults(database: DatabaseKind, tmp_path: Path) -> None:
    layout = Layout(database, seconds=SECONDS)
    verdict = run(tmp_path, layout, seed=SEED, gap=GAP)
    assert verdict.passed, "\n".join([f"seed {SEED}", *verdict.problems, str(verdict.ledger)])
    assert DATABASE_AWAY in (tmp_path / "bridge.log").read_text(), "no fault reached the database"
    undisturbed = layout.processes * layout.meters * SECONDS / layout.interval
    assert verdict.ledger.taken > undisturbed / 3
