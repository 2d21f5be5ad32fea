"""What the Sparkplug edge node counts, for Prometheus, and whether it is healthy.

>>> samples(service)[0].name  # doctest: +SKIP
'sparkplug_source_up'
"""

from __future__ import annotations

from adapters.sparkplug.service import Service
from broker.metrics import Sample

COUNTED = ("commands_refused", "rebirths", "unreadable")
"""Counters of the edge node."""


def samples(service: Service) -> list[Sample]:
    """Asked at each scrape."""
    # fmt: off
    return [
        Sample("sparkplug_source_up", "1: connected to the broker of the meters.", "gauge",
               lambda: service.source_up),
        Sample("sparkplug_target_up", "1: connected to the broker of the hosts.", "gauge",
               lambda: service.target_up),
        Sample("sparkplug_devices", "Meters that are devices of the edge node.", "gauge",
               lambda: service.node.devices),
        Sample("sparkplug_messages_total", "Messages that were published.", "counter", lambda: service.sent),
        Sample("sparkplug_waiting", "Messages that wait for the target broker.", "gauge",
               lambda: service.waiting),
        Sample("sparkplug_events_total", "Commands refused, rebirths, unreadable messages.", "counter",
               lambda: {name: float(service.node.counters[name]) for name in COUNTED}, label="event"),
        Sample("sparkplug_heard_timestamp_seconds", "Time of a meter's last message; 0: none yet.", "gauge",
               lambda: service.heard_at),
    ]
    # fmt: on


def healthy(service: Service) -> str:
    """Empty, or the brokers that are not connected."""
    ups = {"the meters": service.source_up, "the hosts (target)": service.target_up}
    down = [name for name, up in ups.items() if not up]
    return f"no connection to the broker of {' and '.join(down)}" if down else ""
