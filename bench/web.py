"""The web service: the latest of a town, a meter's day, live streams, the first page; beside a bare route.

    python -m bench.web --runs 5
    python -m bench.web_store sqlite:////var/tmp/town.sqlite
    python -m bench.web --runs 5 --database sqlite:////var/tmp/town.sqlite

Real parts: Mosquitto, the web service, the bridge, SQLite or PostgreSQL (``--database``, filled by
`bench.web_store`; else an SQLite file of ``--stored`` meters and a day), and Chromium for the page. In each
run, with the same client over one connection:

- latest: every meter, JSON gzip, at rest, and while readings come at ``--rate``;
- bare: a FastAPI route on the same server that returns the same bytes: what is left is our own path;
- day: the last 24 h of a meter, as rows and as columns, and a day of the month, of another meter in each
  request; as root before each kind everything is out of the system's page cache;
- ingest: readings a second that the bridge stores, without streams, and while they are;
- streams: how old a reading is when a listener has it; CPU and memory of the service meanwhile. Listeners
  of all, of a ``--interest meter`` each, or of a ``code``; for ``--stream-seconds``, else ``--seconds``;
- page: from the request to live values, with an empty cache, and what was transferred.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import uvicorn
from fastapi import FastAPI
from paho.mqtt import subscribe
from starlette.responses import Response

from bench.ingest import BRIDGE, STATUS_SECONDS, go, line, process
from bench.web_figures import Figures, day, latest, page, settled, streams
from bench.web_load import TOPICS
from bench.web_store import fill
from bridge.store import database
from bridge.store.tables import at_ms
from broker.contract.status import ServiceStatus
from tests.support.brokers import Broker, free_port, mosquitto
from tests.support.chain import Chain, until
from tests.support.web import Web, make_accounts, start


def bare(file: str, port: int) -> None:
    """The reference: one route, the bytes of ``file``."""
    body, app = Path(file).read_bytes(), FastAPI()

    @app.get("/")
    async def route() -> Response:
        return Response(body, media_type="application/json", headers={"Content-Encoding": "gzip"})

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


@contextmanager
def serving(broker: Broker, folder: Path, url: str) -> Iterator[Web]:
    """The web service on ``broker`` and the database ``url``."""

    class Elsewhere(Chain):
        """The chain's parts with a database of ours."""

        @property
        def url(self) -> str:
            return url

    running = Elsewhere(broker, folder, free_port())
    users = folder / "users.json"
    web = Web(running, free_port(), users, make_accounts(users))
    try:
        os.environ["METER61850_WEB_STREAMS_PER_ACCOUNT"] = "10000"  # one account has all streams here
        start(running, web)
        yield web
    finally:
        for child in running.processes.values():
            child.kill()


@contextmanager
def bridging(broker: Broker, url: str) -> Iterator[None]:
    """The bridge, once it has taken in what is retained, and summed up what is due: that takes minutes."""
    command = (sys.executable, "-c", BRIDGE, str(broker.port), url, str(STATUS_SECONDS))
    with process(*command) as running:
        until(lambda: rests(psutil.Process(running.pid)), seconds=900, why="the bridge rests")
        yield


def rests(running: psutil.Process) -> bool:
    """Whether it took less than a tenth of a core for two seconds."""
    before = sum(running.cpu_times()[:2])
    time.sleep(2.0)
    return sum(running.cpu_times()[:2]) - before < 0.2


def stored(broker: Broker) -> tuple[float, int]:
    """When the bridge last told (s), and how many readings it has stored then."""
    topic = TOPICS.service_status("bridge")
    told = subscribe.simple(topic, hostname="127.0.0.1", port=broker.port)  # type: ignore[no-untyped-call]
    status = ServiceStatus.model_validate_json(told.payload)
    return status.ts.timestamp(), status.counters["stored"]


@contextmanager
def ingest(broker: Broker, figures: Figures, name: str) -> Iterator[None]:
    """Readings a second that are stored meanwhile."""
    begin, before = stored(broker)
    yield
    end, after = stored(broker)
    figures[f"ingest_{name}_per_s"] = (after - before) / (end - begin)


def small_database(folder: Path, *, meters: int) -> str:
    """The URL of one with a day of so many meters."""
    url = f"sqlite:///{folder / 'bench.sqlite'}"
    engine = database.connect(url)
    database.migrate(engine)
    fill(engine, meters=meters, days=1, now=at_ms(datetime.now(UTC)))
    engine.dispose()
    return url


def measure(options: argparse.Namespace) -> Figures:
    """One run."""
    with tempfile.TemporaryDirectory(prefix="bench-web-") as name, mosquitto(Path(name)) as broker:
        url = options.database or small_database(Path(name), meters=options.stored)
        sizes = ("--port", str(broker.port), "--meters", str(options.meters), "--rate", str(options.rate))
        with process(sys.executable, "-m", "bench.web_load", *sizes) as load:
            assert line(load) == "ready"
            with serving(broker, Path(name), url) as web, bridging(broker, url):
                until(lambda: settled(web, options.meters), seconds=60, why="all that is retained is heard")
                figures = latest(web, options, "latest", pause=0.0) | day(web, options)
                go(load)
                time.sleep(2.0)
                with ingest(broker, figures, "alone"):
                    time.sleep(options.seconds)
                with ingest(broker, figures, "streams"):
                    figures |= streams(web, options)
                figures |= latest(web, options, "busy", pause=0.02) | page(web)
    return figures


def show(runs: list[Figures]) -> None:
    """The median of each figure, and its lowest and highest value."""
    for name in runs[0]:
        values = sorted(run[name] for run in runs)
        middle = statistics.median(values)
        print(f"{name:24}{middle:10.2f}   {values[0]:.2f} to {values[-1]:.2f}")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes: dict[str, tuple[Callable[[str], Any], Any]] = {
        "runs": (int, 5), "meters": (int, 10_000), "rate": (int, 1000), "stored": (int, 20),
        "streams": (int, 200), "seconds": (float, 10.0), "stream-seconds": (float, 0.0),
        "interest": (str, "all"), "requests": (int, 200),
        "database": (str, ""), "bare": (str, ""), "port": (int, 0),
    }  # fmt: skip
    for name, (kind, default) in sizes.items():
        parser.add_argument(f"--{name}", type=kind, default=default)
    options = parser.parse_args()
    if options.bare:
        bare(options.bare, options.port)
        return
    show([measure(options) for _ in range(options.runs)])


if __name__ == "__main__":
    main()
