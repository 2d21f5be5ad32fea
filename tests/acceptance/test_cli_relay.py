"""``meter61850 relay`` against a meter that does as the test says; also on a broker without MQTT 5."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
import pytest

from broker.contract.birth import Birth, Hardware
from broker.contract.messages import Message, utc_now
from broker.contract.relay import Command, Position, Relay
from broker.contract.result import Outcome, Refusal, Result
from broker.contract.status import Status
from broker.contract.topics import Topics
from tests.support.brokers import Broker
from tests.support.cli import error, run

ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
TOPICS = Topics()


@dataclass
class Puppet:
    """A meter whose answer the test decides: ``outcome`` None is silence, ``moves`` False a stuck relay."""

    client: aiomqtt.Client
    outcome: Outcome | None = Outcome.DONE
    moves: bool = True
    commands: asyncio.Queue[tuple[Command, aiomqtt.Message]] = field(default_factory=asyncio.Queue)
    refusals: asyncio.Queue[Refusal] = field(default_factory=asyncio.Queue)

    async def tell(self, kind: str, message: Message, *, retain: bool = True) -> None:
        """Publish on one of the meter's topics."""
        await self.client.publish(TOPICS.meter(ID, kind), message.payload(), qos=1, retain=retain)

    async def be_born(self, *, online: bool = True, position: Position | None = Position.CLOSED) -> None:
        """Birth, status and relay."""
        birth = Birth(
            name="House", hardware=Hardware(serial="1"), firmware="1", interval=1, session="s", ts=utc_now()
        )
        await self.tell("birth", birth)
        await self.tell("status", Status(online=online, session="s", ts=utc_now()))
        if position is not None:
            await self.tell("relay", Relay(position=position, operations=0, ts=utc_now()))

    async def obey(self) -> None:
        """Answer commands, and keep what services refused, for ever."""
        async for message in self.client.messages:
            assert isinstance(message.payload, bytes)
            if message.topic.value.endswith("/refused"):
                self.refusals.put_nowait(Refusal.model_validate_json(message.payload))
                continue
            command = Command.model_validate_json(message.payload)
            self.commands.put_nowait((command, message))
            if self.outcome is None:
                continue
            if self.outcome is Outcome.DONE and self.moves:
                await self.tell("relay", Relay(position=command.position, operations=1, ts=utc_now()))
            result = Result(
                command_id=command.command_id, outcome=self.outcome, reason="so be it", ts=utc_now()
            )
            await self.tell("result", result, retain=False)


@asynccontextmanager
async def puppet(broker: Broker) -> AsyncIterator[Puppet]:
    """A born meter that listens."""
    async with aiomqtt.Client(broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        meter = Puppet(client)
        await client.subscribe(TOPICS.meter(ID, "command"), qos=1)
        await client.subscribe(TOPICS.refused("+"), qos=1)
        task = asyncio.create_task(meter.obey())
        try:
            yield meter
        finally:
            task.cancel()


def mqtt(broker: Broker) -> tuple[str, str]:
    """The broker as an option."""
    return "--mqtt", f"{broker.host}:{broker.port}"


async def opened(broker: Broker, *options: str) -> dict[str, Any]:
    """What ``relay open`` says, without blocking the meter."""
    done = await asyncio.to_thread(run, "relay", "open", "House", "--json", *options, *mqtt(broker))
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def refused(broker: Broker, *options: str, code: int) -> str:
    """The error of a ``relay open``."""
    return await asyncio.to_thread(error, "relay", "open", "House", *options, *mqtt(broker), code=code)


async def test_command_expires_in_five_seconds_and_is_not_retained(broker: Broker) -> None:
    async with puppet(broker) as meter:
        await meter.be_born()
        told = await opened(broker)
        assert told["outcome"] == "sent"
        command, message = await asyncio.wait_for(meter.commands.get(), 60)
    assert command.command_id == told["command_id"]
    assert command.position is Position.OPEN
    assert (command.expires_at - command.issued_at).total_seconds() == 5
    assert not message.retain
    assert message.qos == 1
    assert message.properties is not None
    assert getattr(message.properties, "MessageExpiryInterval") in range(1, 6)  # noqa: B009 paho sets it at run time


async def test_wait_ends_when_result_and_position_agree(broker: Broker) -> None:
    async with puppet(broker) as meter:
        await meter.be_born()
        assert (await opened(broker, "--wait"))["outcome"] == "done"


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.FAILED, Outcome.EXPIRED])
async def test_negative_answer_is_exit_5_with_the_meters_reason(outcome: Outcome, broker: Broker) -> None:
    async with puppet(broker) as meter:
        await meter.be_born()
        meter.outcome = outcome
        assert f"{outcome}: so be it" in await refused(broker, "--wait", code=5)


async def test_silence_is_exit_6(broker: Broker) -> None:
    async with puppet(broker) as meter:
        await meter.be_born()
        meter.outcome = None
        assert "did not answer" in await refused(broker, "--wait", code=6)


async def test_done_without_a_moved_relay_is_exit_6(broker: Broker) -> None:
    async with puppet(broker) as meter:
        await meter.be_born()
        meter.moves = False
        assert "did not move" in await refused(broker, "--wait", code=6)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"online": False}, "offline"),
        ({"position": None}, "position is not known"),
        ({"position": Position.OPEN}, "open already"),
    ],
)
async def test_command_in_vain_is_told_and_never_sent(
    state: dict[str, Any], why: str, broker: Broker
) -> None:
    async with puppet(broker) as meter:
        await meter.be_born(**state)
        assert why in await refused(broker, code=5)
        refusal = await asyncio.wait_for(meter.refusals.get(), 60)
    assert meter.commands.empty()
    assert why in refusal.reason
    assert refusal.meter_id == ID
    assert refusal.command is not None
    assert refusal.command.position is Position.OPEN


async def test_name_is_found_among_thousands(broker: Broker) -> None:
    """All retained births have come when the broker has answered the second SUBSCRIBE."""
    async with puppet(broker) as meter:
        for number in range(3000):
            topic = TOPICS.meter(f"00000000-0000-4000-8000-{number:012x}", "birth")
            other = Birth(
                name=f"Other {number}",
                hardware=Hardware(serial="1"),
                firmware="1",
                interval=1,
                session="s",
                ts=utc_now(),
            )
            await meter.client.publish(topic, other.payload(), qos=0, retain=True)
        await meter.be_born()
        assert (await opened(broker, "--wait"))["meter_id"] == ID
