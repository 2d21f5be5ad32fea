"""What the MMS tests share: a bridge on a real broker, meters that we drive, an independent client.

The meters here speak the contract and nothing else, so that a test decides what each one answers;
the chain with the real firmware is tested in tests/acceptance.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import aiomqtt
from open61850.mms import MmsClient

from broker.contract.birth import Birth, Hardware
from broker.contract.block import Block
from broker.contract.messages import Message, utc_now
from broker.contract.quantities import HOUSEHOLD
from broker.contract.reading import Reading
from broker.contract.relay import Command, Origin, OriginCategory, Position, Relay
from broker.contract.result import Outcome, Refusal, Result
from broker.contract.status import Revision, Status
from broker.contract.topics import Topics, scl_name
from broker.mqtt.settings import MqttSettings
from mms_bridge.run import serve
from mms_bridge.settings import MmsSettings
from scl_builder.build.builder import build_cid
from scl_builder.build.project import ControlModel, Ied, Meter, Project
from scl_builder.model.billing_nodes import DEFAULTS, Bills
from scl_builder.model.deadbands import NO_BANDS, Bands
from scl_builder.model.logical_devices import profile_of
from tests.support.brokers import Broker, free_port

T = TypeVar("T")
DEADLINE = 60.0
BRIDGE_THREAD = "mms-bridge"
"""How the name of the bridge's thread begins."""
OPERATE_LIMIT = 30.0
"""Seconds that a meter that is to answer may take: more than the product's, for a machine with other work."""


def meter_id(number: int) -> str:
    """The test's meter of that number."""
    return str(uuid.UUID(int=0x1234_0000 + number))


async def eventually(question: Callable[[], T], *, deadline: float = DEADLINE) -> T:
    """Ask (in a thread: clients block) until the answer is true; AssertionError with the last answer."""
    end = asyncio.get_running_loop().time() + deadline
    while True:
        answer = await asyncio.to_thread(question)
        if answer:
            return answer
        assert asyncio.get_running_loop().time() < end, f"still {answer!r} after {deadline} s"
        await asyncio.sleep(0.02)


@dataclass
class DrivenMeter:
    """A meter that publishes what the test says and answers commands as ``answer`` decides."""

    client: aiomqtt.Client
    topics: Topics
    meter_id: str
    session: str = field(default_factory=lambda: uuid.uuid4().hex)
    epoch: int = 1_700_000_000_000
    seq: int = 0
    position: Position = Position.CLOSED
    operations: int = 0
    commands: list[Command] = field(default_factory=list)
    number: int = 1
    """Of its logical device."""
    ied: str = "SMGW001"
    old_names: bool = False
    """Its logical device has the name that it had in old deployments."""
    has_relay: bool = True
    quantities: tuple[str, ...] = HOUSEHOLD
    answer: Outcome | None = Outcome.DONE
    """None: the meter stays silent."""
    cause: str | None = None
    """Of a negative answer."""

    @property
    def domain(self) -> str:
        """Its logical device's MMS name."""
        return scl_name(self.meter_id) if self.old_names else f"{self.ied}M{self.number}"

    async def publish(self, kind: str, message: Message | bytes, *, retain: bool = True) -> None:
        """Publish on one of its topics, acknowledged."""
        payload = message if isinstance(message, bytes) else message.payload()
        await self.client.publish(self.topics.meter(self.meter_id, kind), payload, qos=1, retain=retain)

    async def join(
        self, *, interval: float = 300.0, clock_synchronized: bool = True, name: str | None = None
    ) -> None:
        """Birth, online status, relay, and wait for commands."""
        await self.client.subscribe(self.topics.meter(self.meter_id, "command"), qos=1)
        birth = Birth(
            name=name or f"House {self.meter_id[-4:]}",
            hardware=Hardware(serial=self.meter_id[-8:]),
            firmware="test",
            quantities=self.quantities,
            interval=interval,
            clock_synchronized=clock_synchronized,
            session=self.session,
            relay=self.has_relay,
            ts=utc_now(),
        )
        await self.publish("birth", birth)
        await self.status(online=True)
        if self.has_relay:
            await self.relay(None)

    async def status(self, *, online: bool, session: str | None = None) -> None:
        """Say online or offline, as the meter or as its last will would."""
        await self.publish("status", Status(online=online, session=session or self.session, ts=utc_now()))

    async def read(self, *, age: float = 0.0, **quantities: float) -> datetime:
        """Publish the next reading; returns its time."""
        self.seq += 1
        ts = utc_now() - timedelta(seconds=age)
        reading = Reading.model_validate({"epoch": self.epoch, "seq": self.seq, "ts": ts, **quantities})
        await self.publish("reading", reading)
        return ts

    async def reads_until(self, question: Callable[[], object], **quantities: float) -> None:
        """Read again and again until the answer is true: with a short interval a reading is stale soon."""
        async with asyncio.timeout(DEADLINE):
            while not await asyncio.to_thread(question):
                await self.read(**quantities)

    async def relay(self, command_id: str | None, *, local: bool = False) -> datetime:
        """Publish the relay as it is; returns its time."""
        relay = Relay(
            position=self.position,
            operations=self.operations,
            local=local,
            ts=utc_now(),
            command_id=command_id,
        )
        await self.publish("relay", relay)
        return relay.ts

    async def block(self, *, open: bool = False, close: bool = False) -> Block:
        """Block as the CLI would."""
        origin = Origin(category=OriginCategory.MAINTENANCE, identifier="cli")
        block = Block.changed(None, opening=open, closing=close, origin=origin)
        await self.publish("block", block)
        return block

    async def obey(self, command: Command) -> None:
        """Do as ``answer`` says: switch and say so, or refuse, or nothing."""
        self.commands.append(command)
        if self.answer is None:
            return
        if self.answer is Outcome.DONE:
            self.position = command.position
            self.operations += 1
            await self.relay(command.command_id)
        reason = "" if self.answer is Outcome.DONE else "the test wants it so"
        result = Result(
            command_id=command.command_id, outcome=self.answer, reason=reason, cause=self.cause, ts=utc_now()
        )
        await self.publish("result", result, retain=False)


