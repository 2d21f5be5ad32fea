"""``/metrics`` and ``/healthz`` answer whatever else is connected: nobody's silence holds up another."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from broker import metrics
from broker.metrics import MetricsServer, Sample
from tests.support.brokers import free_port

PATIENCE = 30.0


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server with one sample; it is healthy."""
    number = free_port()
    sample = Sample("things", "Things that are there", "gauge", lambda: 7.0)
    with MetricsServer(number, (sample,), healthy=lambda: ""):
        yield number


def scraped(port: int, path: str = "metrics") -> bytes:
    with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=PATIENCE) as answer:
        content: bytes = answer.read()
        return content


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTTP/1.1\r\nHost: a"], ids=["idle", "half a request"])
def test_many_connections_that_send_nothing_block_no_scrape(
    port: int, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even when none of them has reached its deadline."""
    monkeypatch.setattr(metrics, "SECONDS", 10 * PATIENCE)
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            for _ in range(2 * metrics.CONNECTIONS)
        ]
        for one in silent:
            one.sendall(sent)
        assert b"meter61850_things 7.0" in scraped(port)
        assert scraped(port, "healthz") == b"ok\n"
        assert ended(silent[0])  # the one that has waited longest made room


def test_a_client_that_takes_no_answer_blocks_no_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer larger than the kernel's buffers."""
    monkeypatch.setattr(metrics, "SECONDS", 10 * PATIENCE)
    port, large = free_port(), {str(n) * 100: 1.0 for n in range(20_000)}
    sample = Sample("large", "Many values", "gauge", lambda: large, label="name")
    with MetricsServer(port, (sample,), healthy=lambda: ""), socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert deaf.recv(1)  # its answer is under way
        assert len(scraped(port)) > 2_000_000


def test_a_health_check_that_takes_long_blocks_no_scrape() -> None:
    """The bridge asks its database, which may be away."""
    port, asked, go_on = free_port(), threading.Event(), threading.Event()

    def healthy() -> str:
        asked.set()
        assert go_on.wait(PATIENCE)
        return "the database does not answer"

    with MetricsServer(port, (), healthy=healthy):
        verdicts: list[bytes] = []
        asking = threading.Thread(target=lambda: verdicts.append(_refused(port)))
        asking.start()
        assert asked.wait(PATIENCE)
        assert scraped(port) == b""
        go_on.set()
        asking.join(PATIENCE)
    assert verdicts == [b"the database does not answer\n"]


def _refused(port: int) -> bytes:
    with pytest.raises(HTTPError, match="503") as refusal:
        scraped(port, "healthz")
    content: bytes = refusal.value.read()
    return content


@pytest.mark.parametrize("slow", [True, False])
def test_a_connection_ends_at_its_deadline(port: int, slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when an octet comes now and then."""
    monkeypatch.setattr(metrics, "SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", port), 0.1) as lazy:
        for _ in range(int(PATIENCE / 0.1)):
            try:
                if slow:
                    lazy.sendall(b"G")
                assert lazy.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                pass
            break
        else:
            pytest.fail("the connection is still open")


def test_a_head_without_an_end_is_not_kept(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as one:
        one.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 2 * metrics.MAX_HEAD)
        assert ended(one)


def ended(one: socket.socket) -> bool:
    """Whether the other end has closed the connection; waits for it."""
    try:
        return one.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(("path", "code"), [("nothing", 404), ("metrics/", 404)])
def test_other_paths_are_not_found(port: int, path: str, code: int) -> None:
    with pytest.raises(HTTPError) as refusal:
        scraped(port, path)
    assert refusal.value.code == code
