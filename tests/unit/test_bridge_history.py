"""What the SCD's history says of births: whether a SCADA must import the file again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.scl.history import of_meters
from scl_builder.build.project import Ied, Meter
from tests.support.scd import house

SPARES = (Meter("", "M2"), Meter("", "M3"))
BEFORE = Ied("SMGW001", "127.0.0.1", 102, (house(1), *SPARES), changes=3)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (replace(BEFORE, meters=(house(1), house(2), SPARES[1])), ["1 meter added in spare logical devices"]),
        (
            replace(BEFORE, meters=(house(1), *SPARES, house(4)), changes=4),
            ["1 meter added"],
        ),
        (
            replace(BEFORE, meters=(house(1), house(2), house(3), house(4), Meter("", "M5")), changes=5),
            ["3 meters added", "1 spare logical device more"],
        ),
        (replace(BEFORE, meters=SPARES, changes=4), ["1 meter withdrawn"]),
        (replace(BEFORE, meters=(house(1, name="Mill"), *SPARES)), ["1 meter changed"]),
    ],
)
def test_what_births_have_changed(after: Ied, words: list[str]) -> None:
    assert [change.what for change in of_meters((BEFORE,), (after,))] == words