@dataclass
class Scene:
    """A running MMS bridge with its broker; ``settings`` and ``port`` say where."""

    broker: Broker
    client: aiomqtt.Client
    topics: Topics
    port: int
    control_model: ControlModel
    tls_port: int | None = None
    operate_limit: float = OPERATE_LIMIT
    """Seconds; the bridge's setting and the CID's operTimeout."""
    bills: Bills = DEFAULTS
    bands: Bands = NO_BANDS
    """Deadbands and ranges of the CID; by default every change is an event."""
    meters: dict[str, DrivenMeter] = field(default_factory=dict)
    old_names: bool = False
    """The meters that join have the names of an old deployment."""
    revision: int = 0
    background: list[asyncio.Task[None]] = field(default_factory=list)

    async def publish_cid(
        self, *, name: str = "SMGW001", change: Callable[[bytes], bytes] = lambda cid: cid
    ) -> bytes:
        """Publish a CID with all meters that have been added, then its revision."""
        self.revision += 1
        meters = tuple(
            Meter(
                m.meter_id,
                f"M{m.number}",
                ld_name=m.domain if m.old_names else "",
                name=m.meter_id[-4:],
                relay=m.has_relay,
                profile=profile_of(m.quantities),
            )
            for m in self.meters.values()
        )
        project = Project(
            "test",
            self.revision,
            (Ied(name, "127.0.0.1", self.port, meters, changes=self.revision, tls_port=self.tls_port),),
            control_model=self.control_model,
            operate_timeout=round(self.operate_limit * 1000),
            bands=self.bands,
            bills=self.bills,
        )
        cid = change(build_cid(project, name))
        await self.client.publish(self.topics.cid(name), cid, qos=1, retain=True)
        revision = Revision(revision=self.revision, sha256="0" * 64, meters=len(meters), ieds=1, ts=utc_now())
        await self.client.publish(self.topics.revision, revision.payload(), qos=1, retain=True)
        return cid

    async def add_meter(
        self,
        number: int,
        *,
        interval: float = 300.0,
        has_relay: bool = True,
        quantities: tuple[str, ...] = HOUSEHOLD,
    ) -> DrivenMeter:
        """A meter joins; its CID is not published yet."""
        meter = DrivenMeter(
            self.client,
            self.topics,
            meter_id(number),
            number=number,
            old_names=self.old_names,
            has_relay=has_relay,
            quantities=quantities,
        )
        self.meters[meter.meter_id] = meter
        await meter.join(interval=interval)
        return meter

    async def refusals(self) -> asyncio.Queue[Refusal]:
        """What the bridge tells the ledger, from now on."""
        told: asyncio.Queue[Refusal] = asyncio.Queue()
        subscribed = asyncio.Event()

        async def listen() -> None:
            async with aiomqtt.Client(self.broker.host, self.broker.port) as client:
                await client.subscribe(self.topics.refused("mms"), qos=1)
                subscribed.set()
                async for message in client.messages:
                    assert isinstance(message.payload, bytes)
                    told.put_nowait(Refusal.model_validate_json(message.payload))

        self.background.append(asyncio.create_task(listen()))
        await asyncio.wait_for(subscribed.wait(), DEADLINE)
        return told

    async def retained_block(self, meter: DrivenMeter) -> bytes:
        """What the broker keeps on the meter's topic; empty when nothing."""
        async with aiomqtt.Client(self.broker.host, self.broker.port) as client:
            await client.subscribe(self.topics.meter(meter.meter_id, "block"))
            await client.subscribe("barrier")
            if not len(client.messages):
                return b""
            message = await anext(client.messages)
        assert isinstance(message.payload, bytes)
        return message.payload

    def connect(self, host: str = "127.0.0.1") -> MmsClient:
        """A new association of the independent client; blocks, so call it in a thread."""
        return MmsClient.connect(host, self.port, timeout=DEADLINE)

    async def associate(self, host: str = "127.0.0.1") -> MmsClient:
        """A new association, as soon as the port listens."""

        def attempt() -> MmsClient | None:
            with suppress(OSError):
                return self.connect(host)
            return None

        client = await eventually(attempt)
        assert client is not None
        return client


