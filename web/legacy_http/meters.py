"""Meters that use plain HTTP, as in the thesis (chapters 4.4 and 5.3, appendix), in our contract.

``POST /SmartMeter`` is a birth, ``POST /Readings/{id}`` a reading (frequency and energy absent), silence for
three intervals an offline status. A reading is answered when the bridge has confirmed that it is stored, so
200 means that it is in the database. The id in the answer to a registration is random and, as in the thesis,
the only credential of the meter: a token. The meter_id is derived from it and does not reveal it. These
meters have no relay. Each start of the service is a new epoch of each meter, so (meter_id, epoch, seq) is
unique.

>>> await meters.submit(meter_id, {"voltage": 229.5, "current": 1.2})            # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field

from broker.contract.birth import Birth, Hardware
from broker.contract.errors import UnavailableError
from broker.contract.messages import Message, utc_now
from broker.contract.reading import Reading, Stored
from broker.contract.specs import RETAINED_OF_METER
from broker.contract.status import Status
from broker.contract.topics import Topics
from web.live.state import Live
from web.sending import Sender
from web.serving.problem import ProblemError

VENDOR, MODEL = "HTTP", "thesis"
"""Of the births that we make: how we know our meters again."""
MEASURES = ("voltage", "current", "power", "power_factor")
SILENT_INTERVALS = 3.0
STORED_SECONDS = 5.0
"""In which the bridge must confirm a reading."""
_METERS = uuid.UUID("91d5b1d7-3d3c-4c1c-9b83-6b0a4a1d6f2e")
"""Namespace of the meter_ids that we make of tokens (RFC 9562, 5.5)."""


def meter_of(token: str) -> str:
    """The meter_id of the HTTP meter with that token; it can't be reversed.

    >>> meter_of("3f2504e0-4f89-41d3-9a0c-0305e82c3301")
    'c8dd37bf-30d1-5cac-adad-e52954084b31'
    """
    return str(uuid.uuid5(_METERS, token))


@dataclass
class HttpMeter:
    """What we know of one of our meters since our start."""

    session: str = field(default_factory=lambda: uuid.uuid4().hex)
    epoch: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    seq: int = 0
    heard_at: float = field(default_factory=time.monotonic)
    online: bool = False
    waiting: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    """seq → the reading's request, until it is stored."""


def no_such_meter() -> ProblemError:
    """404."""
    return ProblemError(404, "no HTTP meter has this token: POST /SmartMeter makes one")


