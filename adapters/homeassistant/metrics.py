"""What the announcements to Home Assistant count, for Prometheus, and whether the program is healthy.

>>> from adapters.homeassistant.service import Progress
>>> healthy(Progress())
'no connection to the broker'
"""

from __future__ import annotations

from adapters.homeassistant.service import Progress
from broker.metrics import Sample


def samples(progress: Progress) -> list[Sample]:
    """Asked at each scrape."""
    # fmt: off
    return [
        Sample("homeassistant_up", "1: connected to the broker.", "gauge", lambda: progress.up),
        Sample("homeassistant_meters", "Meters that are announced.", "gauge", lambda: progress.announced),
        Sample("homeassistant_messages_total", "Announcements that were published.", "counter",
               lambda: progress.published),
        Sample("homeassistant_rejected_total", "Messages outside of the contract.", "counter",
               lambda: progress.rejected),
        Sample("homeassistant_heard_timestamp_seconds", "Time of the last message; 0: none yet.", "gauge",
               lambda: progress.heard_at),
    ]
    # fmt: on


def healthy(progress: Progress) -> str:
    """Empty, or what is wrong."""
    return "" if progress.up else "no connection to the broker"
