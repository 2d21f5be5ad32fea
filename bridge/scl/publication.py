"""The SCL on the broker: SCD, CIDs and revision as retained messages, rebuilt when the registry changes.

A birth that changes nothing makes no revision: the SCD is built from the registry and the revisions
so far alone, so the same registry gives the same bytes, also after a restart. Changed CIDs come
first, then CIDs that are gone (empty), then the SCD, and the revision last: who sees a revision finds
all that belongs to it.

>>> changes({"SM_1": 1, "SM_2": 2}, {"SM_2": 3, "SM_3": 3})
'1 meter added, 1 withdrawn, 1 changed'
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, select

from bridge.scl.ieds import Ieds
from bridge.scl.pace import Pace
from bridge.settings import BridgeSettings
from bridge.store.audit import now_ms
from bridge.store.tables import Meter, SclRevision, moment
from broker.contract.compressed import packed
from broker.contract.errors import reason
from broker.contract.messages import format_ts
from broker.contract.status import Revision
from broker.contract.topics import Topics
from broker.version import VERSION
from scl_builder.build.builder import build_cid, build_scd
from scl_builder.build.project import HistoryItem, Ied, Project
from scl_builder.build.project import Meter as SclMeter

log = logging.getLogger(__name__)

QUIET_SECONDS = 0.25
"""A rebuild waits until no meter was born for so long,"""
LIMIT_SECONDS = 1.0
"""but not longer than this."""
RETRY_SECONDS = 1.0

HISTORY = 100
"""Revisions that the SCD's History shows; the database keeps all."""
WHO = "meter61850 bridge"
RESTARTED = "changed while the bridge was not running"


@dataclass(frozen=True)
class _Published:
    """What we have put on the broker."""

    project: Project
    scd: bytes
    revision: Revision


