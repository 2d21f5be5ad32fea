"""What a program of this package serves to Prometheus and ``doctor``: one way for all three of them.

>>> with observed(("127.0.0.1", 9853), lambda: Counted(samples, healthy)):  # doctest: +SKIP
...     await adapter.run(stop)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.metrics import Sample

Place = tuple[str, int]
"""Address and port."""


@dataclass(frozen=True)
class Counted:
    """What a program has counted, and why it is not healthy; an empty text if it is."""

    samples: Sequence[Sample]
    healthy: Callable[[], str]


@contextmanager
def observed(place: Place | None, counted: Callable[[], Counted]) -> Iterator[None]:
    """Serve ``/metrics`` and ``/healthz`` while the block runs; nothing without a ``place``.

    PortTakenError if the port is in use. ``counted`` is called only with a place: its module needs the extra
    of the server.
    """
    if place is None:
        yield
        return
    from broker.metrics import MetricsServer  # noqa: PLC0415 - needs the extra of the server

    told, (address, port) = counted(), place
    with MetricsServer(port, told.samples, healthy=told.healthy, address=address):
        yield
