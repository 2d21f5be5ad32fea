"""What a service has counted, for Prometheus, and whether it is healthy: ``/metrics`` and ``/healthz``.

A service hands over what it counts anyway as :class:`Sample` functions, which are asked at each scrape;
only distributions (histograms) are written as they happen. ``/healthz`` answers 200 while ``healthy``
returns an empty reason, and 503 with the reason otherwise. Text format 0.0.4 of Prometheus, by its own
client library. Imported only by services that are told a port.

>>> with MetricsServer(9850, samples, healthy=lambda: "") as server:        # doctest: +SKIP
...     server.registry
"""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from broker.errors import PortTakenError

log = logging.getLogger(__name__)

PREFIX = "meter61850_"


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


class _QuietHandler(WSGIRequestHandler):
    """Does not write a line to stderr for each scrape."""

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)


class MetricsServer:
    """Serves ``/metrics`` and ``/healthz`` on ``port`` in a thread while the block runs."""

    def __init__(
        self, port: int, samples: Iterable[Sample], *, healthy: Callable[[], str], address: str = "127.0.0.1"
    ) -> None:
        self.registry = CollectorRegistry()
        self._port = port
        self._address = address
        self._healthy = healthy
        self._metrics = make_wsgi_app(self.registry)
        self.registry.register(_Samples(samples))

    def __enter__(self) -> Self:
        try:
            self._server: WSGIServer = make_server(
                self._address, self._port, self._answer, handler_class=_QuietHandler
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError(self._port, "--metrics-port") from error
            raise
        thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            answer: Iterable[bytes] = self._metrics(environ, start)
            return answer
        headers = [("Content-Type", "text/plain; charset=utf-8")]
        if path != "/healthz":
            start("404 Not Found", headers)
            return [b"/metrics or /healthz\n"]
        reason = self._healthy()
        start("503 Service Unavailable" if reason else "200 OK", headers)
        return [(reason or "ok").encode() + b"\n"]
