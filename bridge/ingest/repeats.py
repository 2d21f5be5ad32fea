"""What a broker has lost of the meters, published once more: from the registry, marked as repeated.

A standby broker, or one that was restored from an older state, knows nothing, or too little, of a meter that
is away. A while after each connection, when the meters that are there have told all themselves, the leader
looks at what is retained; where birth, status, relay or reading is missing or older than in the registry, it
publishes that with ``repeated`` true and, since who is there speaks for itself, with the status offline. No
reader takes it for a sign of life. What is retained of a retired meter is cleared.

>>> [kind for kind, _ in lost(state, {}, now=utc_now())]    # doctest: +SKIP
['birth', 'status', 'relay', 'reading']
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime

import aiomqtt
import orjson
from pydantic import ValidationError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from bridge.ingest import registry
from bridge.ingest.registry import is_shown
from bridge.store.queries import MeterState, Store
from bridge.store.tables import Meter, moment
from broker.contract.birth import Birth, Hardware
from broker.contract.commands import parsed
from broker.contract.errors import ContractError, Meter61850Error, reason
from broker.contract.known import takes_reading
from broker.contract.messages import Message, utc_now
from broker.contract.reading import Reading
from broker.contract.specs import RETAINED_OF_METER, SPECS
from broker.contract.status import Status
from broker.mqtt.backoff import Backoff
from broker.mqtt.client import new_client
from broker.mqtt.settings import MqttSettings

log = logging.getLogger(__name__)

TIMEOUT = 30.0
_JOIN_SECONDS = 2.0
_POLL_SECONDS = 0.1


class Repeats:
    """A thread that looks ``after`` seconds after each :meth:`again`, while this bridge ``leads``.

    What has come until then may change the registry, so it first waits until all of that has been through the
    database: ``taken`` counts the messages that came, ``through`` those that are done.
    """

    def __init__(
        self,
        engine: Engine,
        mqtt: MqttSettings,
        *,
        after: float,
        leads: Callable[[], bool],
        taken: Callable[[], int] = lambda: 0,
        through: Callable[[], int] = lambda: 0,
    ) -> None:
        self._store = Store(engine)
        self._mqtt = mqtt
        self._after = after
        self._leads = leads
        self._taken = taken
        self._through = through
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="repeats", daemon=True)

    def start(self) -> None:
        """Wait for the first connection, in the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what was not repeated is at the next start."""
        self._stopping.set()
        self._wanted.set()
        self._thread.join(_JOIN_SECONDS)

    def again(self) -> None:
        """There is a new connection, or this bridge leads from now on: look soon."""
        self._wanted.set()

    def _run(self) -> None:
        backoff = Backoff()
        while self._wanted.wait() and not self._stopping.wait(self._after):
            self._wanted.clear()
            wanted = self._taken()
            while self._through() < wanted and not self._stopping.wait(_POLL_SECONDS):
                pass
            if not self._leads():
                continue
            try:
                asyncio.run(self._look())
                backoff.reset()
            except (aiomqtt.MqttError, DBAPIError, Meter61850Error, OSError) as error:
                log.warning("what the broker has lost is not repeated yet: %s", reason(error))
                self._stopping.wait(backoff.next())
                self._wanted.set()

    async def _look(self) -> None:
        """One look; MqttError when the broker goes away, DBAPIError when the database does."""
        async with new_client(self._mqtt, timeout=TIMEOUT) as client:
            view = _View(client, self._mqtt)
            await view.subscribe()
            states = await asyncio.to_thread(self._store.meters, retired=True)
            now, done = utc_now(), 0
            for state in states:
                meter_id = state.meter.meter_id
                for kind, payload in lost(state, view.retained[meter_id], now=now):
                    done += await view.repeat(meter_id, kind, payload)
            await view.settle()
        if done:
            log.warning("the broker had lost %d messages of meters: repeated or cleared", done)


class _View:
    """What is retained of each meter, and what it has said since."""

    def __init__(self, client: aiomqtt.Client, mqtt: MqttSettings) -> None:
        self.retained: dict[str, dict[str, bytes]] = defaultdict(dict)
        self._client = client
        self._topics = mqtt.topics
        self._live: dict[str, bytes] = {}
        self._repeated: dict[str, bytes] = {}

    async def subscribe(self) -> None:
        """Hear all that is retained."""
        await self._client.subscribe([(self._topics.filter(kind), 0) for kind in RETAINED_OF_METER])
        await self._hear()

    async def repeat(self, meter_id: str, kind: str, payload: bytes) -> bool:
        """Publish ``payload``, unless the meter has spoken meanwhile; whether it was published."""
        topic = self._topics.meter(meter_id, kind)
        await self._take()
        if topic in self._live:
            return False
        self._repeated[topic] = payload
        await self._client.publish(topic, payload, qos=1, retain=True)
        return True

    async def settle(self) -> None:
        """Where a meter has spoken at the same moment, its own words are retained in the end."""
        await self._hear()
        while crossed := self._repeated.keys() & self._live.keys():
            for topic in crossed:
                self._repeated[topic] = payload = self._live.pop(topic)
                await self._client.publish(topic, payload, qos=1, retain=True)
            await self._hear()

    async def _hear(self) -> None:
        """All that the broker has for us now: it answers a SUBSCRIBE behind it."""
        await self._client.subscribe(self._topics.filter(RETAINED_OF_METER[0]) + "/none", qos=0)
        await self._take()

    async def _take(self) -> None:
        for _ in range(len(self._client.messages)):
            message = await anext(self._client.messages)
            topic, payload = message.topic.value, message.payload
            if not isinstance(payload, bytes) or payload == self._repeated.get(topic):
                continue
            if not message.retain:
                self._live[topic] = payload
                continue
            with suppress(ContractError):  # a stranger's topic
                told = self._topics.parse(topic)
                self.retained[told.name][told.kind] = payload


def lost(state: MeterState, retained: Mapping[str, bytes], *, now: datetime) -> Iterator[tuple[str, bytes]]:
    """(kind, payload) of what is missing or older in ``retained`` (kind → payload); b"" clears a topic."""
    meter = state.meter
    if meter.retired_at is not None:
        if not _is_current("birth", retained.get("birth"), state, now=now):
            yield from ((kind, b"") for kind in RETAINED_OF_METER if retained.get(kind))
    elif is_shown(meter):
        known: dict[str, Message | None] = {
            "birth": _birth(meter),
            "status": _status(meter),
            "relay": registry.known(meter).relay,
            "reading": _reading(state),
        }
        for kind, message in known.items():
            if message is not None and not _is_current(kind, retained.get(kind), state, now=now):
                yield kind, message.model_copy(update={"repeated": True}).payload()


def _is_current(kind: str, payload: bytes | None, state: MeterState, *, now: datetime) -> bool:
    """Whether what is retained would replace what the registry has."""
    model = SPECS[kind].model
    told = parsed(model, payload) if model else None
    if told is None:
        return False
    if isinstance(told, Reading):
        return takes_reading(_reading(state), told, first=False, now=now)
    return registry.known(state.meter).hear(told, live=False, now=now)


def _birth(meter: Meter) -> Birth | None:
    assert meter.born_at is not None
    fields = ("name", "owner", "address", "address_code", "ip", "firmware", "interval", "clock_synchronized")
    with suppress(ValidationError):  # the registry takes nothing else
        return Birth(
            hardware=Hardware(vendor=meter.vendor, model=meter.model, serial=meter.serial),
            quantities=tuple(name for name in meter.quantities.split(",") if name),
            relay=meter.has_relay,
            session=meter.session,
            ts=moment(meter.born_at),
            **{name: getattr(meter, name) for name in fields},
        )
    return None


def _status(meter: Meter) -> Status | None:
    """Offline: a meter that is online publishes its own status, and does so behind its old session's will."""
    if not meter.session or meter.session_at is None:
        return None
    return Status(
        online=False,
        session=meter.session,
        ts=moment(meter.session_at),
        outbox=meter.outbox,
        dropped=meter.dropped,
    )


def _reading(state: MeterState) -> Reading | None:
    if state.latest is None:
        return None
    fields = state.latest._asdict()
    other = fields.pop("other")
    fields |= {"ts": moment(state.latest.ts), "clock_synchronized": fields["clock_synchronized"] and None}
    told = {name: value for name, value in fields.items() if value is not None}
    with suppress(ValidationError):
        return Reading.model_validate((orjson.loads(other) if other else {}) | told)
    return None
