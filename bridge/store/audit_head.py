"""Remembers where the audit ends, outside of the database: that its end was cut off shows only so.

The bridge that leads looks once a second. It tells the head in its retained service status, and keeps it in a
file of mode 0600, so that it also finds at its next start what was cut off meanwhile. A head that is no
longer in the audit is never forgotten by itself: it stays in the file, it is logged, ``audit_broken`` is 1,
and a row of the audit records it. After you restored an older backup on purpose, move the file away.

>>> watch = Watch(engine, beside("sqlite:////var/lib/meter61850/meter61850.sqlite"))  # doctest: +SKIP
>>> watch.look(); watch.told  # doctest: +SKIP
'17:5f0c…'
"""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy import Connection, Engine, make_url, select
from sqlmodel import col

from bridge.store import audit
from bridge.store.audit import NOTHING, Event, Head, Kind
from bridge.store.tables import Audit
from broker import durable
from broker.contract.errors import ConfigurationError

log = logging.getLogger(__name__)


def beside(url: str) -> Path | None:
    """The file beside the SQLite database at ``url``; None for PostgreSQL, which is somewhere else."""
    parsed = make_url(url)
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:")
    return Path(f"{parsed.database}.audit-head") if is_file else None


def remembered(file: Path) -> Head:
    """The head in ``file``; NOTHING without one, ConfigurationError when it holds none or is unreadable."""
    try:
        return Head.parse(file.read_text())
    except FileNotFoundError:
        return NOTHING
    except (OSError, ValueError) as error:  # ConfigurationError is one
        raise ConfigurationError(f"audit_head_file {file}: {error}") from error


def remember(file: Path, head: Head) -> None:
    """Put ``head`` in place of what the file held, for its owner alone; OSError when the disk refuses."""
    durable.replace(file, f"{head}\n".encode(), mode=durable.SECRET)


class Watch:
    """The bridge's look at the audit's end; one thread looks, others read."""

    def __init__(self, engine: Engine, file: Path | None) -> None:
        self._engine = engine
        self._file = file
        self._head: Head | None = None
        self._broken = False
        self._recorded = False
        self._file_fails = False

    @property
    def told(self) -> str | None:
        """The head for the service status; None before the first look, and while there is none."""
        return str(self._head) if self._head else None

    def counters(self) -> dict[str, int]:
        """For the service status and the metrics."""
        return {"audit_rows": self._head.no if self._head else 0, "audit_broken": int(self._broken)}

    def look(self) -> None:
        """Look whether what we remember is still there, and remember more; DBAPIError without a database."""
        if self._recorded:
            return
        if self._head is None:
            self._head = self._recalled()
        if self._head is None:
            return
        with self._engine.begin() as connection:
            new = audit.head(connection)
            if new == self._head:
                return
            if lost := not _has(connection, self._head):
                self._tell(connection, new)
        if lost:
            self._recorded = (
                True  # committed: while the database does not take it, the next look tells it again
            )
            return
        self._head = new
        self._keep(new)

    def _recalled(self) -> Head | None:
        """The head of the last run; None, and nothing is looked at, when its file is damaged."""
        try:
            return remembered(self._file) if self._file else NOTHING
        except ConfigurationError as error:
            self._broken = self._recorded = True
            log.critical("the end of the audit is not remembered any more: %s", error)
            return None

    def _tell(self, connection: Connection, new: Head) -> None:
        if not self._broken:
            log.critical(
                "the audit does not hold row %s any more, which we remember; it ends at %s: see audit verify",
                self._head,
                new,
            )
        self._broken = True
        event = Event(Kind.AUDIT_BROKEN, who="bridge", detail={"remembered": str(self._head)})
        audit.append(connection, [event], now=audit.now_ms())

    def _keep(self, head: Head) -> None:
        if self._file is None:
            return
        try:
            remember(self._file, head)
            self._file_fails = False
        except OSError as error:
            if not self._file_fails:
                log.error("audit_head_file %s is not written (told once): %s", self._file, error)
            self._file_fails = True


def _has(connection: Connection, head: Head) -> bool:
    """Whether the audit goes through ``head``."""
    if head == NOTHING:
        return True
    found = connection.scalar(select(col(Audit.hash)).where(col(Audit.no) == head.no))
    return found == head.hash
