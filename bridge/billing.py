"""Publishes what bills are made of: topic ``billing`` of each meter, after a round of upkeep.

A meter's figures are made anew when another hour is summed up, and when an interval was corrected; what is
another message than before is published, retained. What was published over another connection may be lost,
so all is made and published again. Registers are frozen when the last hour of their period is summed up.

>>> part = BillingPart(engine, settings, link, leads=lambda: True)  # doctest: +SKIP
>>> part.look(now, pause)  # doctest: +SKIP
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from time import monotonic

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from bridge.mqtt.connection import Link
from bridge.settings import BridgeSettings
from bridge.store.billing import Bills, Figures, corrected
from bridge.store.clock import Clock
from bridge.store.due import next_due
from bridge.store.queries import Store
from bridge.store.rollup import GRACE_MS
from bridge.store.tables import DAY_MS, HOUR_MS, Meter, at_ms, moment, sayable
from bridge.store.tariffs import Tariffs
from bridge.store.upkeep import Policy, kept_up
from broker.calendar import Period
from broker.contract.billing import FrozenPeriod, TariffInForce
from broker.contract.errors import ConfigurationError
from broker.contract.messages import utc_now

Known = Mapping[int, tuple[int, int]]

_AHEAD = timedelta(days=400)
_BEHIND = timedelta(days=8), _AHEAD

log = logging.getLogger(__name__)


class BillingPart:
    """`look` is of the thread that does the upkeep; only the bridge that ``leads`` publishes."""

    def __init__(
        self, engine: Engine, settings: BridgeSettings, link: Link, *, leads: Callable[[], bool]
    ) -> None:
        told, calendar = settings.billing, settings.billing.calendar.calendar
        file = told.calendar_of_tariffs()
        self._bills = Bills(engine, calendar, by=told.billing_period, tariffs=file)
        self._tariffs = file
        self._told_on, self._until = 0, datetime.max.replace(tzinfo=UTC)
        """Connection over which the tariff in force was told, and when it changes."""
        self._engine = engine
        self._store = Store(engine)
        self._topics = settings.mqtt.topics
        self._link = link
        self._leads = leads
        self._connection = 0
        self._hour = 0
        """All before it (ms) was summed up when all meters were looked at."""
        self._correction = 0
        """Key of the newest one that was heeded."""
        self._frozen: dict[int, FrozenPeriod] = {}
        self._heads: dict[int, tuple[datetime, Figures]] = {}
        """Of the running period until the begin of a day: those of the day are added each hour."""
        self._known: tuple[Known, Known] = {}, {}
        """Of the load profiles that both were made from."""
        self._published: dict[int, bytes] = {}
        self._failed: set[int] = set()
        """Meters whose figures cannot be made in this hour."""

    def kept_up(self, policy: Policy, *, seconds: float, clock: Clock) -> AbstractContextManager[None]:
        """Upkeep of the store, with a look after each round."""
        return kept_up(self._engine, policy, seconds=seconds, clock=clock, then=self.look)

    def look(self, now: int, pause: Callable[[float], bool]) -> None:
        """Publish what is new at ``now`` (ms); between two meters ``pause`` waits, or says to stop.

        DBAPIError when the database does not answer: the next look makes up for it.
        """
        over = (now - GRACE_MS) // HOUR_MS * HOUR_MS
        if not self._is_for_us():
            return
        with self._engine.connect() as connection:
            if next_due(connection, "hour", until=over - HOUR_MS) is not None:
                return  # another process is at it, or was stopped
        newest, changed = corrected(self._engine, after=self._correction)
        periods = self._bills.periods(moment(over))
        head = replace(periods[1], end=max(periods[1].start, moment(over - over % DAY_MS)))
        known = self._known
        if self._hour != over:
            self._failed.clear()
            known = self._bills.known(periods[0]), self._bills.known(head)
        for meter in self._store.registry(retired=True):
            assert meter.key is not None
            if self._hour == over and meter.key not in changed and self._is_told(meter):
                continue
            begin = monotonic()
            if meter.key in changed or known[0].get(meter.key) != self._known[0].get(meter.key):
                self._frozen.pop(meter.key, None)
            if meter.key in changed or known[1].get(meter.key) != self._known[1].get(meter.key):
                self._heads.pop(meter.key, None)
            self._renew(meter, periods, head)
            if pause(monotonic() - begin) or not self._is_for_us():
                return
        self._known = known
        self._hour, self._correction = over, newest

    def _is_for_us(self) -> bool:
        """Whether this bridge leads; what was published before, or over another connection, is forgotten."""
        leads, connection = self._leads(), self._link.out.connection
        if not leads or connection != self._connection:
            self._connection, self._hour = connection, 0
            self._published.clear()
        return leads

    def tell_tariff(self) -> None:
        """Publish the tariff in force when it changes, and over a new connection; for the leader."""
        now, connection = sayable(at_ms(utc_now())), self._link.out.connection
        if connection == self._told_on and now < self._until:
            return
        self._told_on, self._until = connection, now + _AHEAD
        payload = b""
        if self._tariffs is not None and now >= self._tariffs.begin:
            current, *later = islice(self._tariffs.changes(now, self._until), 2)
            told = TariffInForce(
                tariff=current.tariff,
                name=self._tariffs.name(current.tariff, now),
                since=sayable(at_ms(_since(self._tariffs, now))),
                until=later[0].at if later else None,
                next=later[0].tariff if later else None,
            )
            payload, self._until = told.payload(), told.until or self._until
        elif self._tariffs is not None:
            self._until = self._tariffs.begin
        self._link.publish(self._topics.tariff, payload)

    def _is_told(self, meter: Meter) -> bool:
        """Whether something was published of it, or cannot be in this hour; of a retired one, that it is."""
        if meter.key in self._failed:
            return True
        payload = self._published.get(meter.key or 0)
        return payload is not None and (meter.retired_at is None or not payload)

    def _renew(self, meter: Meter, periods: tuple[Period, Period], head: Period) -> None:
        """Publish the figures of one meter; what is wrong with them costs the others nothing."""
        assert meter.key is not None
        try:
            payload = self._payload(meter, periods, head)
        except DBAPIError:
            raise
        except Exception:
            log.exception("no figures for bills of meter %s in this hour", meter.meter_id)
            self._failed.add(meter.key)
            return
        if self._published.get(meter.key) != payload:
            self._link.publish(self._topics.meter(meter.meter_id, "billing"), payload)
            self._published[meter.key] = payload

    def _payload(self, meter: Meter, periods: tuple[Period, Period], head: Period) -> bytes:
        """Empty for a meter that is retired."""
        assert meter.key is not None
        if meter.retired_at is not None:
            return b""
        last, running = periods
        frozen = self._frozen.get(meter.key)
        try:
            if frozen is None or frozen.end != last.end:
                frozen = self._frozen[meter.key] = self._bills.frozen(meter, last)
            begun = self._heads.get(meter.key)
            if begun is None or begun[0] != head.end:
                figures = self._bills.figures(meter, head, self._bills.begun(running))
                begun = self._heads[meter.key] = head.end, figures
            rest = replace(running, start=head.end)
            figures = self._bills.figures(meter, rest, begun[1].copied())
            return self._bills.billing(frozen, running, figures).payload()
        except ConfigurationError as error:
            log.error("no energy by tariff from now on: %s", error)
            self._bills.tariffs = None
            self._frozen.clear()
            self._heads.clear()
            return self._payload(meter, periods, head)


def _since(tariffs: Tariffs, now: datetime) -> datetime:
    """When the tariff came into force that is; most change within a week, which is quicker to look at."""
    at = now
    for days in _BEHIND:
        start = max(tariffs.begin, now - days)
        *_, (at, _tariff) = tariffs.changes(start, now + timedelta(milliseconds=1))
        if at > start:
            break
    return at