class Publication:
    """A thread that rebuilds and publishes while this bridge ``leads``.

    ``publish(topic, payload)`` sends retained.
    """

    def __init__(
        self,
        engine: Engine,
        settings: BridgeSettings,
        *,
        publish: Callable[[str, bytes], None],
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self.revision = 0
        """The current one; 0 before the first meter."""
        self.errors = 0
        self._engine = engine
        self._settings = settings
        self._topics: Topics = settings.mqtt.topics
        self._ieds = Ieds(settings.mms_host, settings.mms_port, settings.mms_tls_port)
        self._publish = publish
        self._leads = leads
        self._current: _Published | None = None
        self._wanted = threading.Condition()
        self._first = self._last = 0.0
        self._pace = Pace()
        self._all = True
        self._forget = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="publication", daemon=True)

    def start(self) -> None:
        """Watch for changes in the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a change that waits is found at the next start."""
        with self._wanted:
            self._stopping = True
            self._wanted.notify()
        self._thread.join(RETRY_SECONDS)

    def changed(self) -> None:
        """The registry has changed: rebuild soon."""
        with self._wanted:
            self._last = monotonic()
            self._first = self._first or self._last
            self._wanted.notify()

    def take_over(self) -> None:
        """This bridge publishes from now on: begin with what the database says, not with what we know."""
        with self._wanted:
            self._forget = True
        self.again()

    def again(self) -> None:
        """There is a new connection, maybe to a broker that has forgotten: publish everything."""
        with self._wanted:
            self._all = True
        self.changed()

    def _run(self) -> None:
        while self._due():
            if not self._leads():  # any more: who leads has told, or will
                with self._wanted:
                    self._first = 0.0
                continue
            with self._wanted:
                everything, self._all, self._first = self._all, False, 0.0
                if self._forget:
                    self._current, self._forget = None, False
            try:
                self.update(everything=everything)
            except (DBAPIError, OSError, ValueError) as error:  # ValueError: the builder refuses the project
                self.errors += 1
                log.error("the SCL is not up to date: %s", reason(error))
                self._retry(everything=everything)

    def _due(self) -> bool:
        """Wait for a change, and until the births have settled; False when we stop."""
        with self._wanted:
            self._wanted.wait_for(lambda: self._first or self._stopping)
            while not self._stopping:
                due, now = min(self._last + QUIET_SECONDS, self._first + LIMIT_SECONDS), monotonic()
                held = 0.0 if self._all else self._pace.wait(now)  # a new connection waits for nothing
                if (left := max(due - now, held)) <= 0:
                    break
                self._wanted.wait(left)
            return not self._stopping

    def _retry(self, *, everything: bool) -> None:
        with self._wanted:
            self._all |= everything
            self._wanted.wait_for(lambda: self._stopping, timeout=RETRY_SECONDS)
        self.changed()

    def update(self, *, everything: bool) -> None:
        """Bring the broker up to date with the registry; the thread does it when births have settled."""
        before = self._current
        with Session(self._engine) as session:
            ieds, ever = self._ieds.read(session), _ieds_ever(session)
        if before is None or before.project.ieds != ieds:
            self._current = self._made(before, ieds)
        if self._current is not None and (everything or self._current is not before):
            known = {ied.name: ied for ied in before.project.ieds} if before and not everything else {}
            self._send(self._current, known, gone=(ever if everything else known.keys()))

    def _made(self, before: _Published | None, ieds: tuple[Ied, ...]) -> _Published | None:
        """The SCD for ``ieds``: the last revision's if that has the same bytes, else that of a new one."""
        with Session(self._engine) as session:
            newest = select(SclRevision).order_by(col(SclRevision.revision).desc()).limit(HISTORY)
            rows = list(session.exec(newest))[::-1]
        if not rows and not ieds:
            return None
        if rows and before is None:
            last = self._build(rows, ieds)
            if last.revision.sha256 == rows[-1].sha256:
                return last
        what = _difference(before.project.ieds if before else (), ieds) if before or not rows else RESTARTED
        row = SclRevision(
            revision=rows[-1].revision + 1 if rows else 1,
            sha256="",
            meters=sum(len(ied.meters) for ied in ieds),
            ieds=len(ieds),
            ts=max([now_ms(), *(row.ts for row in rows)]),  # a history runs forward, whatever the clock
            what=what,
        )
        made = self._build([*rows, row][-HISTORY:], ieds)
        row.sha256 = made.revision.sha256
        with Session(self._engine) as session:
            session.add(row)
            session.commit()
        self._pace.made(monotonic())
        log.info("SCL revision %d: %s", made.revision.revision, what)
        return made

    def _build(self, rows: list[SclRevision], ieds: tuple[Ied, ...]) -> _Published:
        """The SCD of the revision that is the last of ``rows``."""
        settings, row = self._settings, rows[-1]
        project = Project(
            name=settings.project_name,
            revision=row.revision,
            ieds=ieds,
            history=tuple(HistoryItem(r.revision, format_ts(moment(r.ts)), WHO, r.what) for r in rows),
            report_instances=settings.report_instances,
            control_model=settings.control_model,
            operate_timeout=round(settings.mms_operate_limit * 1000),
            tool_version=VERSION,
        )
        scd = build_scd(project)
        sha256 = hashlib.sha256(scd).hexdigest()
        revision = Revision(
            revision=row.revision, sha256=sha256, meters=row.meters, ieds=row.ieds, ts=moment(row.ts)
        )
        return _Published(project, scd, revision)

    def _send(self, current: _Published, known: Mapping[str, Ied], *, gone: Iterable[str]) -> None:
        """Publish what differs from ``known``."""
        for ied in current.project.ieds:
            if not self._leads():
                return
            if known.get(ied.name) != ied:
                self._publish(self._topics.cid(ied.name), build_cid(current.project, ied.name))
        for name in sorted(set(gone) - {ied.name for ied in current.project.ieds}):
            self._publish(self._topics.cid(name), b"")
        self._publish(self._topics.scd, packed(current.scd))
        self._publish(self._topics.revision, current.revision.payload())
        self.revision = current.revision.revision


def changes(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """What happened to the meters, in words."""
    added, gone = len(after.keys() - before.keys()), len(before.keys() - after.keys())
    changed = sum(before[name] != after[name] for name in before.keys() & after.keys())
    parts = [(added, "added"), (gone, "withdrawn"), (changed, "changed")]
    words = [f"{number} {word}" for number, word in parts if number]
    if not words:
        return "settings changed"
    noun = "meter" if words[0].startswith("1 ") else "meters"
    return ", ".join([words[0].replace(" ", f" {noun} ", 1), *words[1:]])


def _difference(before: tuple[Ied, ...], after: tuple[Ied, ...]) -> str:
    """:func:`changes` of the meters in the IEDs that are not the same any more; a meter keeps its IED."""
    known = {ied.name: ied for ied in before}
    same = {ied.name for ied in after if known.get(ied.name) == ied}
    return changes(*(_meters(ied for ied in ieds if ied.name not in same) for ieds in (before, after)))


def _meters(ieds: Iterable[Ied]) -> dict[str, tuple[str, SclMeter]]:
    return {meter.ld_name: (ied.name, meter) for ied in ieds for meter in ied.meters}


def _ieds_ever(session: Session) -> set[str]:
    """The names of all IEDs that ever had a meter."""
    return {str(name) for name in session.exec(select(Meter.ied).distinct()) if name is not None}
