"""Pages that follow each other while the world changes: nothing twice, nothing left out, no error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.bridges import TOPICS, birth
from tests.support.inside import Inside, inside
from tests.support.stores import meter_id, series

NAMES = ["House 2", "House 10", "House 10", "x" * 255, "ÿ" * 255]
IDS = [meter_id(number) for number, _ in enumerate(NAMES, start=1)]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Inside]:
    """The application and some meters."""
    with inside(tmp_path) as web:
        for number, name in enumerate(NAMES, start=1):
            tell(web, number, birth(name=name))
        yield web


def tell(web: Inside, number: int, payload: str) -> None:
    """Let the application hear of a meter; nothing takes it out of service."""
    web.parts.live.take(TOPICS.meter(meter_id(number), "birth"), payload.encode(), retained=False)


async def page(web: Inside, path: str, **query: Any) -> Any:
    """A page; AssertionError unless 200."""
    answer = await web.client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_pages_go_on_after_a_meter_that_went(web: Inside) -> None:
    expected = [meter["meter_id"] for meter in (await page(web, "/api/v1/meters"))["meters"]]
    seen, query = [], {"limit": 1}
    for _ in NAMES:
        told = await page(web, "/api/v1/meters", **query)
        (meter,) = told["meters"]
        seen.append(meter["meter_id"])
        query["after"] = told["next"]
        tell(web, 1 + IDS.index(meter["meter_id"]), "")
    assert (seen, told["next"]) == (expected, None)


async def test_pages_go_on_after_a_meter_that_no_filter_shows_any_more(web: Inside) -> None:
    told = await page(web, "/api/v1/meters", limit=1, search="House")
    tell(web, 1, birth(name="Barn"))
    rest = await page(web, "/api/v1/meters", search="House", after=told["next"])
    assert [meter["meter_id"] for meter in rest["meters"]] == [meter_id(2), meter_id(3)]


async def test_pages_are_of_the_resolution_of_the_first(web: Inside) -> None:
    """Without ``end`` the range grows meanwhile: beyond 25 h it would be hours, beyond 32 days days."""
    web.kept.put(*series(1, 5))
    path, query = f"/api/v1/meters/{meter_id(1)}/readings", {"start": "2026-11-23T00:00:00Z", "limit": 2}
    told = await page(web, path, **query, end="2026-11-24T00:00:00Z")
    seen = [row["seq"] for row in told["readings"]]
    for end in ("2026-11-25T12:00:00Z", "2026-12-31T00:00:00Z"):
        told = await page(web, path, **query, end=end, after=told["next"])
        assert told["resolution"] == "raw"
        seen += [row["seq"] for row in told["readings"]]
    assert (seen, told["next"]) == ([1, 2, 3, 4, 5], None)


async def test_another_resolution_has_no_such_page(web: Inside) -> None:
    web.kept.put(*series(1, 5))
    path, query = f"/api/v1/meters/{meter_id(1)}/readings", {"start": "2026-11-23T00:00:00Z"}
    told = await page(web, path, **query, end="2026-11-24T00:00:00Z", limit=2)
    again = {**query, "after": told["next"], "resolution": "hour"}
    answer = await web.client.get(path, params=again)
    assert answer.status_code == 422
    assert answer.json()["detail"] == "resolution hour: the previous pages have raw"
