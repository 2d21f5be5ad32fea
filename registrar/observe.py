"""The registrar's metrics and health.

>>> with observed(watch, counters=dict, connected=up, port=9852, address="127.0.0.1"):  # doctest: +SKIP
...     serve()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from broker.metrics import MetricsServer, Sample
from registrar.expiry import CertificateWatch


@contextmanager
def observed(
    watch: CertificateWatch,
    *,
    counters: Callable[[], Mapping[str, int]],
    connected: Callable[[], bool],
    port: int | None,
    address: str,
) -> Iterator[None]:
    """Serve metrics and health while the block runs; nothing when there is no ``port``."""
    if port is None:
        yield
        return
    samples = (
        Sample("registrar_events", "What the registrar has done", "counter", counters, label="event"),
        Sample("registrar_broker_up", "1 while connected to the broker", "gauge", lambda: float(connected())),
        Sample("certificate_end_seconds", "When a certificate ends, in seconds since 1970: authorities, "
               "servers, services, and any other that ends within 30 days", "gauge",
               lambda: dict(watch.ends), label="certificate"),
        Sample("certificates_ending", "Certificates that end within 30 days and were not renewed", "gauge",
               lambda: len(watch.endings)),
    )  # fmt: skip
    with MetricsServer(port, samples, healthy=lambda: _illness(connected()), address=address):
        yield


def _illness(connected: bool) -> str:
    return "" if connected else "no connection to the broker"
