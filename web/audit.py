"""Events for the audit: every write and every refusal of the web passes through here.

>>> audit(Event("relay", actor="anna", source="127.0.0.1", subject="3f25…", outcome="sent"))
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """An event: action, author, object, source and outcome."""

    action: str
    """``login``, ``relay``, ``retire``, ``thesis-register`` …"""
    actor: str
    """The account; empty without a login."""
    source: str
    """IP address of the client."""
    subject: str = ""
    """meter_id, or what else it was done to."""
    outcome: str = "done"
    detail: str = ""


listeners: list[Callable[[Event], None]] = []
"""The sinks of events: `web.recorder` while the service runs."""


def audit(event: Event) -> None:
    """Write the event to the log and to the sinks."""
    for listener in listeners:
        listener(event)
    log.info("audit", extra={f"audit_{name}": value for name, value in vars(event).items() if value})
