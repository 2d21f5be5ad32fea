"""Many who want much at the same time: some wait, the service goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from bridge.store.queries import Store
from tests.support.chain import until
from tests.support.inside import Inside, inside
from tests.support.stores import DAY0, meter_id, row
from web import app
from web.app import LARGEST_BODY, LARGEST_SCL
from web.run import keep_registry
from web.serving.budgets import Budget
from web.serving.problem import ProblemError

DIFF = "/api/v1/scl/diff"
READINGS = f"/api/v1/meters/{meter_id(1)}/readings"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Inside]:
    """The application and a meter with a reading."""
    with inside(tmp_path) as web:
        web.kept.put(row(1, 1, ts=DAY0, power=21.3))
        yield web


def narrow(web: Inside) -> Store:
    """The application's store with a single connection, for which nobody waits long."""
    engine = create_engine(web.kept.url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    web.parts.archive._store = store = Store(engine)
    return store


@contextmanager
def all_taken(budget: Budget) -> Iterator[None]:
    """Others have all of it."""
    with ExitStack() as held:
        for number in count():
            try:
                held.enter_context(budget.place(f"other{number}"))
            except ProblemError:
                break
        yield


async def test_without_a_free_connection_an_answer_is_503(web: Inside) -> None:
    with narrow(web)._engine.connect():
        for path in (READINGS, "/api/v1/commands", "/api/v1/commands/some"):
            answer = await web.client.get(path)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "2"
            assert answer.headers["content-type"] == "application/problem+json"
        assert "timed out" in (await web.client.get("/api/v1/health")).json()["database"]
    assert (await web.client.get(READINGS)).status_code == 200


async def test_without_a_free_connection_the_registry_waits(
    web: Inside, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "web.run")
    with narrow(web)._engine.connect():
        keeping = asyncio.create_task(keep_registry(web.parts, asyncio.Event()))
        await asyncio.to_thread(until, lambda: caplog.records or keeping.done())
    assert not keeping.done(), keeping
    keeping.cancel()


async def test_at_most_a_few_exports_at_the_same_time(web: Inside) -> None:
    with all_taken(web.parts.budgets.exports):
        for kind in ("text/csv", "application/vnd.apache.parquet"):
            answer = await web.client.get(READINGS, headers={"Accept": kind})
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "5"
        assert (await web.client.get(READINGS)).status_code == 200
    for _ in range(10):  # each gives its place back
        assert (await web.client.get(READINGS, headers={"Accept": "text/csv"})).status_code == 200


async def pieces(octets: int, taken: list[int]) -> AsyncIterator[bytes]:
    """A body without a length; ``taken`` tells what was read of it."""
    for _ in range(octets // 10_000):
        taken.append(10_000)
        yield bytes(10_000)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer guessed"}])
async def test_nobody_without_a_login_has_us_keep_much(web: Inside, headers: dict[str, str]) -> None:
    taken: list[int] = []
    del web.client.headers["Authorization"]
    answers = [
        await web.client.post(DIFF, content=bytes(LARGEST_BODY + 1), headers=headers),
        await web.client.post(DIFF, content=pieces(LARGEST_SCL, taken), headers=headers),
    ]
    assert [answer.status_code for answer in answers] == [413, 401]
    assert sum(taken) < 2 * LARGEST_BODY


async def test_a_file_that_does_not_come_gives_its_place_back(
    web: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def vanished() -> AsyncIterator[bytes]:
        yield b"<SCL"
        await asyncio.Event().wait()

    monkeypatch.setattr(app, "UPLOAD_SECONDS", 0.05)
    for _ in range(3):
        answer = await asyncio.wait_for(web.client.post(DIFF, content=vanished()), 60)
        assert answer.status_code == 408


async def test_at_most_a_few_files_are_compared_at_the_same_time(web: Inside) -> None:
    with all_taken(web.parts.budgets.comparisons):
        answer = await web.client.post(DIFF, content=b"<SCL/>")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await web.client.get(READINGS)).status_code == 200
    for _ in range(10):
        assert (await web.client.post(DIFF, content=bytes(LARGEST_BODY + 1))).status_code == 404  # no SCD