class ThesisMeters:
    """Gives HTTP meters their place in the contract; everything in the event loop's thread."""

    def __init__(self, topics: Topics, live: Live, sender: Sender, *, most: int, interval: float) -> None:
        self._topics = topics
        self._live = live
        self._sender = sender
        self._most = most
        self._interval = interval
        """s between readings of those that register now."""
        self._known: dict[str, HttpMeter] = {}
        live.on_stored = self.take_stored

    def ours(self) -> list[str]:
        """meter_ids of the HTTP meters in service, by name."""
        return [one for one in self._live.ordered() if self.is_ours(one)]

    def is_ours(self, meter_id: str) -> bool:
        """Whether that meter came by HTTP, and is in service or about to be."""
        meter = self._live.fleet.meters.get(meter_id)
        if meter is None or (meter.birth is None and meter.withdrawn is None):
            return meter_id in self._known
        hardware = meter.birth.hardware if meter.birth is not None else None
        return hardware is not None and (hardware.vendor, hardware.model) == (VENDOR, MODEL)

    async def register(self, *, name: str, location: str, address_code: str, address: str) -> str:
        """A new meter; its token. 503 when there are as many as may be, or no broker."""
        if len(set(self.ours()) | set(filter(self.is_ours, self._known))) >= self._most:
            raise ProblemError(
                503, f"there are {self._most} HTTP meters already: METER61850_WEB_THESIS_METERS"
            )
        token = str(uuid.uuid4())
        meter_id = meter_of(token)
        own = self._known[meter_id] = HttpMeter()
        birth = Birth(
            name=name,
            address=location,
            address_code=address_code,
            ip=address,
            hardware=Hardware(vendor=VENDOR, model=MODEL, serial=meter_id),
            firmware="",
            quantities=MEASURES,
            relay=False,
            interval=self._interval,
            session=own.session,
            ts=utc_now(),
        )
        try:
            await self._tell(meter_id, "birth", birth)
            await self._tell_status(meter_id, own, online=False)
        except UnavailableError:
            del self._known[meter_id]
            raise
        return token

    async def submit(self, meter_id: str, quantities: dict[str, float | None]) -> Reading:
        """Publish a reading of now; ends when it is stored. 404 for no meter of ours, 503 if it was not."""
        if not self.is_ours(meter_id):
            raise no_such_meter()
        own = self._known.get(meter_id) or self._return(meter_id)
        own.seq += 1
        own.heard_at = time.monotonic()
        reading = Reading(epoch=own.epoch, seq=own.seq, ts=utc_now(), **quantities)
        stored = own.waiting[reading.seq] = asyncio.get_running_loop().create_future()
        try:
            if not own.online or not self._told_online(meter_id):
                await self._tell_status(meter_id, own, online=True)
            await self._tell(meter_id, "reading", reading)
            await asyncio.wait_for(stored, STORED_SECONDS)
        except TimeoutError:
            raise UnavailableError(
                f"the bridge did not confirm the reading within {STORED_SECONDS:g} s: send it again"
            ) from None
        finally:
            own.waiting.pop(reading.seq, None)
        return reading

    async def withdraw(self, meter_id: str) -> None:
        """Take a meter out of service; its readings stay. 404 for no meter of ours."""
        if not self.is_ours(meter_id):
            raise no_such_meter()
        for kind in RETAINED_OF_METER:
            await self._sender.publish(self._topics.meter(meter_id, kind), b"", retain=True)
        self._known.pop(meter_id, None)

    def take_stored(self, meter_id: str, message: Message) -> None:
        """The bridge has committed readings."""
        assert isinstance(message, Stored)
        own = self._known.get(meter_id)
        if own is None or message.epoch != own.epoch:
            return
        for seq in [seq for seq in own.waiting if message.first <= seq <= message.seq]:
            stored = own.waiting.pop(seq)
            if not stored.done():
                stored.set_result(None)

    async def keep_watch(self) -> None:
        """Tell of those that have fallen silent, for ever; after our start of all of them, until they
        speak."""
        while True:
            await asyncio.sleep(1.0)
            if not self._live.fleet.broker_up:
                continue
            for meter_id in self.ours():
                meter = self._live.meter(meter_id)
                if meter is None:  # it was removed meanwhile
                    continue
                own = self._known.get(meter_id) or self._return(meter_id)
                silent = time.monotonic() - own.heard_at > SILENT_INTERVALS * meter.interval
                if own.online and silent:
                    await self._quietly_offline(meter_id, own)

    async def _quietly_offline(self, meter_id: str, own: HttpMeter) -> None:
        try:
            await self._tell_status(meter_id, own, online=False)
        except OSError:  # UnavailableError and NotAuthorizedError are OSErrors
            return  # published at the next check

    def _return(self, meter_id: str) -> HttpMeter:
        """An HTTP meter from before our start: its session and its state continue."""
        meter = self._live.meter(meter_id)
        assert meter is not None
        assert meter.birth is not None
        own = self._known[meter_id] = HttpMeter(session=meter.birth.session, online=meter.online)
        return own

    def _told_online(self, meter_id: str) -> bool:
        """What the broker retains: one that was killed may have forgotten."""
        meter = self._live.meter(meter_id)
        return meter is not None and meter.online

    async def _tell_status(self, meter_id: str, own: HttpMeter, *, online: bool) -> None:
        await self._tell(meter_id, "status", Status(online=online, session=own.session, ts=utc_now()))
        own.online = online

    async def _tell(self, meter_id: str, kind: str, message: Message) -> None:
        await self._sender.publish(self._topics.meter(meter_id, kind), message.payload(), retain=True)
