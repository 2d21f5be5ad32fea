"""One MQTT session of a meter, from the birth to the goodbye or the lost connection.

Every method that publishes or subscribes raises aiomqtt.MqttError when the connection is gone, and
ClockError when the time is not known; the link then begins another session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TypeVar

from aiomqtt import Message, MqttError
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions
from pydantic import ValidationError

from broker.contract.block import Block
from broker.contract.notice import MeterNotice, NoticeCode
from broker.contract.reading import Stored
from broker.contract.result import Outcome
from broker.contract.roles import Role
from broker.contract.specs import METER_KINDS, SPECS, heard_by
from broker.contract.status import Status
from broker.mqtt.jobs import end
from broker.mqtt.settings import MqttSettings
from broker.validation import first_complaint
from meter_firmware import clock
from meter_firmware.connection import MeterClient, local_ip
from meter_firmware.enrolment.credentials import Credentials
from meter_firmware.enrolment.renewal import Renewal
from meter_firmware.faults import Faults
from meter_firmware.outbox import Outbox
from meter_firmware.profile import Profile
from meter_firmware.readings import Readings
from meter_firmware.relay.age import arrived_after
from meter_firmware.relay.results import Results
from meter_firmware.relay.rules import UnreadableCommandError
from meter_firmware.relay.switch import Switch
from meter_firmware.replay import Replay
from meter_firmware.storage import StorageError

M = TypeVar("M", Block, Stored, MeterNotice)
HOUSEKEEPING_SECONDS = 60.0
SUBSCRIPTIONS = tuple(kind for kind in heard_by(Role.METER) if kind in METER_KINDS)
"""In the order of the contract: what is blocked is heard before the first command."""


@dataclass(frozen=True)
class Parts:
    """The meter's parts that a session serves."""

    profile: Profile
    outbox: Outbox
    sampler: Readings
    switch: Switch
    credentials: Credentials
    faults: Faults
    resend_after: float
    """Seconds."""


