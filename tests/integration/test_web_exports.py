"""Readings as a file: nothing is left of it on disk, it is small on the way, and told once."""

from __future__ import annotations

import io
import os
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
from fastapi import Request

from bridge.store.export import Table
from tests.support.inside import Inside, inside
from tests.support.stores import DAY0, meter_id, series
from web.api.exports import export
from web.serving.answers import CSV, PARQUET

COUNT = 3000
"""Readings: more than one piece of a file."""
PATH = f"/api/v1/meters/{meter_id(1)}/readings?start=2026-11-23T00:00:00Z&end=2026-11-24T00:00:00Z"


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are made."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def web(tmp_path: Path, scratch: Path) -> Iterator[Inside]:
    """The application and a meter with some readings."""
    with inside(tmp_path) as web:
        web.kept.put(*series(1, COUNT))
        yield web


async def get(web: Inside, kind: str, **headers: str) -> httpx.Response:
    """An export; uncompressed unless asked for."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await web.client.get(PATH, headers={"Accept": kind, "Accept-Encoding": "identity", **named})


@pytest.mark.parametrize("kind", [CSV, PARQUET])
@pytest.mark.parametrize("asked", ["bytes=0-1", "bytes=9999999-", "nonsense"])
async def test_all_of_it_is_sent_and_nothing_stays(web: Inside, scratch: Path, kind: str, asked: str) -> None:
    answer = await get(web, kind, Range=asked)
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    table = io.BytesIO(answer.content)
    rows = pq.read_table(table).num_rows if kind == PARQUET else len(answer.text.splitlines()) - 1
    assert rows == COUNT
    assert os.listdir(scratch) == []


async def test_csv_is_compressed_for_who_takes_it(web: Inside) -> None:
    plain, smaller = await get(web, CSV), await get(web, CSV, Accept_Encoding="gzip")
    assert "content-encoding" not in plain.headers
    assert smaller.headers["content-encoding"] == "gzip"
    assert smaller.text == plain.text
    assert int(smaller.headers["content-length"]) < len(plain.content) / 3
    assert "content-encoding" not in (await get(web, PARQUET, Accept_Encoding="gzip")).headers


@pytest.mark.parametrize("kind", [CSV, PARQUET])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_what_is_the_same_is_told_once(web: Inside, kind: str, encoding: str) -> None:
    first = await get(web, kind, Accept_Encoding=encoding)
    known = {"If_None_Match": first.headers["etag"], "Accept_Encoding": encoding}
    again = await get(web, kind, **known)
    assert (again.status_code, again.content) == (304, b"")
    web.kept.put(*series(1, 1, first=COUNT + 1, start=DAY0 + COUNT * 10_000))
    assert (await get(web, kind, **known)).status_code == 200


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_memory_does_not_grow_with_the_rows_and_the_file_has_no_name(encoding: str, scratch: Path) -> None:
    headers = [(b"accept-encoding", encoding.encode())]
    request = Request({"type": "http", "method": "GET", "headers": headers})
    rows = ((DAY0 + number, float(number)) for number in range(50_000))
    tracemalloc.start()
    answer = export(request, Table(("ts", "power"), rows), CSV, name="x", place=nullcontext())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000
    assert int(answer.headers["content-length"]) > 100_000
    assert os.listdir(scratch) == [], "it is not sent yet"
