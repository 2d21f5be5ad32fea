"""The dashboard against Grafana's own model of it: it knows everything that is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.support.project import ROOT

DASHBOARD = json.loads((ROOT / "docs" / "monitoring" / "grafana.json").read_text())


def read_and_written(dashboard: dict[str, Any]) -> Any:
    """What Grafana's model keeps of it."""
    register_default_plugins()
    return json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(dashboard)))


def lost(told: Any, kept: Any, place: str = "") -> Iterator[str]:
    """Where ``kept`` does not have what was told; it may have more."""
    if isinstance(told, dict) and isinstance(kept, dict):
        for name, value in told.items():
            yield from lost(value, kept.get(name), f"{place}/{name}")
    elif isinstance(told, list) and isinstance(kept, list) and len(told) == len(kept):
        for number, (one, other) in enumerate(zip(told, kept, strict=True)):
            yield from lost(one, other, f"{place}/{number}")
    elif told != kept:
        yield place


def test_grafana_knows_everything_in_it() -> None:
    assert list(lost(DASHBOARD, read_and_written(DASHBOARD))) == []


@pytest.mark.parametrize("name", ["titel", "datasourse"])
def test_an_unknown_member_is_found(name: str) -> None:
    panels = [{**DASHBOARD["panels"][0], name: "x"}, *DASHBOARD["panels"][1:]]
    wrong = {**DASHBOARD, "panels": panels}
    assert list(lost(wrong, read_and_written(wrong))) == [f"/panels/0/{name}"]


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24
