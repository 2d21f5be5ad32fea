"""The services as they last told, and by how much their counters rose lately.

>>> services.risen("bridge")["limited"]  # doctest: +SKIP
12
"""

from __future__ import annotations

import time
from collections import Counter, deque

import orjson

from broker.contract.fleet import Fleet
from broker.contract.messages import utc_now
from broker.contract.session import NO_SESSION, Session, after_status
from broker.contract.status import ServiceStatus
from broker.contract.topics import Topic
from web.live.hub import Hub

LATELY_SECONDS = 600.0
"""So long a rise of a counter is remembered."""
_STEP_SECONDS = 20.0
"""Statuses that follow each other faster are one step of the memory."""


class Services:
    """What is retained of the services; all in the event loop's thread."""

    def __init__(self, hub: Hub, fleet: Fleet) -> None:
        self.known: dict[str, ServiceStatus] = {}
        self._hub = hub
        self._fleet = fleet
        self._sessions: dict[str, Session] = {}
        self._steps: dict[str, deque[tuple[float, ServiceStatus]]] = {}
        """Monotonic time and status, the oldest first."""

    def take(self, topic: Topic, payload: bytes, *, retained: bool) -> None:
        """A status, or its end: an empty one."""
        name = topic.name
        if name.startswith("bridge"):
            self._fleet.take_bridge(name, payload, retained=retained)
        if not payload:
            self.known.pop(name, None)
            self._steps.pop(name, None)
            return
        status = ServiceStatus.model_validate_json(payload)
        session = self._sessions.get(name, NO_SESSION)
        self._sessions[name], taken = after_status(session, status, live=not retained, now=utc_now())
        if not taken:
            return  # of an older session, or older than what is known of this one
        known = self.known.get(name)
        self.known[name] = status
        self._remember(name, status, now=time.monotonic())
        if known is None or known.online != status.online:
            self._hub.tell("service", orjson.dumps({"name": name, "online": status.online}))

    def _remember(self, name: str, status: ServiceStatus, *, now: float) -> None:
        steps = self._steps.setdefault(name, deque())
        if steps and steps[-1][1].session != status.session:
            steps.clear()  # its counters begin again
        if not steps or now - steps[-1][0] >= _STEP_SECONDS:
            steps.append((now, status))
        while len(steps) > 1 and now - steps[1][0] >= LATELY_SECONDS:
            steps.popleft()

    def risen(self, name: str) -> Counter[str]:
        """By how much each counter of a service rose lately, as far as we have heard it."""
        steps, status = self._steps.get(name), self.known.get(name)
        if not steps or status is None or status.session != steps[0][1].session:
            return Counter()
        return Counter(status.counters) - Counter(steps[0][1].counters)
