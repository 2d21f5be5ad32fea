"""Services without a free file descriptor (EMFILE) go on, and connect again when there are some.

The limit of the real processes is lowered below what they have: everything new fails, what is open works.
"""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from broker.contract.status import ServiceStatus
from tests.support import forked
from tests.support.bridges import TOPICS, Client
from tests.support.brokers import free_port, mosquitto
from tests.support.certificates import Authority
from tests.support.chain import Chain, chain, until
from tests.support.web import Web, served
from web.serving.connections import RESERVED

NOTHING = 3
"""Descriptors: those of stdin, stdout and stderr, which are taken."""
SERVICES = ("bridge", "mms", "web")
SILENT = 450
ENDLESS = 8_000_000
SECONDS = 60.0


@contextmanager
def without_descriptors(processes: Iterable[subprocess.Popen[Any]]) -> Iterator[None]:
    """Nothing new can be opened by these."""
    with ExitStack() as back:
        for process in processes:
            soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (NOTHING, hard))
            back.callback(_give_back, process.pid, (soft, hard))
        yield


def _give_back(pid: int, limits: tuple[int, int]) -> None:
    with suppress(ProcessLookupError):  # a test had it end
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """The whole chain with two meters."""
    with mosquitto(tmp_path) as broker, chain(broker, tmp_path) as running:
        running.simulate(2)
        running.wait_for_meters(2)
        with served(running) as web:
            web.wait_for_meters(2)
            yield web


def told(heard: Client, since: datetime) -> bool:
    """Whether each service has said since then that it is online."""
    return all(status(heard, service, since) for service in SERVICES)


def status(heard: Client, service: str, since: datetime) -> bool:
    """Whether that service has."""
    topic = TOPICS.service_status(service)
    found = [ServiceStatus.model_validate_json(payload) for name, payload in list(heard.all) if name == topic]
    return any(one.online and one.ts > since for one in found)


def readings(running: Chain) -> int:
    """Stored ones."""
    return int(running.rows("SELECT count(*) FROM reading")[0][0])


def test_every_service_goes_on_and_connects_again(web: Web) -> None:
    running = web.chain
    with without_descriptors(running.processes.values()):
        began, before = datetime.now(UTC), readings(running)
        with Client(running.broker) as heard:
            until(lambda: told(heard, began), seconds=SECONDS, why="each tells its status")
        until(lambda: readings(running) > before, seconds=SECONDS, why="readings are stored")
        running.broker.kill()
        short = "Too many open files"
        for name in SERVICES:  # a meter logs each cause once
            until(lambda name=name: short in running.log(name), seconds=SECONDS, why=f"{name} cannot connect")  # type: ignore[misc]
        running.broker.start()
        time.sleep(3)  # they go on trying
        assert {name: process.poll() for name, process in running.processes.items()} == dict.fromkeys(
            running.processes
        )
    began, before = datetime.now(UTC), readings(running)
    with Client(running.broker) as heard:
        until(lambda: told(heard, began), seconds=SECONDS, why="each is back")
    until(lambda: readings(running) > before + 4, seconds=SECONDS, why="readings are stored")
    until(
        lambda: web.json("/health")["broker"],
        seconds=SECONDS,
        why="the web hears the broker: by a connection of its own",
    )


def silent(port: int, count: int) -> list[socket.socket]:
    """Connections that never say anything; fewer when we are refused."""
    found = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        found.append(sock)
    return found


@pytest.fixture(params=[256, 512])
def narrow(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Web]:
    """A web that may have so many descriptors, and cannot raise that."""
    with mosquitto(tmp_path) as broker, chain(broker, tmp_path) as running:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        running.simulate(1)
        running.wait_for_meters(1)
        with limited(request.param), served(running) as web:
            yield web
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


@contextmanager
def limited(most: int) -> Iterator[None]:
    """Processes that are started have this limit for good; ours is raised again."""
    original = subprocess.Popen.__init__

    def start(self: subprocess.Popen[bytes], *arguments: object, **options: object) -> None:
        options["preexec_fn"] = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        original(self, *arguments, **options)  # type: ignore[call-overload]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", start)
        patch.setattr(forked, "descriptors", most)
        yield


def test_silent_connections_cost_nobody_else_anything(narrow: Web) -> None:
    with ExitStack() as open_ones:
        for _ in range(2):
            for sock in silent(narrow.port, SILENT):
                open_ones.enter_context(sock)
            assert narrow.json("/meters")["total"] == 1
        began = datetime.now(UTC)
        with Client(narrow.chain.broker) as heard:
            until(lambda: status(heard, "web", began), seconds=SECONDS, why="its status")
        assert narrow.json("/meters")["total"] == 1
        assert narrow.chain.processes["web"].poll() is None


def test_who_sends_no_request_in_time_is_cut_off(web: Web) -> None:
    """Also with half a request, a second one, or a body that does not come."""
    request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    begun = (b"", b"GET /healthz HT", request, request + b"\r\n" + request)
    with ExitStack() as open_ones:
        found = [open_ones.enter_context(sock) for sock in silent(web.port, len(begun) + 1)]
        for sock, octets in zip(found, begun, strict=False):
            sock.sendall(octets)
            sock.settimeout(SECONDS)
        found[-1].settimeout(SECONDS)
        found[-1].sendall(b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nname")
        for sock in found[:-1]:
            while sock.recv(65536):
                pass
        assert b" 408 " in found[-1].recv(65536)


def test_a_head_without_end_is_cut_off(web: Web) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=SECONDS) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        sent = 0
        with suppress(OSError):  # reset, or broken pipe
            while sent < ENDLESS:
                sent += sock.send(b"x: " + b"y" * 4000 + b"\r\n")
                time.sleep(0.001)
    assert sent < ENDLESS
    assert web.json("/meters")["total"] == 2


def test_streams_and_answers_of_others_outlive_a_flood(narrow: Web) -> None:
    """Who is answered is never cut off to make room."""
    with narrow.program() as client, client.stream("GET", "/stream") as stream, ExitStack() as open_ones:
        lines = stream.iter_lines()
        next(line for line in lines if line == "event: hello")
        for _ in range(3):
            for sock in silent(narrow.port, 200):
                open_ones.enter_context(sock)
        for _ in range(3):
            assert next(line for line in lines if line == "event: ping")


def test_tls_that_is_never_spoken_takes_no_place(tmp_path: Path) -> None:
    issued = Authority(tmp_path / "ca").issue("web")
    with mosquitto(tmp_path) as broker, chain(broker, tmp_path) as running:
        web = Web(running, free_port(), tmp_path / "web-users.json")
        where = ("--mqtt", running.mqtt, "--database", running.url, "--users", str(web.users))
        keys = ("--certificate", str(issued.cert), "--key", str(issued.key))
        with limited(RESERVED + 50):
            running.start("web", "run", "--port", str(web.port), *where, *keys)

        def answers() -> bool:
            try:
                return (
                    httpx.get(f"https://127.0.0.1:{web.port}/healthz", verify=False, timeout=60).status_code
                    == 200
                )
            except httpx.TransportError:
                return False

        until(answers, seconds=SECONDS, why="it serves")
        with ExitStack() as open_ones:
            for sock in silent(web.port, 200):
                open_ones.enter_context(sock)
            until(answers, why="it serves beside 200 that say nothing")
            assert json.dumps(running.processes["web"].poll()) == "null"
