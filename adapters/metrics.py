"""What an adapter counts, for Prometheus, and whether it is healthy.

>>> samples(adapter)[0].name  # doctest: +SKIP
'adapter_points'
"""

from __future__ import annotations

from collections.abc import Mapping

from adapters.adapter import Adapter
from broker.metrics import Sample


def samples(adapter: Adapter) -> list[Sample]:
    """Asked at each scrape."""

    def per_source(name: str) -> Mapping[str, float]:
        return {source.settings.name: float(getattr(source, name)) for source in adapter.sources}

    # fmt: off
    return [
        Sample("adapter_points", "Metering points that were met.", "gauge", lambda: adapter.known),
        Sample("adapter_meters", "Accepted points.", "gauge", lambda: len(adapter.entries)),
        Sample("adapter_values_total", "Values of accepted points.", "counter",
               lambda: sum(entry.taken for entry in adapter.entries)),
        Sample("adapter_values_dropped_total", "Values that waited too long for the disk.", "counter",
               lambda: sum(entry.inbox.dropped for entry in adapter.entries)),
        Sample("adapter_messages_total", "Messages of the source's devices.", "counter",
               lambda: per_source("messages"), label="source"),
        Sample("adapter_messages_dropped_total", "Messages of devices that flood: never read.", "counter",
               lambda: {one.settings.name: float(one.gate.dropped if one.gate else 0)
                        for one in adapter.sources}, label="source"),
        Sample("adapter_source_up", "1: the source's broker is connected.", "gauge",
               lambda: per_source("up"), label="source"),
        Sample("adapter_heard_timestamp_seconds", "Time of the last message of the source; 0: none yet.",
               "gauge", lambda: per_source("heard_at"), label="source"),
        Sample("adapter_findings_total", "Messages or values that were left out.", "counter",
               lambda: _findings(adapter), label="cause"),
    ]
    # fmt: on


def healthy(adapter: Adapter) -> str:
    """Empty, or the sources that are not connected."""
    down = [source.settings.name for source in adapter.sources if not source.up]
    return f"no connection to the broker of the source {', '.join(down)}" if down else ""


def _findings(adapter: Adapter) -> dict[str, float]:
    found: dict[str, float] = {}
    for source in adapter.sources:
        for cause, count in source.aside.counts.items():
            found[cause] = found.get(cause, 0.0) + count
    return found
