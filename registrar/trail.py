"""Tells the audit what the registrar and the administrator's commands have done.

>>> with Trail.of(deployment) as trail:  # doctest: +SKIP
...     trail.note("meter-blocked", who="anna", meter_id=meter_id, reason="stolen")
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from registrar.deployment import Deployment

log = logging.getLogger(__name__)


@dataclass
class Trail:
    """``with`` it; nothing is opened before the first note."""

    database_url: str

    @classmethod
    def of(cls, deployment: Deployment) -> Trail:
        """The audit of this deployment's database."""
        return cls(deployment.environment.get("METER61850_DATABASE_URL", ""))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def note(self, kind: str, *, who: str, meter_id: str = "", identity: str = "", **detail: object) -> None:
        """One event; ``kind`` as `bridge.audit.Kind` names it."""
        log.info("%s", kind, extra={"who": who, "meter_id": meter_id, "identity": identity, **detail})
