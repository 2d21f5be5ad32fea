"""Registrar and `up` without a free file descriptor (EMFILE): they go on, and do what waited afterwards."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from tests.acceptance.test_descriptors import SECONDS, limited, silent, without_descriptors
from tests.support.brokers import free_port
from tests.support.chain import until
from tests.support.cli import STOP_SECONDS, Running, up
from tests.support.sites import Deployed, deployed

SHORT = ("Too many open files", "unable to open database file")
FEW = 64
"""Descriptors of a registrar; it has some twenty."""


def starved(log: str) -> bool:
    """Whether somebody has written that there is none left."""
    return any(words in log for words in SHORT)


def test_registrar_without_descriptors_goes_on_and_answers_afterwards(tmp_path: Path) -> None:
    with deployed(tmp_path, "registrar") as site:
        meter, code = site.meter("a"), site.new_code("--automatic")
        registrar = site.processes["enrol"]
        with without_descriptors([registrar]):
            until(lambda: starved(site.log("enrol")), seconds=SECONDS, why="it cannot open its store")
            before = len(site.log("enrol"))
            site.stop("broker")
            restarted(site)
            until(lambda: starved(site.log("enrol")[before:]), seconds=SECONDS, why="it cannot connect")
            assert registrar.poll() is None
            connected = site.log("enrol").count("connected to")
        until(lambda: site.log("enrol").count("connected to") > connected, seconds=SECONDS, why="it is back")
        site.enrol(meter, code)
        assert registrar.poll() is None


def restarted(site: Deployed) -> None:
    """The broker listens once more."""
    before = site.log("broker").count("listen socket")
    site.start("broker", "run")
    until(lambda: site.log("broker").count("listen socket") >= before + 3, why="the broker listens")


def healthy(port: int) -> bool:
    """Whether it answers."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=SECONDS).status_code == 200
    except httpx.TransportError:
        return False


def test_silent_connections_to_the_registrars_metrics_cost_nobody_else_anything(tmp_path: Path) -> None:
    with deployed(tmp_path) as site:
        port = free_port()
        with limited(FEW):
            registrar = site.start("enrol", "run", "--metrics-port", str(port))
        until(lambda: "connected to" in site.log("enrol"), seconds=SECONDS, why="it is connected")
        meter, code = site.meter("a"), site.new_code("--automatic")
        with ExitStack() as open_ones:
            for sock in silent(port, 2 * FEW):
                open_ones.enter_context(sock)
            until(lambda: starved(site.log("enrol")), seconds=SECONDS, why="they have taken them all")
            assert registrar.poll() is None
        until(lambda: healthy(port), seconds=SECONDS, why="it has descriptors again")
        site.enrol(meter, code)
        assert registrar.poll() is None


@pytest.fixture
def running(tmp_path: Path) -> Running:  # type: ignore[misc]
    """`up` with one meter, ready."""
    with up(tmp_path, "--meters", "1") as started:
        started.ready()
        yield started


def test_up_without_descriptors_goes_on_and_stops_cleanly(running: Running) -> None:
    children = running.children()
    with without_descriptors([running.process]):
        children["broker"].suspend()  # what `up` hears of the broker breaks off
        time.sleep(1)
        children["broker"].resume()
        assert running.process.poll() is None
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(SECONDS) == 0
    _, left = psutil.wait_procs(children.values(), timeout=STOP_SECONDS)
    assert left == []


def test_up_without_descriptors_names_the_child_that_dies(running: Running) -> None:
    children = running.children()
    with without_descriptors([running.process]):
        children["web"].kill()
        assert running.process.wait(SECONDS) == 1
    assert "error: web ended by itself (SIGKILL); data/logs/web.log" in running.log.read_text()
    _, left = psutil.wait_procs(children.values(), timeout=STOP_SECONDS)
    assert left == []
