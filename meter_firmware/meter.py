"""One meter: sensor, relay, outbox and link put together. The simulator runs many of this very class.

>>> async def main(stop: asyncio.Event) -> None:
...     plan = Plan(profile=profile, mqtt=MqttSettings(), data_dir=Path("data"), ...)
...     await Meter(plan, sensor=sensor, pin=GpioPin(17)).run(stop)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path

from broker.mqtt.settings import MqttSettings
from meter_firmware import clock
from meter_firmware.connection import NewClient, usual_client
from meter_firmware.enrolment.credentials import Credentials
from meter_firmware.faults import Faults
from meter_firmware.link import Link
from meter_firmware.outbox import Outbox
from meter_firmware.profile import Profile
from meter_firmware.readings import Readings
from meter_firmware.relay.pin import Pin
from meter_firmware.relay.switch import Switch
from meter_firmware.relay.switch_log import SwitchLog
from meter_firmware.sampler import Rhythm, Sampler
from meter_firmware.sensors.sensor import Sensor
from meter_firmware.session import Parts
from meter_firmware.settings import OutboxSettings
from meter_firmware.storage import Storage, StorageError

_log = logging.getLogger(__name__)

FILE_NAME = "meter.sqlite"
STOP_SECONDS = 2.0
"""For the link to say goodbye; a broker that does not answer is left without one."""


@dataclass(frozen=True)
class Plan:
    """All that a meter is told, whether its hardware is real or simulated."""

    profile: Profile
    mqtt: MqttSettings
    data_dir: Path
    outbox: OutboxSettings
    clock_wait: float = 0.0
    """Seconds after the start of the machine for which NTP is awaited before anything is published."""
    offset: float = 0.0
    """Seconds from the start to the first reading."""
    local: bool = False
    """Only a hand at the meter may switch."""
    spared: bool = True
    """The relay has contacts, which are not to be switched as often as anybody likes."""


class MeterBase:
    """Outbox, credentials and link; what is measured and switched a subclass brings with it.

    ``storage``: where it is kept, if not in a file of its own.

    It sets ``_readings`` and ``_switch`` when it is made, and gives back what it holds in ``_release``.
    """

    _readings: Readings
    _switch: Switch
    _new_client: NewClient = staticmethod(usual_client)

    def __init__(self, plan: Plan, storage: Storage | None = None) -> None:
        self._plan = plan
        self._storage = storage or Storage(plan.data_dir / FILE_NAME)
        self._outbox = Outbox(self._storage, capacity=plan.outbox.capacity(plan.profile.interval))
        self._credentials = Credentials(plan.mqtt.identity, plan.profile.meter_id)
        self._faults = Faults(f"meter {plan.profile.meter_id}", logger=_log)

    async def run(self, stop: asyncio.Event) -> None:
        """Measure and serve until ``stop``; ConfigurationError or RelayError if we cannot even start."""
        await clock.until_set(stop)
        if stop.is_set():
            return
        try:
            await asyncio.to_thread(self._open)
            await self._serve(stop)
        finally:
            await asyncio.to_thread(self._close)

    def _open(self) -> None:
        self._storage.open()
        self._outbox.open(now=clock.now())
        self._switch.open(now=clock.now())

    def _close(self) -> None:
        self._release()
        self._storage.close()

    def _release(self) -> None:
        """Give back what measures."""

    async def _serve(self, stop: asyncio.Event) -> None:
        plan = self._plan
        link = Link(
            plan.mqtt,
            Parts(
                profile=plan.profile,
                outbox=self._outbox,
                sampler=self._readings,
                switch=self._switch,
                credentials=self._credentials,
                faults=self._faults,
                resend_after=plan.outbox.resend_after,
            ),
            self._new_client,
        )
        async with asyncio.TaskGroup() as group:
            jobs = [group.create_task(job, name=plan.profile.meter_id) for job in self._jobs()]
            linking = group.create_task(self._connected(link, stop), name=f"{plan.profile.meter_id} link")
            await stop.wait()
            self._stopping()
            for job in jobs:
                job.cancel()
            await asyncio.wait([linking], timeout=STOP_SECONDS)
            linking.cancel()

    def _jobs(self) -> list[Coroutine[None, None, None]]:
        """What runs beside the link."""
        return [self._readings.run()]

    def _stopping(self) -> None:
        """Called when the meter is to stop."""

    async def _connected(self, link: Link, stop: asyncio.Event) -> None:
        """Stay connected, once the time is known or was waited for long enough."""
        await self._ready(stop)
        await link.run(stop)

    async def _ready(self, stop: asyncio.Event) -> None:
        """Wait for the time, and let readings be published from then on."""
        plan = self._plan
        await clock.until_known(stop, synchronized=plan.profile.synchronized, wait=plan.clock_wait)
        while not stop.is_set():
            try:
                await self._readings.release()
                break
            except StorageError as error:  # without it a reading could be published twice, with two times
                self._faults.tell("disk refuses", error)
                await clock.pause(stop, seconds=1.0)


class Meter(MeterBase):
    """Sensor and relay on one side, MQTT on the other, and a disk in between."""

    def __init__(self, plan: Plan, *, sensor: Sensor, pin: Pin) -> None:
        super().__init__(plan)
        self._sensor = sensor
        log = SwitchLog(self._storage)
        relay = {"local": plan.local, "spared": plan.spared, "exists": plan.profile.relay}
        self._switch = Switch(log, pin, **relay)
        self._readings = Sampler(
            sensor,
            self._outbox,
            rhythm=Rhythm(plan.profile.interval, plan.offset),
            faults=self._faults,
            synchronized=plan.profile.synchronized,
        )

    def _release(self) -> None:
        self._sensor.close()
