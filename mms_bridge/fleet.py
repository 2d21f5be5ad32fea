"""What is known of each meter: its latest birth, status, reading and relay, and whether to trust them.

A last will carries the session that it ends: an offline status of another session than the one that
gave birth is an old will and changes nothing. A retained reading is as old as its timestamp; a live
one is new when it arrives, whatever the meter's clock says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from broker.admission import Access
from broker.messages import Birth, Block, Position, Reading, Relay, ServiceStatus, Status
from broker.topics import meter_id_of, scl_name

DEFAULT_INTERVAL = 60.0
"""Seconds between readings of a meter whose birth we have not seen."""


class Behaviour(IntEnum):
    """BehaviourModeKind of IEC 61850-7-4."""

    ON = 1
    BLOCKED = 2
    TEST = 3
    TEST_BLOCKED = 4
    OFF = 5


@dataclass(slots=True)
class Meter:
    """One meter as the retained topics tell it."""

    meter_id: str
    domain: str
    """MMS name of its logical device."""
    birth: Birth | None = None
    status: Status | None = None
    reading: Reading | None = None
    relay: Relay | None = None
    block: Block | None = None
    """None when nothing was ever blocked or released."""
    read_at: float = -math.inf
    """Monotonic time of the reading."""
    fresh_until: float = -math.inf
    """Monotonic time up to which it is not stale; kept, because every tick asks it of every meter."""
    stale: bool = True
    withdrawn: datetime | None = None
    """When its birth was taken back: it is out of service until it is born again."""
    kept_out: datetime | None = None
    """Since when the registrar lets it in no more."""

    @property
    def out_since(self) -> datetime | None:
        """Since when it is out of service, withdrawn or kept out; None when it is in."""
        if self.withdrawn is None or self.kept_out is None:
            return self.kept_out or self.withdrawn
        return min(self.withdrawn, self.kept_out)

    @property
    def online(self) -> bool:
        """Told online, or told offline by the will of an older session than the birth's."""
        if self.status is None or self.out_since is not None:
            return False
        if self.status.online:
            return True
        return self.birth is not None and self.birth.session != self.status.session

    @property
    def behaviour(self) -> Behaviour:
        """Beh of its logical device."""
        return Behaviour.ON if self.out_since is None else Behaviour.OFF

    @property
    def interval(self) -> float:
        """Seconds between readings."""
        return DEFAULT_INTERVAL if self.birth is None else self.birth.interval

    @property
    def clock_synchronized(self) -> bool:
        """What the birth said of the meter's clock."""
        return self.birth is None or self.birth.clock_synchronized

    @property
    def position(self) -> Position | None:
        """The relay's position, None while the meter has not told it."""
        return None if self.relay is None else self.relay.position


@dataclass
class Fleet:
    """All meters, and whether the broker is there to tell of them."""

    stale_intervals: float = 3.0
    broker_up: bool = False
    meters: dict[str, Meter] = field(default_factory=dict)
    _by_domain: dict[str, Meter] = field(default_factory=dict)
    bridges: dict[str, bool] = field(default_factory=dict)
    """Service name of each bridge and whether it is online."""

    @property
    def bridge_up(self) -> bool:
        """Whether a bridge is online: it stores readings and keeps the SCL."""
        return any(self.bridges.values())

    def meter(self, meter_id: str) -> Meter:
        """The meter of that id, made when it is first heard of; ContractError if it is no meter_id."""
        meter = self.meters.get(meter_id)
        if meter is None:
            meter = self.meters[meter_id] = Meter(meter_id, scl_name(meter_id))
            self._by_domain[meter.domain] = meter
        return meter

    def of(self, domain: str) -> Meter:
        """The meter of that MMS domain; ContractError if it is none of a meter."""
        return self._by_domain.get(domain) or self.meter(meter_id_of(domain))

    def take_state(self, meter: Meter, kind: str, payload: bytes, *, now: datetime) -> None:
        """Note a birth, status, relay or access; an empty one takes back what was told."""
        match kind:
            case "birth":
                meter.birth = Birth.model_validate_json(payload) if payload else None
                meter.withdrawn = None if payload else meter.withdrawn or now
            case "status":
                meter.status = Status.model_validate_json(payload) if payload else None
            case "relay":
                meter.relay = Relay.model_validate_json(payload) if payload else None
            case "access":
                access = Access.model_validate_json(payload) if payload else None
                meter.kept_out = None if access is None or access.allowed else access.ts

    def take_bridge(self, name: str, payload: bytes) -> bool:
        """Note the status of service ``name``, a bridge; whether that changes ``bridge_up``."""
        was_up = self.bridge_up
        self.bridges[name] = bool(payload) and ServiceStatus.model_validate_json(payload).online
        return self.bridge_up != was_up

    def take_reading(self, meter: Meter, reading: Reading, *, now: float, age: float) -> bool:
        """Note a reading that is ``age`` seconds old at monotonic ``now``; False if a newer one is known.

        An epoch is the birth of an outbox by a clock that may have been wrong: it has no order.
        """
        known = meter.reading
        if known is not None and reading.epoch == known.epoch and reading.seq < known.seq:
            return False
        if known is None or (reading.epoch, reading.seq) != (known.epoch, known.seq):
            meter.read_at = now - age  # heard again after a reconnect it is no newer and no older
        meter.reading = reading
        self.reconsider(meter, now=now)
        return True

    def reconsider(self, meter: Meter, *, now: float) -> None:
        """A birth tells the interval, which may come after the reading: how long that one is fresh."""
        meter.fresh_until = meter.read_at + self.stale_intervals * meter.interval
        meter.stale = meter.reading is None or now >= meter.fresh_until

    def forget_statuses(self) -> None:
        """What the meters tell is cut off: who is online is told anew, and until then nobody is."""
        for meter in self.meters.values():
            meter.status = None

    def newly_stale(self, now: float) -> Iterator[Meter]:
        """Meters whose reading has become stale since the last call; monotonic ``now``."""
        for meter in self.meters.values():
            if not meter.stale and now >= meter.fresh_until:
                meter.stale = True
                yield meter

    @property
    def online(self) -> int:
        """How many meters are online."""
        return sum(meter.online for meter in list(self.meters.values()))
