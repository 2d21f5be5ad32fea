"""What the bridge tells Prometheus, and when it is healthy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic

from prometheus_client import Histogram
from sqlalchemy import Engine, func
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, select

from bridge.settings import BridgeSettings
from bridge.store import alarms
from bridge.store.tables import Alarm, Command, Meter
from broker.contract.alarms import KINDS
from broker.contract.errors import reason
from broker.metrics import PREFIX, MetricsServer, Sample

_LAG_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600, 86_400)
_BATCH_SIZES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)

SILENT_INTERVALS = 3.0
"""Intervals of the most frequent online meter without a reading after which nothing flows."""


class Flow:
    """How readings flow: size and lag of the batches, when the last reading was committed."""

    def __init__(self) -> None:
        self.last_commit = monotonic()
        self.sizes = Histogram(
            PREFIX + "bridge_batch_messages", "Messages in one commit", buckets=_BATCH_SIZES, registry=None
        )
        self.lags = Histogram(
            PREFIX + "bridge_lag_seconds",
            "From the meter's time to the commit",
            buckets=_LAG_SECONDS,
            registry=None,
        )

    def committed(self, messages: int, lags_ms: Sequence[int]) -> None:
        """One commit: how many messages, and the age of each reading in it, in ms."""
        self.sizes.observe(messages)
        if lags_ms:
            self.last_commit = monotonic()
        for lag in lags_ms:
            self.lags.observe(max(0, lag) / 1000)


@contextmanager
def observed(
    settings: BridgeSettings, engine: Engine, *, flow: Flow, counters: Callable[[], Mapping[str, int]]
) -> Iterator[None]:
    """Serve metrics and health while the block runs; nothing when no port is set."""
    if settings.metrics_port is None:
        yield
        return
    health = Health(engine, flow, counters)
    server = MetricsServer(
        settings.metrics_port,
        samples(engine, counters),
        healthy=health.illness,
        address=settings.metrics_address,
    )
    server.registry.register(flow.sizes)
    server.registry.register(flow.lags)
    with server:
        yield


class Health:
    """Whether readings flow from the broker into the database."""

    def __init__(self, engine: Engine, flow: Flow, counters: Callable[[], Mapping[str, int]]) -> None:
        self._engine = engine
        self._flow = flow
        self._counters = counters

    def illness(self) -> str:
        """Why the bridge is not healthy; empty when it is."""
        if not self._counters()["connected"]:
            return "no connection to the broker"
        try:
            interval = self._shortest_interval()
        except DBAPIError as error:
            return f"the database does not answer: {reason(error)}"
        silent = monotonic() - self._flow.last_commit
        if interval is not None and silent > SILENT_INTERVALS * interval:
            return f"no reading was stored for {silent:.0f} s, and meters are online"
        return ""

    def _shortest_interval(self) -> float | None:
        """Seconds between readings of the most frequent meter that is online; None without one."""
        online = col(Meter.online).is_(True) & col(Meter.retired_at).is_(None) & (col(Meter.interval) > 0)
        with Session(self._engine) as session:
            return session.exec(select(func.min(Meter.interval)).where(online)).one()


# fmt: off
_COUNTED = {
    "received": "MQTT messages taken",
    "stored": "Readings that were new",
    "duplicate": "Readings that were stored already",
    "conflicts": "Readings whose epoch and seq another reading has",
    "spoiled": "Bad quantities, whose readings were stored without them",
    "dead": "Messages that became dead letters",
    "limited": "Messages that exceeded a limit and were left out",
    "births": "Births and withdrawals",
    "commands": "Commands, results and refusals",
    "batches": "Commits",
    "database_errors": "Failed attempts to reach the database",
    "connections": "Connections to the broker",
    "scl_errors": "SCL builds that failed",
    "topology_rejected": "Topology files that were wrong",
    "alarms_raised": "Alarms that were raised because of a state",
    "alarms_cleared": "Alarms that were cleared",
    "notified": "Notifications that were sent",
    "notify_errors": "Notifications that could not be sent, and are tried again",
}
# fmt: on


def samples(engine: Engine, counters: Callable[[], Mapping[str, int]]) -> tuple[Sample, ...]:
    """The bridge's metrics."""
    counted = tuple(
        Sample(f"bridge_{name}", text, "counter", lambda name=name: counters()[name])  # type: ignore[misc]
        for name, text in _COUNTED.items()
    )
    # fmt: off
    return (
        *counted,
        Sample("bridge_connected", "1 while connected to the broker", "gauge",
               lambda: counters()["connected"]),
        Sample("bridge_leads", "1 while this bridge publishes the SCL", "gauge", lambda: counters()["leads"]),
        Sample("bridge_waiting", "Messages that wait for the database", "gauge",
               lambda: counters()["waiting"]),
        Sample("audit_rows", "Rows of the audit", "gauge", lambda: counters()["audit_rows"]),
        Sample("audit_broken", "1 when the audit lost an end that the bridge remembers", "gauge",
               lambda: counters()["audit_broken"]),
        Sample("bridge_ieds_without_address", "IEDs for which METER61850_MMS_HOSTS has no address", "gauge",
               lambda: counters()["ieds_without_address"]),
        Sample("bridge_revision", "Revision of the SCD", "gauge", lambda: counters()["revision"]),
        Sample("meters", "Meters by state", "gauge", lambda: _meters(engine), label="state"),
        Sample("alarms", "Alarms in force, by kind", "gauge", lambda: _alarms(engine), label="kind"),
        Sample("alarms_unacknowledged", "Alarms in force that nobody has acknowledged", "gauge",
               lambda: _unacknowledged(engine)),
        Sample("outbox_readings", "Readings that wait in the meters, as they tell", "gauge",
               lambda: _summed(engine, "outbox")),
        Sample("outbox_dropped", "Readings that full outboxes have dropped, as meters tell", "gauge",
               lambda: _summed(engine, "dropped")),
        Sample("ledger_commands", "Commands in the ledger by outcome", "gauge",
               lambda: _outcomes(engine), label="outcome"),
    )
    # fmt: on


def _meters(engine: Engine) -> dict[str, float]:
    with Session(engine) as session:
        grouped = select(Meter.online, func.count()).where(col(Meter.retired_at).is_(None))
        found = dict(session.exec(grouped.group_by(col(Meter.online))).all())
    return {"online": found.get(True, 0), "offline": found.get(False, 0)}


def _alarms(engine: Engine) -> dict[str, float]:
    found = alarms.counts(engine)
    return {kind: found.get(kind, 0) for kind in KINDS}


def _unacknowledged(engine: Engine) -> float:
    return sum(alarms.counts(engine, col(Alarm.acknowledged_at).is_(None)).values())


def _summed(engine: Engine, column: str) -> float:
    with Session(engine) as session:
        return float(session.exec(select(func.sum(getattr(Meter, column)))).one() or 0)


def _outcomes(engine: Engine) -> dict[str, float]:
    with Session(engine) as session:
        grouped = select(Command.outcome, func.count()).group_by(col(Command.outcome))
        return {outcome or "under way": count for outcome, count in session.exec(grouped).all()}
