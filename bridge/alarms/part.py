"""The bridge's part for alarms: looks and notifications, wired together.

>>> part = AlarmPart(settings, engine, reader, link, …)  # doctest: +SKIP
>>> part.start()  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine

from bridge.alarms.notifications import Notifier, Policy
from bridge.alarms.states import Limits
from bridge.alarms.watch import Feed, Rules, Watch
from bridge.ingest.work import Work
from bridge.mqtt.connection import Link
from bridge.settings import BridgeSettings
from bridge.store.clock import Clock


class AlarmPart:
    """``reader`` is an engine that takes no lock; ``through`` as in `bridge.meters.blocks`."""

    def __init__(
        self,
        settings: BridgeSettings,
        engine: Engine,
        reader: Engine,
        link: Link,
        *,
        through: Callable[[], int],
        leads: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._watch = Watch(
            reader,
            engine,
            settings.mqtt.topics,
            _rules(settings),
            publish=link.publish,
            feed=Feed(connected=lambda: link.out.is_open, taken=lambda: link.inbox.taken_in, through=through),
            clock=clock,
            clock_kept=settings.clock_kept,
        )
        policy = Policy(settings.notify_after, settings.notify_per_hour, settings.notify_severity)
        self._notifier = Notifier(reader, engine, settings.targets, policy, leads=leads)
        self.begin, self.ready, self.look = self._watch.begin, self._watch.ready, self._watch.look
        self.start, self.stop = self._notifier.start, self._notifier.stop

    def take(self, work: Work) -> None:
        """What was committed."""
        self._watch.take(work.retained_alarms, work.services)
        if work.alarms or work.acknowledged or work.retained_alarms:
            self._watch.soon()

    def counters(self) -> dict[str, int]:
        """For our status."""
        watch, notifier = self._watch, self._notifier
        return {
            "alarms_raised": watch.raised,
            "alarms_cleared": watch.cleared,
            "notified": notifier.sent,
            "notify_errors": notifier.errors,
        }


def _disk(settings: BridgeSettings) -> Path:
    """A folder on the disk of the database, or at least of the bridge's own files."""
    file = settings.database_url.removeprefix("sqlite:///")
    beside = Path(file) if file != settings.database_url else settings.audit_head_file or Path("x")
    return beside.absolute().parent


def _rules(settings: BridgeSettings) -> Rules:
    return Rules(
        every=settings.alarm_seconds,
        settle=settings.alarm_settle,
        limits=Limits.of(settings.bands),
        disk=_disk(settings),
        disk_mb=settings.alarm_disk_mb,
        dead_letters=settings.alarm_dead_letters,
        deaf=max(30.0, 3 * settings.status_seconds),
    )
