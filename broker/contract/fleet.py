"""All meters of a broker, and whether their values can be trusted: online, stale, offline, out of service.

The one state machine of every reader: what replaces what is in `broker.contract.known`, which session counts
in `broker.contract.session`. A retained reading is as old as its timestamp; a live one is new when it
arrives, whatever the meter's clock says. Pure: no socket; the monotonic clock is an argument.

>>> state_of(broker_up=True, out=False, online=True, stale=False)
<State.ONLINE: 'online'>
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from broker.contract.alarms import Severity
from broker.contract.billing import Billing, TariffInForce
from broker.contract.known import Known, takes_reading
from broker.contract.messages import utc_now
from broker.contract.reading import Reading
from broker.contract.session import NO_SESSION, Session, after_status
from broker.contract.status import ServiceStatus, Status
from broker.contract.topics import checked_meter_id

STALE_INTERVALS = 3.0
"""A meter is stale after so many intervals without a reading."""

SKEW_SECONDS = 2.0
"""Two clocks that NTP keeps differ by less; a retained reading further ahead has no known age."""

DEFAULT_INTERVAL = 60.0
"""Seconds between readings of a meter whose birth we have not seen."""


class State(StrEnum):
    """How far the values of a meter can be trusted."""

    ONLINE = "online"
    STALE = "stale"
    OFFLINE = "offline"
    WITHDRAWN = "withdrawn"
    """Not in service: withdrawn, never born, or kept out by the registrar."""


def state_of(*, broker_up: bool, out: bool, online: bool, stale: bool) -> State:
    """The one state of a meter; without the broker nobody knows, so it is stale."""
    if out:
        return State.WITHDRAWN
    if not broker_up:
        return State.STALE
    if not online:
        return State.OFFLINE
    return State.STALE if stale else State.ONLINE


def age_of(ts: datetime, *, now: datetime) -> float:
    """Seconds since ``ts``; infinite when it is ahead of our clock, so that its age is not known."""
    age = (now - ts).total_seconds()
    return float("inf") if age < -SKEW_SECONDS else max(0.0, age)


@dataclass(slots=True)
class MeterState(Known):
    """One meter, its latest reading, and since when it is silent."""

    reading: Reading | None = None
    read_at: float = -math.inf
    """Monotonic time of the reading."""
    fresh_until: float = -math.inf
    """Monotonic time up to which it is not stale; kept, because every tick asks it of every meter."""
    stale: bool = True
    heard_at: float = -math.inf
    """Monotonic time of its latest sign of life, of whatever kind."""
    heard_until: float = -math.inf
    quiet: bool = True
    """No sign of life for as long as makes a reading stale: what it said of its relay may have changed."""
    worst: Severity | None = None
    """What its alarms in force leave of its health; None for good."""
    billing: Billing | None = None
    """None: no bridge has made it yet, or the meter is retired."""
    reading_session: str = ""
    """The session in which the reading was heard; empty before any."""

    @property
    def interval(self) -> float:
        """Seconds between readings."""
        return DEFAULT_INTERVAL if self.birth is None else self.birth.interval

    @property
    def clock_synchronized(self) -> bool:
        """What the birth said of the meter's clock."""
        return self.birth is None or self.birth.clock_synchronized

    def state(self, *, broker_up: bool) -> State:
        """Online, stale, offline or out of service; only the readings of an online one are good."""
        return self._state(broker_up=broker_up, stale=self.stale)

    def relay_state(self, *, broker_up: bool) -> State:
        """The same for what it said of its relay, for which every sign of life counts."""
        return self._state(broker_up=broker_up, stale=self.quiet)

    def _state(self, *, broker_up: bool, stale: bool) -> State:
        out = not self.in_service
        return state_of(broker_up=broker_up, out=out, online=self.session.online, stale=stale)


