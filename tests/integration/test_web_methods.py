"""What a path may be asked: HEAD wherever something can be fetched; a 405 names all that is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bridges import TOPICS, birth
from tests.support.inside import Inside, inside
from tests.support.stores import DAY0, meter_id, row

METER = f"/api/v1/meters/{meter_id(1)}"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Inside]:
    """The application and a meter with a reading."""
    with inside(tmp_path) as web:
        web.kept.put(row(1, 1, ts=DAY0, power=21.3))
        web.parts.live.take(TOPICS.meter(meter_id(1), "birth"), birth().encode(), retained=True)
        yield web


@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/meters",
        "/api/v1/meters/latest",
        f"{METER}/readings?start=2026-11-23T00:00:00Z&end=2026-11-24T00:00:00Z",
        "/api/v1/commands/none",
        "/openapi.json",
        "/healthz",
        "/login",
    ],
)
async def test_head_is_get_without_a_body(web: Inside, path: str, accept: str) -> None:
    whole = await web.client.get(path, headers={"Accept": accept})
    head = await web.client.head(path, headers={"Accept": accept})
    assert (head.status_code, head.content) == (whole.status_code, b"")
    for name in ("content-type", "content-length", "etag", "content-security-policy"):
        assert head.headers.get(name) == whole.headers.get(name)


async def test_head_finds_what_is_known(web: Inside) -> None:
    first = await web.client.head("/api/v1/meters")
    again = await web.client.head("/api/v1/meters", headers={"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code) == (200, 304)


async def test_head_needs_rights_and_starts_no_stream(web: Inside) -> None:
    assert (await web.client.head("/api/v1/stream")).status_code == 405
    del web.client.headers["Authorization"]
    assert (await web.client.head("/api/v1/meters")).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", METER, "GET, HEAD, DELETE"),
        ("POST", "/api/v1/meters", "GET, HEAD"),
        ("GET", f"{METER}/relay", "POST"),
        ("HEAD", f"{METER}/relay", "POST"),
        ("POST", "/api/v1/stream", "GET"),
        ("HEAD", "/api/v1/stream", "GET"),
        ("DELETE", "/login", "GET, HEAD, POST"),
        ("PATCH", "/openapi.json", "GET, HEAD"),
    ],
)
async def test_a_405_names_all_that_is_allowed(web: Inside, method: str, path: str, allowed: str) -> None:
    answer = await web.client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers.get_list("allow") == [allowed]
