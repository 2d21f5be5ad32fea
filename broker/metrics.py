"""What a service has counted, for Prometheus, and whether it is healthy: ``/metrics`` and ``/healthz``.

A service hands over what it counts anyway as :class:`Sample` functions, which are asked at each scrape;
only distributions (histograms) are written as they happen. ``/healthz`` answers 200 while ``healthy``
returns an empty reason, and 503 with the reason otherwise. Text format 0.0.4 of Prometheus, by its own
client library. Imported only by services that are told a port.

>>> with MetricsServer(9850, samples, healthy=lambda: "") as server:        # doctest: +SKIP
...     server.registry
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from broker.contract.errors import PortTakenError

log = logging.getLogger(__name__)

PREFIX = "meter61850_"
SECONDS = 5.0
"""That a connection may take, from its first octet to the end of its answer."""
CONNECTIONS = 32
"""At a time."""
MAX_HEAD = 16 * 1024
"""Bytes of a request."""
STOP_SECONDS = 1.0
PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Sample:
    """One metric: its name without prefix, its help, and where its value comes from."""

    name: str
    help: str
    kind: Literal["counter", "gauge"]
    value: Callable[[], float | Mapping[str, float]]
    """One number, or one for each value of ``label``."""
    label: str = ""


class _Samples(Collector):
    """Asks every sample at each scrape."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = tuple(samples)

    def collect(self) -> Iterator[Metric]:
        for sample in self._samples:
            family = CounterMetricFamily if sample.kind == "counter" else GaugeMetricFamily
            value = sample.value()
            if isinstance(value, Mapping):
                metric = family(PREFIX + sample.name, sample.help, labels=[sample.label])
                for name, number in dict(value).items():
                    metric.add_metric([name], number)
            else:
                metric = family(PREFIX + sample.name, sample.help, value=value)
            yield metric


class MetricsServer:
    """Serves ``/metrics`` and ``/healthz`` on ``port`` in a thread while the block runs.

    A connection has :data:`SECONDS` for its request and its answer; a silent or slow one does not hold up the
    others. Beyond :data:`CONNECTIONS` at a time the oldest one is closed for the new one.
    """

    def __init__(
        self, port: int, samples: Iterable[Sample], *, healthy: Callable[[], str], address: str = "127.0.0.1"
    ) -> None:
        self.registry = CollectorRegistry()
        self._port = port
        self._address = address
        self._healthy = healthy
        self._open: dict[asyncio.StreamWriter, None] = {}
        self.registry.register(_Samples(samples))

    def __enter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        try:
            listener = socket.create_server((self._address, self._port), family=family)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError(self._port, "--metrics-port") from error
            raise
        self._loop, self._stopped = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(listener,), name="metrics", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(STOP_SECONDS)

    def _run(self, listener: socket.socket) -> None:
        try:
            self._loop.run_until_complete(self._listen(listener))
        finally:
            self._loop.close()

    async def _listen(self, listener: socket.socket) -> None:
        server = await asyncio.start_server(self._serve, sock=listener, limit=MAX_HEAD)
        await self._stopped.wait()
        server.close()
        answering = asyncio.all_tasks() - {asyncio.current_task()}
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= CONNECTIONS:
            next(iter(self._open)).transport.abort()
        self._open[writer] = None
        try:
            async with asyncio.timeout(SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await asyncio.to_thread(self._answer, head))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError) as error:
            log.debug("a scrape came to nothing: %r", error)
        finally:
            writer.transport.abort()
            self._open.pop(writer, None)

    def _answer(self, head: bytes) -> bytes:
        """The whole response to a request with this head (RFC 9112)."""
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method != b"GET":
            return _response("405 Method Not Allowed", b"GET\n")
        if path == b"/metrics":
            return _response("200 OK", generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4)
        if path != b"/healthz":
            return _response("404 Not Found", b"/metrics or /healthz\n")
        reason = self._healthy()
        return _response("503 Service Unavailable" if reason else "200 OK", f"{reason or 'ok'}\n".encode())


def _response(status: str, body: bytes, kind: str = "text/plain; charset=utf-8") -> bytes:
    lines = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + body