@dataclass
class Fleet:
    """All meters, and whether we are connected to the broker."""

    stale_intervals: float = STALE_INTERVALS
    broker_up: bool = False
    meters: dict[str, MeterState] = field(default_factory=dict)
    worst: Severity | None = None
    """What the server's own alarms in force leave of its health; None for good."""
    tariff: TariffInForce | None = None
    """None: the bridge has told none."""
    bridges: dict[str, Session] = field(default_factory=dict)
    """Service name of each bridge and its session."""

    @property
    def bridge_up(self) -> bool:
        """Whether a bridge is online: it stores readings and keeps the SCL."""
        return any(bridge.online for bridge in self.bridges.values())

    def meter(self, meter_id: str) -> MeterState:
        """The meter of that id, made when it is first heard of; ContractError if it is no meter_id."""
        meter = self.meters.get(meter_id)
        if meter is None:
            meter = self.meters[meter_id] = MeterState(checked_meter_id(meter_id))
        return meter

    def take_state(
        self,
        meter: MeterState,
        kind: str,
        payload: bytes,
        *,
        now: datetime,
        retained: bool = False,
        monotonic: float | None = None,
    ) -> bool:
        """Note a birth, status, relay, block or access (``retained``: a replay); False for an older one.

        At ``monotonic`` a birth, an online status and a relay are signs of life.
        """
        if not meter.take(kind, payload, live=not retained, now=now):
            return False
        if monotonic is not None:
            message = {"birth": meter.birth, "status": meter.status, "relay": meter.relay}.get(kind)
            if message is not None and not (isinstance(message, Status) and not message.online):
                live = not (retained or message.repeated)
                heard_at = monotonic - (0.0 if live else age_of(message.ts, now=now))
                meter.heard_at = max(meter.heard_at, heard_at)
            self.reconsider(meter, now=monotonic)
        return True

    def take_bridge(self, name: str, payload: bytes, *, retained: bool = False) -> bool:
        """Note the status of service ``name``, a bridge; whether that changes ``bridge_up``."""
        was_up = self.bridge_up
        if payload:
            known, status = self.bridges.get(name, NO_SESSION), ServiceStatus.model_validate_json(payload)
            self.bridges[name], _ = after_status(known, status, live=not retained, now=utc_now())
        else:
            self.bridges.pop(name, None)
        return self.bridge_up != was_up

    def take_payload(self, meter: MeterState, payload: bytes, *, now: float, retained: bool) -> bool:
        """Note a message of ``reading`` at monotonic ``now`` (``retained``: a replay); False for an older."""
        if not payload:
            meter.reading = None
            return True
        reading = Reading.model_validate_json(payload)
        live = not (retained or reading.repeated)
        age = 0.0 if live else age_of(reading.ts, now=utc_now())
        return self.take_reading(meter, reading, now=now, age=age, live=live)

    def take_reading(
        self, meter: MeterState, reading: Reading, *, now: float, age: float, live: bool = True
    ) -> bool:
        """Note a reading that is ``age`` seconds old at monotonic ``now``; False if a newer one is known."""
        known = meter.reading
        if known is None or reading.epoch != known.epoch or reading.seq <= known.seq:
            first = live and meter.reading_session != meter.session.name
            if not takes_reading(known, reading, first=first, now=utc_now()):
                return False
        if known is None or (reading.epoch, reading.seq) != (known.epoch, known.seq):
            meter.read_at = now - age  # heard again after a reconnect it is no newer and no older
            meter.heard_at = max(meter.heard_at, meter.read_at)
        meter.reading, meter.reading_session = reading, meter.session.name
        self.reconsider(meter, now=now)
        return True

    def reconsider(self, meter: MeterState, *, now: float) -> None:
        """A birth has the interval, and may come after the reading: how long that one is fresh."""
        seconds = self.stale_intervals * meter.interval
        meter.fresh_until, meter.heard_until = meter.read_at + seconds, meter.heard_at + seconds
        meter.stale = meter.reading is None or now >= meter.fresh_until
        meter.quiet = now >= meter.heard_until

    def forget_statuses(self) -> None:
        """The meters' connection is lost: each status comes again, and until then every meter is offline."""
        for meter in self.meters.values():
            meter.status, meter.session = None, meter.session.forgotten()

    def newly_stale(self, now: float) -> Iterator[MeterState]:
        """Meters whose reading has become stale, or that have become quiet, since the last call."""
        for meter in self.meters.values():
            stale = not meter.stale and now >= meter.fresh_until
            quiet = not meter.quiet and now >= meter.heard_until
            if stale or quiet:
                meter.stale, meter.quiet = meter.stale or stale, meter.quiet or quiet
                yield meter

    @property
    def online(self) -> int:
        """How many meters are online."""
        return sum(meter.online for meter in list(self.meters.values()))