class Session:
    """What is said and heard while one connection lives; ``session`` is its id."""

    def __init__(self, client: MeterClient, session: str, *, mqtt: MqttSettings, parts: Parts) -> None:
        self._client = client
        self._session = session
        self._mqtt = mqtt
        self._parts = parts
        self._replay = Replay(parts.outbox, instance=parts.profile.instance, resend_after=parts.resend_after)
        self._told_backlog = (0, 0)
        self._told_synchronized: bool | None = None
        self._heard_block: Block | None = None
        parts.switch.connected()
        self._results = Results(parts.switch, self._publish_result, parts.faults)
        self._asked = (0, 0.0)
        """The reading that was published last, and when, in monotonic seconds."""
        self._renewal = Renewal(parts.credentials, partial(self._publish, "renew"), parts.faults)
        self.handlers: dict[str, Callable[[Message], Awaitable[None]]] = {
            "stored": self._stored,
            "block": self._block,
            "command": self._command,
            "notice": self._notice,
            "credential": self._credential,
        }

    async def announce(self) -> None:
        """Subscribe first, so that who sees us online can command us; then tell all that is retained."""
        for kind in heard(self._parts):
            await self._subscribe(kind)
        await self._tell_birth()
        await self.tell_status(online=True)
        relay, owed = await self._parts.switch.report()
        # without a relay: what is retained is of one that was here before
        if self._parts.switch.known or not self._parts.switch.exists:
            await self._publish("relay", relay.payload() if self._parts.switch.exists else b"")
        await self._results.tell_owed(owed)

    async def serve(self, stop: asyncio.Event) -> None:
        """Do everything else until ``stop``, or until there is a new certificate to connect with."""
        jobs: dict[str, Coroutine[None, None, object]] = {
            "stop": stop.wait(),
            "renewed": self._renewal.renewed.wait(),
            "incoming": self._receive(),
            "live": self._publish_live(),
            "history": self._replay_unconfirmed(),
            "housekeeping": self._keep_house(),
            "credentials": self._renewal.run(),
            "results": self._results.run(),
        }
        if self._parts.switch.moved is not None:
            jobs["relay"] = self._tell_moves(self._parts.switch.moved)
        tasks = {asyncio.create_task(job, name=f"{self._session} {name}") for name, job in jobs.items()}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(tasks)
        errors = [error for task in tasks if not task.cancelled() and (error := task.exception())]
        if errors:
            raise errors[0]

    async def tell_status(self, *, online: bool) -> None:
        """Publish the retained status with the outbox's state."""
        outbox = self._parts.outbox
        self._told_backlog = (outbox.count, outbox.dropped)
        status = Status(
            online=online,
            session=self._session,
            ts=clock.now(),
            outbox=outbox.count,
            dropped=outbox.dropped,
        )
        await self._publish("status", status.payload())

    async def _subscribe(self, kind: str) -> None:
        topic, qos = self._topic(kind), SPECS[kind].qos
        if self._mqtt.version == 5:
            # As published: otherwise a command that is retained while we listen would look live.
            options = SubscribeOptions(qos=qos, retainAsPublished=True)
            granted = await self._client.subscribe(topic, options=options)
        else:
            granted = await self._client.subscribe(topic, qos=qos)
        if any((code.value if isinstance(code, ReasonCode) else code) >= 0x80 for code in granted):
            raise MqttError(f"the broker refuses the subscription to {topic}")

    async def _tell_birth(self) -> None:
        birth = self._parts.profile.birth(ip=local_ip(self._client), session=self._session)
        self._told_synchronized = birth.clock_synchronized
        await self._publish("birth", birth.payload())

    async def _publish_result(self, payload: bytes) -> None:
        await self._publish("result", payload)

    async def _publish_live(self) -> None:
        seq = 0
        while True:
            kept = await self._parts.sampler.newer_than(seq)
            self._asked = kept.seq, monotonic()
            self._parts.outbox.note_sent([kept])
            await self._publish("reading", kept.sent_by(self._parts.profile.instance))
            seq = kept.seq

    async def _tell_moves(self, moved: asyncio.Event) -> None:
        """Publish the relay when it has moved without a command."""
        while True:
            await moved.wait()
            moved.clear()
            await self._publish("relay", self._parts.switch.relay.payload())

    async def _replay_unconfirmed(self) -> None:
        latest = self._parts.sampler.latest
        # The latest reading goes out as a live one.
        upto = latest.seq - 1 if latest else self._parts.outbox.last_seq
        await self._replay.run(self._publish_history, upto=upto)

    async def _publish_history(self, payload: bytes) -> None:
        await self._publish("history", payload)

    async def _keep_house(self) -> None:
        """Say when a backlog grows or is gone, and when NTP comes or goes."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            outbox = self._parts.outbox
            waiting, dropped = self._told_backlog
            # One reading is always on its way to the database: that is no backlog.
            if max(outbox.count, waiting) > 1 or outbox.dropped != dropped:
                await self.tell_status(online=True)
            if self._parts.profile.synchronized() != self._told_synchronized:
                await self._tell_birth()

    async def _receive(self) -> None:
        retained = len(self._client.messages)  # came with the subscriptions
        for _ in range(retained):
            await self._hear(await anext(self._client.messages))
        await self._repeat_block()  # a broker that has forgotten it hears it again
        async for message in self._client.messages:
            await self._hear(message)

    async def _hear(self, message: Message) -> None:
        try:
            await self.handlers[message.topic.value.rpartition("/")[2]](message)
        except StorageError as error:
            self._parts.faults.tell("disk refuses", error)

    async def _block(self, message: Message) -> None:
        await self._take_block(message)
        await self._repeat_block()

    async def _take_block(self, message: Message) -> None:
        self._heard_block = None
        if not _bytes(message):
            return  # somebody cleared the topic: that releases nothing
        if block := self._read("block", Block, message):
            self._heard_block = block
            await self._parts.switch.take_block(block)

    async def _repeat_block(self) -> None:
        """Tell what is blocked here where the broker has something older, or nothing."""
        block = self._parts.switch.block
        if block is not None and block != self._heard_block:
            self._heard_block = block
            await self._publish("block", block.payload())

    async def _command(self, message: Message) -> None:
        try:
            result = await self._parts.switch.obey(
                _bytes(message), retained=message.retain, arrived_after=arrived_after(message)
            )
        except UnreadableCommandError as error:
            self._parts.faults.tell("command is malformed", error)
            return
        if result.outcome is Outcome.DONE:
            await self._publish("relay", self._parts.switch.relay.payload())
        await self._results.tell(result)

    async def _credential(self, message: Message) -> None:
        if payload := _bytes(message):
            await self._renewal.take(payload)

    async def _stored(self, message: Message) -> None:
        stored = self._read("stored", Stored, message)
        if stored is None:
            return
        if not message.retain:
            await self._parts.switch.bridge_says(stored.blocks)
        if stored.ts is not None:
            self._results.bridge_confirms()
        if not stored.is_for(self._parts.profile.instance):
            return  # a twin's: ours of the same names may be other readings
        seq, asked = self._asked
        ours = stored.epoch == self._parts.outbox.epoch and stored.first <= seq <= stored.seq
        if stored.ts is not None and ours:
            self._parts.switch.bridge_time.told(stored.ts, asked=asked, heard=monotonic())
        if await self._parts.outbox.confirmed(stored):
            self._replay.progressed()

    async def _notice(self, message: Message) -> None:
        """What the bridge has to say to this meter alone; a code that we do not know says nothing to us."""
        notice = self._read("notice", MeterNotice, message)
        if notice is None:
            return
        if not message.retain:
            await self._parts.switch.bridge_says(notice.blocks)
        if notice.code == NoticeCode.BIRTH_REFUSED:
            self._parts.faults.tell("the bridge has refused our birth", notice.reason)
        await self._results.take(notice)
        ours = notice.is_for(self._parts.profile.instance)
        if notice.code == NoticeCode.EPOCH_CONFLICT and notice.epoch is not None and ours:
            renamed = await self._parts.sampler.rename(notice)
            if renamed is not None:
                what = f"{renamed} readings go out under new names: {notice.reason}"
                self._parts.faults.tell("memory card was restored or copied", what)
                self._replay.progressed()

    def _read(self, kind: str, model: type[M], message: Message) -> M | None:
        try:
            return model.model_validate_json(_bytes(message))
        except ValidationError as error:
            self._parts.faults.tell(f"{kind} is malformed", first_complaint(error))
            return None

    async def _publish(self, kind: str, payload: bytes) -> None:
        spec = SPECS[kind]
        await self._client.publish(self._topic(kind), payload, qos=spec.qos, retain=spec.retained)

    def _topic(self, kind: str) -> str:
        return self._mqtt.topics.meter(self._parts.profile.meter_id, kind)


def heard(parts: Parts) -> tuple[str, ...]:
    """The kinds of messages that this meter hears."""
    return tuple(kind for kind in SUBSCRIPTIONS if kind != "credential" or parts.credentials.kept)


def _bytes(message: Message) -> bytes:
    return message.payload if isinstance(message.payload, bytes) else b""
