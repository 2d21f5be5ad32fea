"""Meters that nobody knew: so many are registered in a minute, and the births of some more wait their turn.

A birth is published once in a connection, so one that is left out would be missing until its meter connects
again. It waits here instead; the meter's readings wait in its outbox.

>>> newcomers = Newcomers(Rate(per_second=1, burst=2))
>>> newcomers.admitted(["a", "b", "c"], now=0)
['a', 'b']
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bridge.ingest.rate_limits import Allowance, Rate
from bridge.mqtt.notice import Notice
from broker.contract.birth import Birth

MAX_WAITING = 5000
"""Births of a few hundred bytes; what comes beyond waits for its meter to connect again."""


class Newcomers:
    """How many may be registered, and who waits; one thread."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._allowance: Allowance | None = None
        self._waiting: dict[str, Notice] = {}

    def admitted(self, meter_ids: Sequence[str], *, now: int) -> Sequence[str]:
        """Those of ``meter_ids`` that there is an allowance for, from the first on."""
        for number in range(len(meter_ids)):
            if not self._allowed(now).take(1, now=now):
                return meter_ids[:number]
        return meter_ids

    def wait(self, events: Iterable[Notice]) -> None:
        """Keep the births among ``events`` for later, the latest of each meter."""
        for event in events:
            room = len(self._waiting) < MAX_WAITING or event.meter_id in self._waiting
            if room and isinstance(event.message, Birth):
                self._waiting[event.meter_id] = event

    def due(self, *, now: int) -> list[Notice]:
        """The births that waited and may be tried now, the oldest first; they wait no more."""
        if not self._waiting:
            return []
        allowance = self._allowed(now)
        if not allowance.take(1, now=now):
            return []
        allowance.left += 1
        first = list(self._waiting)[: int(allowance.left)]
        return [self._waiting.pop(meter_id) for meter_id in first]

    def _allowed(self, now: int) -> Allowance:
        if self._allowance is None:
            self._allowance = Allowance(self._rate, now=now)
        return self._allowance
