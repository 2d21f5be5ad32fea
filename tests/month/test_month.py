"""A small street for a day: what is stored is what was true, and a replay changes nothing."""

from __future__ import annotations

from tests.month.run import deliver, judge, replay
from tests.month.simulation import Month
from tests.support.stores import keeping

pytest_plugins = ("tests.support.databases",)

NOTHING = (None, False, range(0))


def test_a_small_street(sqlite_url: str) -> None:
    month = Month(seed=61850, houses=8, days=1, interval=900, per_feeder=4, cuts={1: range(40, 48)})
    happens = {name for one in month.events for name, value in vars(one).items() if value not in NOTHING}
    assert happens == {"reset", "unheard", "ahead", "copied", "theft"}
    assert any(month.untouched())
    with keeping(sqlite_url) as kept:
        deliver(kept, month, lambda *_: None)
        found = judge(kept, month)
        assert found == {what: [] for what in found}
        assert replay(kept, month) == []
