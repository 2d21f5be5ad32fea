"""The SCL on the broker: SCD, CIDs and revision as retained messages, rebuilt when the registry changes.

A birth that changes nothing makes no revision: the SCD is built from the registry and the revisions so far
alone, so the same registry gives the same bytes, also after a restart. Changed CIDs come first, then CIDs
that are gone (empty), then the SCD, and the revision last: who sees a revision finds all that belongs to it.

>>> Publication(engine, settings, publish=link.publish).start()  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic

from sqlalchemy import Engine, update
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, select

from bridge.ingest import places
from bridge.ingest.places import Places
from bridge.scl.history import changed_since, keep_topology, kept_topology, made_with
from bridge.scl.ieds import Ieds
from bridge.scl.pace import Pace
from bridge.scl.topology import Held, TopologyFile, tell_unmet
from bridge.settings import BridgeSettings
from bridge.store.audit import now_ms
from bridge.store.ld_names import record
from bridge.store.tables import Meter, SclRevision, moment
from broker.contract.compressed import packed
from broker.contract.errors import reason
from broker.contract.messages import format_ts
from broker.contract.status import Revision
from broker.contract.topics import Topics
from broker.version import VERSION
from scl_builder.build.builder import build_cid, build_scd
from scl_builder.build.project import HistoryItem, Ied, Project
from scl_builder.model.topology import Topology

log = logging.getLogger(__name__)

QUIET_SECONDS = 0.25
"""A rebuild waits until no meter was born for so long,"""
LIMIT_SECONDS = 1.0
"""but not longer than this."""
RETRY_SECONDS = 1.0

HISTORY = 100
"""Revisions that the SCD's History shows; the database keeps all."""
WHO = "meter61850 bridge"


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
        self._ieds = Ieds(
            settings.mms_host, settings.mms_port, settings.mms_tls_port, hosts=settings.mms_hosts
        )
        self._topology = TopologyFile(settings.topology)
        self._bills = settings.billing.bills(settings.interval_minutes)
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

    def look(self) -> None:
        """Once a second: take up a changed topology file."""
        if self._topology.look():
            self.changed()

    def counters(self) -> dict[str, int]:
        """For our status on the broker, and for the metrics."""
        rejected, without_address = self._topology.rejected, self._ieds.without_address
        told = {"topology_rejected": rejected, "ieds_without_address": without_address}
        return told | {"revision": self.revision, "scl_errors": self.errors}

    def warnings(self) -> list[str]:
        """What keeps the SCD from being what the settings say; only the bridge that leads knows."""
        return [text for text in (self._topology.complaint, self._ieds.complaint) if text and self._leads()]

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
            if not self._updated(everything=everything):
                self._retry(everything=everything)

    def _updated(self, *, everything: bool) -> bool:
        """Its error ends here: one that is kept over a wait keeps its connection to a file open."""
        try:
            self.update(everything=everything)
        except (DBAPIError, OSError, ValueError) as error:  # ValueError: the builder refuses the project
            self.errors += 1
            log.error("the SCL is not up to date: %s", reason(error))
            return False
        return True

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
        if before is None:
            self._take_names()
            self._settle()
        with Session(self._engine) as session:
            self._topology.begin(kept=lambda: kept_topology(session))
            ieds, ever = self._ieds.read(session), _ieds_ever(session)
        held = self._topology.held
        if before is None or (before.project.ieds, before.project.topology) != (ieds, held.topology):
            self._current = self._made(before, ieds, held)
        if self._current is not None and (everything or self._current is not before):
            known = {ied.name: ied for ied in before.project.ieds} if before and not everything else {}
            self._send(self._current, known, gone=(ever if everything else known.keys()))

    def _take_names(self) -> None:
        """The administrator's word on the names of logical devices, for all who read the database."""
        if (names := self._settings.ld_names) is not None:
            with self._engine.begin() as connection:
                if record(connection, names):
                    log.warning("logical devices are named by %s from now on: import the SCD again", names)

    def _settle(self) -> None:
        """Spare logical devices as the settings have them."""
        with Session(self._engine) as session:
            places.lock(session.connection())
            places.settle(session, Places(self._settings.max_meters_per_ied, spare=self._settings.spare))
            session.commit()

    def _made(self, before: _Published | None, ieds: tuple[Ied, ...], held: Held) -> _Published | None:
        """The SCD for ``ieds``: the last revision's if that has the same bytes, else that of a new one."""
        with Session(self._engine) as session:
            newest = select(SclRevision).order_by(col(SclRevision.revision).desc()).limit(HISTORY)
            rows = list(session.exec(newest))[::-1]
        if not rows and not ieds:
            return None
        if rows and before is None:
            last = self._build(rows, ieds, held.topology)
            if last.revision.sha256 == rows[-1].sha256:
                keep_topology(self._engine, rows[-1], held.text)
                return last
        settings = made_with(self._settings, self._ieds.names)
        change = changed_since(before.project if before else rows[-1] if rows else None, ieds, held, settings)
        row = SclRevision(
            revision=rows[-1].revision + 1 if rows else 1,
            sha256="",
            meters=sum(len(ied.owned) for ied in ieds),
            ieds=len(ieds),
            ts=max([now_ms(), *(row.ts for row in rows)]),  # a history runs forward, whatever the clock
            what=change.what,
            why=change.why,
            settings=json.dumps(settings),
            topology=held.text,
        )
        made = self._build([*rows, row][-HISTORY:], ieds, held.topology)
        row.sha256 = made.revision.sha256
        with Session(self._engine) as session:
            earlier = update(SclRevision).where(col(SclRevision.settings).is_not(None))
            session.execute(earlier.values(settings=None, topology=None))
            session.add(row)
            session.commit()
        self._pace.made(monotonic())
        log.info("SCL revision %d: %s", made.revision.revision, change.what)
        if before is None or before.project.topology != held.topology:
            tell_unmet(held.topology, ieds)
        return made

    def _build(self, rows: list[SclRevision], ieds: tuple[Ied, ...], topology: Topology | None) -> _Published:
        """The SCD of the revision that is the last of ``rows``."""
        settings, row = self._settings, rows[-1]
        project = Project(
            name=settings.project_name,
            revision=row.revision,
            ieds=ieds,
            history=tuple(map(_item, rows)),
            report_instances=settings.report_instances,
            control_model=settings.control_model,
            operate_timeout=round(settings.mms_operate_limit * 1000),
            tool_version=VERSION,
            topology=topology,
            bands=settings.bands,
            bills=self._bills,
            clients=settings.clients,
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


def _item(row: SclRevision) -> HistoryItem:
    return HistoryItem(row.revision, format_ts(moment(row.ts)), WHO, row.what, row.why or "")


def _ieds_ever(session: Session) -> set[str]:
    """The names of all IEDs that ever had a meter."""
    return {str(name) for name in session.exec(select(Meter.ied).distinct()) if name is not None}
