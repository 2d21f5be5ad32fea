"""One accepted metering point: its meter, started anew when what it tells of itself changes.

>>> entry = Entry(context, source, point, rule)          # doctest: +SKIP
>>> entry.take(Values("a0b0c0d0e0f4", {"power": 40.0}))  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from adapters.acceptance import Rule
from adapters.device_meter import DeviceMeter
from adapters.family import Available, Gone, Measured, Point, Refused, Step, Switched, Values
from adapters.points import Kept, meter_id_of, save, with_measured
from adapters.profiles import has_relay, profile_of
from adapters.settings import AdapterSettings
from adapters.source import Source
from adapters.store import Store
from adapters.told import Inbox
from broker.contract.errors import Meter61850Error
from broker.contract.messages import utc_now
from broker.contract.relay import Position
from broker.mqtt.settings import MqttSettings
from meter_firmware.clock import pause
from meter_firmware.enrolment.credentials import settle
from meter_firmware.faults import Faults
from meter_firmware.meter import Plan
from meter_firmware.profile import Profile
from meter_firmware.sensors.wiring import Wiring
from meter_firmware.settings import IDENTITY

_log = logging.getLogger(__name__)

SETTLE_SECONDS = 2.0
"""A device that tells of itself does so in several messages: then its meter starts once."""
OFTEN, PERIOD, CALM_SECONDS = 5, 600.0, 60.0
"""A device that has told news of itself so often in a period of seconds is given more time: each start is a
new birth, and may be a new configuration of the SCD."""
AGAIN_SECONDS = 60.0
"""Until a meter that could not start is tried again."""


@dataclass(frozen=True)
class Context:
    """What all entries of an adapter share."""

    settings: AdapterSettings
    admit: Callable[[Profile, Path], Awaitable[None]]
    """Called before a meter starts: enrols it, in a deployment."""
    store: Store
    """What must survive a power cut, of all meters."""


class Entry:
    """A metering point that is accepted by ``rule``; it is its meter's device, too."""

    def __init__(self, context: Context, source: Source, point: Point, rule: Rule) -> None:
        self.source = source
        self.point = point
        self.rule = rule
        self.meter_id = meter_id_of(source.family, point.key)
        self.folder = context.settings.data_dir / self.meter_id
        self.inbox = Inbox()
        self.meter: DeviceMeter | None = None
        self.taken = 0
        self.guessed = False
        """No file says of which source it is; the first that has it keeps it."""
        self._context = context
        self._online = True
        self._gone = False
        self._renewals = deque[float](maxlen=OFTEN)
        self._position: Switched | None = None
        self._changed = asyncio.Event()
        self._faults = Faults(f"meter {self.meter_id} ({source.family} {point.key})", logger=_log)

    def update(self, source: Source, point: Point, rule: Rule) -> None:
        """The device, or the operator, tells something new of it."""
        if (source, point, rule) != (self.source, self.point, self.rule):
            self.source, self.point, self.rule = source, point, rule
            self._changed.set()

    def announced(self) -> None:
        """The device is there again, after it was removed from its system; it may not say so in words."""
        if self._gone:
            self._gone = False
            self._available(True)

    def take(self, event: Step) -> None:
        """What the device tells; never raises."""
        match event:
            case Values():
                self.announced()
                self._values(event)
            case Available(_, online):
                self._gone = False
                self._available(online)
            case Gone():
                self._gone = True
                self._available(False)
            case Switched():
                self._position = event if event.confirmed else self._position
                if self.meter is not None:
                    self.meter.switch.switched(event)
            case Refused() if self.meter is not None:
                self.meter.switch.refused(event)

    def switch(self, position: Position, *, token: str) -> str:
        """Ask the device to switch; why that is not possible, or an empty text."""
        if not self.has_relay:  # since a moment: the meter is started anew without it
            return "its relay may no longer be switched from here"
        if not self._online:
            return "the device is offline"
        return self.source.switch(self.point.key, position, token=token)

    def ask(self) -> None:
        """Ask the device where its relay is."""
        if self.has_relay:
            self.source.ask(self.point.key)

    @property
    def has_relay(self) -> bool:
        """It has one, and the operator lets it be switched."""
        return has_relay(self.point, self.rule)

    def kept(self) -> Kept:
        """What a restart must know of it."""
        return Kept(self.source.family, self.source.settings.name, self.point)

    def profile(self) -> Profile:
        """What the meter tells of itself."""
        return profile_of(self._context.settings, self.source.settings, self.point, self.rule)

    async def run(self, stop: asyncio.Event) -> None:
        """Be the meter until ``stop``, started anew at each change; trouble is logged, and tried again."""
        await pause(stop, seconds=SETTLE_SECONDS)
        while not stop.is_set():
            self._changed.clear()
            if not self.point.quantities:
                await _first(stop, self._changed)
                await pause(stop, seconds=SETTLE_SECONDS)
                continue
            try:
                await self._be(stop)
            except (Meter61850Error, OSError, ExceptionGroup) as error:
                self._faults.tell("meter could not run", error)
                await pause(stop, seconds=AGAIN_SECONDS)

    async def _be(self, stop: asyncio.Event) -> None:
        """Be the meter until ``stop`` or a change."""
        profile = self.profile()
        await asyncio.to_thread(save, self.folder, self.kept())
        await self._context.admit(profile, self.folder)
        meter = DeviceMeter(
            self._plan(profile),
            self._context.store.part(self.meter_id),
            inbox=self.inbox,
            device=self,
            online=self._online,
        )
        ended, changed = asyncio.Event(), self._changed
        running = asyncio.create_task(meter.run(ended), name=f"meter {self.meter_id}")
        self.meter = meter
        try:
            if self._position is not None:
                meter.switch.switched(self._position)
            self.ask()
            await _first(stop, changed, running)
            if not running.done():
                await pause(stop, seconds=self._settling())  # it measures meanwhile
        finally:
            self.meter = None
            ended.set()
            await running

    def _settling(self) -> float:
        """Seconds until the meter starts anew."""
        now, often = monotonic(), len(self._renewals) == OFTEN
        hasty = often and now - self._renewals[0] < PERIOD
        self._renewals.append(now)
        return CALM_SECONDS if hasty else SETTLE_SECONDS

    def _plan(self, profile: Profile) -> Plan:
        settings, mqtt = self._context.settings, self._context.settings.mqtt
        folder = self.folder / IDENTITY
        if folder.exists():
            settle(folder)
            mqtt = MqttSettings(identity=folder, version=mqtt.version, keepalive=mqtt.keepalive)
        return Plan(profile=profile, mqtt=mqtt, data_dir=self.folder, outbox=settings.outbox)

    def _values(self, event: Values) -> None:
        self.taken += 1
        point = with_measured(self.point, event.measured)
        if point is not self.point:
            self.point = point
            self._changed.set()
        measured: Measured = Wiring(reverse=self.rule.reverse).applied(event.measured)
        if trouble := self.inbox.put(event, now=utc_now(), measured=measured):
            self.source.aside.note("time of a device is wrong", trouble)

    def _available(self, online: bool) -> None:
        self._online = online
        if self.meter is not None:
            self.meter.available(online=online)


async def _first(*events: asyncio.Event | asyncio.Task[None]) -> None:
    """Wait for the first of them."""
    waiting = [one if isinstance(one, asyncio.Task) else asyncio.create_task(_wait(one)) for one in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task, event in zip(waiting, events, strict=True):
            if task is not event:
                task.cancel()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
