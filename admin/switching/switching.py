"""One meter's relay, switched or blocked: what ``meter61850 relay`` does for a single METER.

>>> await switch("House 1", Position.OPEN, settings, wait=True)        # doctest: +SKIP
{'meter': 'House 1', …, 'outcome': 'done', 'seconds': 0.021}
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiomqtt

from admin import mqtt
from admin.exits import NoAnswerError, NotFoundError, RefusedError
from admin.switching import directory
from admin.switching.orders import our_command, our_origin, publish_command, tell_refusal
from broker.contract.block import Block
from broker.contract.commands import ANSWER_SECONDS, Why, against_switching, became, in_vain, parsed
from broker.contract.errors import UnavailableError
from broker.contract.known import Known
from broker.contract.notice import MeterNotice
from broker.contract.relay import Command, Position
from broker.contract.result import Outcome, Result
from broker.contract.topics import Topics
from broker.mqtt.publishing import publish
from broker.mqtt.settings import MqttSettings

RECORDED_SECONDS = 10.0
"""For the bridge to put a change of a block into the ledger; it is published again every AGAIN_SECONDS."""
AGAIN_SECONDS = 2.0


async def switch(meter: str, position: Position, settings: MqttSettings, *, wait: bool) -> dict[str, Any]:
    """Send the command and return its outcome; RefusedError, NoAnswerError or NotFoundError otherwise."""
    settings = await mqtt.speaking(settings)
    async with mqtt.connected(settings) as client:
        known = await directory.find(client, settings, meter)
        command = our_command(position)
        if objection := against_switching(known, position):
            await tell_refusal(client, settings, known.meter_id, command, objection.reason)
            kind = NotFoundError if objection.why is Why.NO_METER else RefusedError
            raise kind(f"{meter}: {objection.reason}")
        topics = settings.topics
        await client.subscribe([(topics.meter(known.meter_id, kind), 1) for kind in ("result", "relay")])
        sent = time.monotonic()
        await publish_command(client, settings, known.meter_id, command)
        result = await _answer(client, settings, known, command) if wait else None
    return {
        "meter": known.name,
        "meter_id": known.meter_id,
        "position": position,
        "command_id": command.command_id,
        "outcome": result.outcome if result else "sent",
        "seconds": round(time.monotonic() - sent, 3) if result else None,
    }


async def _answer(client: aiomqtt.Client, settings: MqttSettings, known: Known, command: Command) -> Result:
    """The meter's positive result, when its relay is in position as well; RefusedError or NoAnswerError."""
    result: Result | None = None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            async for message in client.messages:
                payload = message.payload if isinstance(message.payload, bytes) else None
                kind = settings.topics.parse(message.topic.value).kind
                if kind == "result" and (answer := parsed(Result, payload)):
                    if result is None and answer.command_id == command.command_id:
                        result = answer  # a broker may deliver twice, and the second is refused
                elif kind == "relay" and payload:
                    known.take_if_valid(kind, payload, live=not message.retain)
                told = became(result, shows=known.position, wanted=command.position)
                if result and told == Outcome.DONE:
                    return result
                if result and told is not None:
                    raise RefusedError(f"the meter answered {told}: {result.reason or 'no reason given'}")
    except TimeoutError:
        why = in_vain(answered=result is not None)
        raise NoAnswerError(
            f"{why} within {ANSWER_SECONDS:g} s; `meter61850 commands` shows later answers"
        ) from None
    raise UnavailableError("the broker closed the connection before the meter answered")


@dataclass(frozen=True)
class Change:
    """Which operations are to be blocked, or released; none: only look."""

    opening: bool
    closing: bool
    blocked: bool


async def block(meter: str, change: Change, settings: MqttSettings) -> dict[str, Any]:
    """Make the change, wait for its record, and return the block.

    Raises:
        NotFoundError: there is no such meter.
        NoAnswerError: the change was made, and is not recorded.
    """
    settings = await mqtt.speaking(settings)
    async with mqtt.connected(settings) as client:
        known = await directory.find(client, settings, meter)
        if known.birth is None:
            raise NotFoundError(f"no meter {meter}: `meter61850 meters list` shows all")
        if not known.birth.relay:
            raise RefusedError(f"{meter}: {Why.NO_RELAY}")
        recorded: bool | None = None
        if change.opening or change.closing:
            known.block = Block.changed(
                known.block,
                opening=change.blocked if change.opening else None,
                closing=change.blocked if change.closing else None,
                origin=our_origin(),
            )
            recorded = await _recorded(client, settings.topics, known.meter_id, known.block)
    return {
        "meter": known.name,
        "meter_id": known.meter_id,
        "blocked": known.block.words if known.block else "nothing",
        "since": known.block.ts if known.block else None,
        "origin": f"{known.block.origin.category} {known.block.origin.identifier}" if known.block else None,
        "recorded": recorded,
        "meter_online": known.online,
    }


async def _recorded(client: aiomqtt.Client, topics: Topics, meter_id: str, block: Block) -> bool:
    """Publish the block until a bridge has it in the ledger; False where there was never a bridge.

    Raises:
        NoAnswerError: no bridge has confirmed it.
    """
    services = await mqtt.retained(client, topics.filter("service_status"), barrier=topics.refused(mqtt.NAME))
    there = any(topics.parse(topic).name.startswith("bridge") for topic in services)
    await client.subscribe(topics.meter(meter_id, "notice"), qos=1)
    for _ in range(round(RECORDED_SECONDS / AGAIN_SECONDS)):
        await publish(client, topics.meter(meter_id, "block"), block.payload(), retain=True)
        if not there:
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_SECONDS):
                async for message in client.messages:
                    payload = message.payload if isinstance(message.payload, bytes) else None
                    notice = parsed(MeterNotice, payload)
                    if notice is not None and notice.records(block):
                        return True
    raise NoAnswerError(
        f"the broker has it, but no bridge has recorded it in the ledger within {RECORDED_SECONDS:g} s: the"
        " meter obeys it, the broker may forget it; start the bridge (meter61850 bridge run) and repeat this"
    )
