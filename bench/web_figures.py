"""The figures of the web's benchmark (`bench.web`), each taken from a service that runs."""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import func, select
from sqlmodel import col

from bench.ingest import line, process
from bench.web_listen import WARM_UP
from bridge.store import database
from bridge.store.tables import DAY_MS, Meter, Reading, moment
from broker.contract.messages import format_ts
from tests.support.brokers import free_port
from tests.support.browser import browser
from tests.support.browser import log_in as log_in_browser
from tests.support.chain import until
from tests.support.web import Web
from web.auth.accounts import Role

DAY = 8640
OF_STORE = col(Reading.epoch) == 1
Figures = dict[str, float]


class Client:
    """One connection; milliseconds of each request."""

    def __init__(self, port: int, token: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"Accept-Encoding": "gzip", "Authorization": f"Bearer {token}"}

    def get(self, path: str) -> bytes:
        """The body as it was sent."""
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body[:300]
        return body

    def times(self, path: str, count: int, *, pause: float = 0.0) -> list[float]:
        """ms of each of ``count`` requests."""
        found = []
        for _ in range(count):
            time.sleep(pause)
            begin = time.perf_counter()
            self.get(path)
            found.append(1000 * (time.perf_counter() - begin))
        return found


def told(name: str, times: list[float]) -> Figures:
    """p50 and p99 in ms, and requests a second."""
    ordered = sorted(times)
    return {
        f"{name}_p50_ms": ordered[len(ordered) // 2],
        f"{name}_p99_ms": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
        f"{name}_per_s": 1000 / statistics.fmean(times),
    }


def latest(web: Web, options: argparse.Namespace, name: str, *, pause: float) -> Figures:
    """The latest of all, and the bare route with the same bytes."""
    client = Client(web.port, web.tokens[Role.OBSERVER])
    body = client.get("/api/v1/meters/latest")
    file = web.chain.folder / "latest.gz"
    file.write_bytes(body)
    port = free_port()
    figures = told(name, client.times("/api/v1/meters/latest", options.requests, pause=pause))
    with process(sys.executable, "-m", "bench.web", "--bare", str(file), "--port", str(port)):
        reference = Client(port)
        until(lambda: _answers(reference), why="the bare route")
        figures |= told(f"{name}_bare", reference.times("/", options.requests, pause=pause))
    figures[f"{name}_of_bare"] = figures[f"{name}_bare_p50_ms"] / figures[f"{name}_p50_ms"]
    figures[f"{name}_kb"] = len(body) / 1000
    return figures


def _answers(client: Client) -> bool:
    try:
        return bool(client.get("/"))
    except OSError:
        client._connection.close()
        return False


def day(web: Web, options: argparse.Namespace) -> Figures:
    """A meter's day, of a meter that was not asked for before."""
    client, figures = Client(web.port, web.tokens[Role.OBSERVER]), Figures()
    first, end, meters = filled(web.chain.url)
    draw = random.Random(options.stored)
    kinds: dict[str, tuple[str, Callable[[], int]]] = {
        "day": ("rows", lambda: end - DAY_MS),
        "day_columns": ("columns", lambda: end - DAY_MS),
        "month_day": ("rows", lambda: draw.randrange(first, end - DAY_MS + 1)),
    }
    for name, (layout, begin) in kinds.items():
        forget_pages()
        times = []
        for meter in draw.choices(meters, k=options.requests):
            start = moment(begin())
            query = f"start={format_ts(start)}&end={format_ts(start + timedelta(days=1))}"
            path = f"/api/v1/meters/{meter}/readings?{query}&resolution=raw&layout={layout}"
            times += client.times(path, 1)
        assert gzip.decompress(client.get(path)).count(b"Z") >= layout.count("rows") * DAY
        figures |= told(name, times)
    return figures


def filled(url: str) -> tuple[int, int, list[str]]:
    """What `bench.web_store` has put into the database: from, until (ms), of which meters."""
    engine = database.connect(url, reader=True)
    with engine.connect() as connection:
        last = connection.scalar(select(func.max(Reading.ts)).where(col(Reading.meter) == 1, OF_STORE))
        meters = connection.execute(select(col(Meter.meter_id), col(Meter.first_seen))).all()
    engine.dispose()
    first = min(meter.first_seen for meter in meters)
    return first, (last or 0) + 1, [meter.meter_id for meter in meters if meter.first_seen == first]


def forget_pages() -> None:
    """Nothing of the database is in the system's page cache, where we may say so."""
    os.sync()
    with suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("3")


def settled(web: Web, meters: int) -> bool:
    """Whether everything that is retained was heard, and nothing more comes."""
    with web.program() as client:
        first = client.get("/meters/latest")
        time.sleep(1.0)
        again = client.get("/meters/latest", headers={"If-None-Match": first.headers["etag"]})
    return again.status_code == 304 and len(first.json()["meters"]) == meters


def streams(web: Web, options: argparse.Namespace) -> Figures:
    """Listeners while readings come."""
    service = psutil.Process(web.chain.processes["web"].pid)
    seconds = options.stream_seconds or options.seconds
    arguments = ("--port", str(web.port), "--token", web.tokens[Role.OBSERVER], "--seconds", str(seconds))
    sizes = ("--streams", str(options.streams), "--meters", str(options.meters))
    chosen = ("--interest", options.interest)
    with process(sys.executable, "-m", "bench.web_listen", *arguments, *sizes, *chosen) as listeners:
        time.sleep(WARM_UP)
        warm = service.memory_info().rss / 1e6
        before, begin = sum(service.cpu_times()[:2]), time.monotonic()
        figures: Figures = json.loads(line(listeners))
        used = (sum(service.cpu_times()[:2]) - before) / (time.monotonic() - begin)
        end = service.memory_info().rss / 1e6
    return figures | {"stream_cpu_percent": 100 * used, "stream_warm_rss_mb": warm, "stream_rss_mb": end}


def page(web: Web) -> Figures:
    """The fleet with an empty cache in Chromium: ms until ``Live``, and kB transferred."""
    with browser() as driver:
        log_in_browser(driver, web, "observer")
        driver.execute_cdp_cmd("Network.enable", {})
        driver.execute_cdp_cmd("Network.clearBrowserCache", {})
        driver.get("about:blank")
        driver.get_log("performance")  # type: ignore[no-untyped-call]
        script = """
            const link = document.getElementById("link"), done = arguments[0];
            const look = () => link.textContent === "Live" ? done(performance.now()) : setTimeout(look, 5);
            look();"""
        driver.get(web.url + "/")
        took = float(driver.execute_async_script(script))
        events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]  # type: ignore[no-untyped-call]
    octets = sum(_octets(event) for event in events)
    return {"page_ms": took, "page_kb": octets / 1000}


def _octets(event: dict[str, Any]) -> float:
    finished = event["method"] == "Network.loadingFinished"
    return float(event["params"]["encodedDataLength"]) if finished else 0.0
