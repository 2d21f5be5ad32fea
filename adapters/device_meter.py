"""A meter of the firmware whose sensor and relay are somebody else's device.

While the device says that it is offline, the meter is offline, too: its session ends, as that of a meter that
is switched off, once its last readings are stored or were given time for that.

>>> meter = DeviceMeter(plan, store.part(meter_id), inbox=Inbox(), device=device)  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from adapters.remote_switch import Device, RemoteSwitch
from adapters.store import Part
from adapters.told import Inbox, ToldReadings
from meter_firmware.connection import light_client
from meter_firmware.link import Link
from meter_firmware.meter import MeterBase, Plan
from meter_firmware.relay.switch_log import SwitchLog
from meter_firmware.storage import StorageError

LAST_LOOKS, LOOK_SECONDS = 50, 0.1
"""An offline device's meter waits so long for its last readings to be stored."""


class DeviceMeter(MeterBase):
    """``switch`` takes what the device tells of its relay, the ``inbox`` its values."""

    _new_client = staticmethod(light_client)

    def __init__(self, plan: Plan, part: Part, *, inbox: Inbox, device: Device, online: bool = True) -> None:
        super().__init__(plan, part)
        self._part = part
        self._online = online
        self._end = asyncio.Event()
        """Of the session: the device has gone, or we stop."""
        self._back = asyncio.Event()
        self._link: Link | None = None
        self._leaving: asyncio.Task[None] | None = None
        exists = plan.profile.relay
        self._remote = RemoteSwitch(SwitchLog(self._storage), device, exists=exists)
        self._switch = self._remote
        self._told = ToldReadings(
            inbox,
            self._outbox,
            interval=plan.profile.interval,
            faults=self._faults,
            synchronized=plan.profile.synchronized,
            present=lambda: self._online,
        )
        self._readings = self._told

    @property
    def switch(self) -> RemoteSwitch:
        """The device's relay."""
        return self._remote

    def available(self, *, online: bool) -> None:
        """The device says that it is there, or not."""
        self._online = online
        if online:
            self._back.set()
        elif self._leaving is None and self._link is not None:
            self._leaving = asyncio.create_task(self._leave(self._link))

    def _jobs(self) -> list[Coroutine[None, None, None]]:
        moves = [self._remote.record_moves()] if self._remote.exists else []
        return [*super()._jobs(), *moves]

    def _stopping(self) -> None:
        self._end.set()
        self._back.set()
        if self._leaving is not None:
            self._leaving.cancel()

    async def _connected(self, link: Link, stop: asyncio.Event) -> None:
        await self._ready(stop)
        self._link = link
        if not self._online:
            self.available(online=False)
        while not stop.is_set():
            await link.run(self._end)
            while not (self._online or stop.is_set()):
                self._back.clear()  # set whenever the device says that it is there, also while it is
                await self._back.wait()
            if not stop.is_set():
                self._end.clear()

    async def _leave(self, link: Link) -> None:
        """End the session when it has told who we are, and what was measured."""
        await link.announced.wait()
        for _ in range(LAST_LOOKS):
            if self._online or not self._outbox.count:
                break
            await asyncio.sleep(LOOK_SECONDS)
        self._leaving = None
        if not self._online:
            self._end.set()

    def _release(self) -> None:
        self._part.settle()
        try:
            self._told.flush()
        except StorageError as error:
            self._faults.tell("reading could not be saved", error)
