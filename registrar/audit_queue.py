"""Audit queue: events of the registrar and of the administrator's commands, on their way to the audit.

The audit is in the bridge's database, which may be away or not exist yet: blocking a meter must not wait for
it. The transaction of the change (`registrar.transaction`) therefore writes the event into the identity
store. The same command, or the next one, moves it to the audit, exactly once (`bridge.store.spool`).

>>> with deployment.identity_store.change() as change:  # doctest: +SKIP
...     change.note(Kind.METER_BLOCKED, who="anna", meter_id=meter_id)
>>> AuditQueue(deployment).move()  # doctest: +SKIP
0
"""

from __future__ import annotations

import logging
import os
from typing import Any

from bridge.store import spool
from bridge.store.audit import Kind
from registrar.deployment import Deployment

log = logging.getLogger(__name__)


class AuditQueue:
    """The events of one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        url = os.environ.get(
            "METER61850_DATABASE_URL", deployment.environment.get("METER61850_DATABASE_URL", "")
        )
        self._store = deployment.identity_store
        self._spool = spool.Spool(self._store.connection, url=url, lock=deployment.folder / "trail.lock")

    def note(self, kind: Kind, **told: Any) -> None:
        """Keep one event that goes with no change, and move what is kept to the audit if that is there."""
        with self._store.change() as change:
            change.note(kind, **told)
        self.move()

    def move(self) -> int:
        """Move what is kept to the audit; how many are left, because the database is not there."""
        return self._spool.move()
