"""`service/bridge/status`: that the bridge is there, and what it has counted; its last will says offline."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from broker.contract.messages import MAX_LINE, utc_now
from broker.contract.status import ServiceStatus
from broker.contract.topics import Topics
from broker.mqtt.packets import Will
from broker.version import VERSION


class Presence:
    """``publish(topic, payload)`` sends retained; ``counters`` and ``warnings`` are asked for each time."""

    def __init__(
        self,
        topics: Topics,
        service: str,
        *,
        publish: Callable[[str, bytes], None],
        counters: Callable[[], dict[str, int]],
        warnings: Callable[[], list[str]] = list,
        audit_head: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._topic = topics.service_status(service)
        self._publish = publish
        self._counters = counters
        self._warnings = warnings
        self._audit_head = audit_head
        self._session = _new_session()

    def will(self) -> Will:
        """The last will of a new session, which begins with this connection."""
        self._session = _new_session()
        return Will(self._topic.encode(), self._status(online=False))

    def tell(self, *, online: bool) -> None:
        """Publish our status now."""
        self._publish(self._topic, self._status(online=online))

    def _status(self, *, online: bool) -> bytes:
        status = ServiceStatus(
            online=online,
            version=VERSION,
            session=self._session,
            ts=utc_now(),
            counters=self._counters(),
            warnings=tuple(text[:MAX_LINE] for text in self._warnings()),
            audit_head=self._audit_head(),
        )
        return status.payload()


def _new_session() -> str:
    return secrets.token_hex(8)