@asynccontextmanager
async def scene(
    broker: Broker,
    *,
    control_model: ControlModel = "sbo-with-enhanced-security",
    prefix: str | None = None,
    bridge: Callable[[MmsSettings], AbstractContextManager[object]] | None = None,
    tls: bool = False,
    **settings: Any,
) -> AsyncIterator[Scene]:
    """An MMS bridge on ``broker`` with a topic prefix of its own, driven meters, stopped at the end.

    The bridge runs in a thread unless ``bridge`` runs it otherwise.
    """
    prefix = prefix or f"t{uuid.uuid4().hex[:8]}"
    mqtt = MqttSettings(host=broker.host, port=broker.port, prefix=prefix)
    settings = {"operate_limit": OPERATE_LIMIT} | settings
    with (bridge or threaded)(MmsSettings.model_validate({"mqtt": mqtt, **settings})):
        async with aiomqtt.Client(broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
            running = Scene(broker, client, mqtt.topics, free_port(), control_model)
            running.operate_limit = settings["operate_limit"]
            running.tls_port = free_port() if tls else None
            running.background.append(asyncio.create_task(_answer(running)))
            try:
                yield running
            finally:
                for task in running.background:
                    task.cancel()


@contextmanager
def threaded(settings: MmsSettings) -> Iterator[None]:
    """The bridge in a thread with a loop of its own: the test's blocking client must not stop it."""
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        ready.set_result((asyncio.get_running_loop(), stop))
        await serve(settings, stop)

    with ThreadPoolExecutor(1, BRIDGE_THREAD) as threads:
        ended = threads.submit(lambda: asyncio.run(main()))
        loop, stop = ready.result(DEADLINE)
        try:
            yield
        finally:
            if not ended.done():
                loop.call_soon_threadsafe(stop.set)
            ended.result(DEADLINE)


async def _answer(running: Scene) -> None:
    """Hand every command to its meter."""
    with suppress(aiomqtt.MqttError):
        async for message in running.client.messages:
            topic = running.topics.parse(message.topic.value)
            if topic.kind == "command" and isinstance(message.payload, bytes):
                await running.meters[topic.name].obey(Command.model_validate_json(message.payload))
