"""One meter's relay, switched or blocked: what ``meter61850 relay`` does for a single METER.

>>> await switch("House 1", Position.OPEN, settings, wait=True)        # doctest: +SKIP
{'meter': 'House 1', …, 'outcome': 'done', 'seconds': 0.021}
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import aiomqtt

from admin import directory, mqtt
from admin.exits import NoAnswerError, NotFoundError, RefusedError
from admin.orders import our_command, our_origin, publish_command, tell_refusal
from broker.errors import UnavailableError
from broker.messages import Block, Command, Outcome, Position, Result
from broker.orders import ANSWER_SECONDS, Known, parsed
from broker.publishing import publish
from broker.settings import MqttSettings


async def switch(meter: str, position: Position, settings: MqttSettings, *, wait: bool) -> dict[str, Any]:
    """Send the command and say what became of it; RefusedError, NoAnswerError or NotFoundError otherwise."""
    settings = await mqtt.speaking(settings)
    async with mqtt.connected(settings) as client:
        known = await directory.find(client, settings, meter)
        command = our_command(position)
        if reason := known.obstacle(position):
            await tell_refusal(client, settings, known.meter_id, command, reason)
            kind = RefusedError if known.birth else NotFoundError
            raise kind(f"{meter}: {reason}")
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
                    known.hear(kind, payload, live=not message.retain)
                if result and result.outcome is not Outcome.DONE:
                    raise RefusedError(
                        f"the meter says {result.outcome}: {result.reason or 'no reason given'}"
                    )
                if result and known.relay and known.relay.position is command.position:
                    return result
    except TimeoutError:
        told = "it answered done, but its relay did not move" if result else "it did not answer"
        raise NoAnswerError(
            f"{told} within {ANSWER_SECONDS:g} s; `meter61850 commands` shows what comes later"
        ) from None
    raise UnavailableError("the broker closed the connection before the meter answered")


@dataclass(frozen=True)
class Change:
    """Which operations are to be blocked, or released; none: only look."""

    opening: bool
    closing: bool
    blocked: bool


async def block(meter: str, change: Change, settings: MqttSettings) -> dict[str, Any]:
    """Make the change, and say what is blocked then; NotFoundError for a meter that there is not."""
    settings = await mqtt.speaking(settings)
    async with mqtt.connected(settings) as client:
        known = await directory.find(client, settings, meter)
        if known.birth is None:
            raise NotFoundError(f"no meter {meter}: `meter61850 meters list` shows all")
        if change.opening or change.closing:
            known.block = Block.changed(
                known.block,
                opening=change.blocked if change.opening else None,
                closing=change.blocked if change.closing else None,
                origin=our_origin(),
            )
            topic = settings.topics.meter(known.meter_id, "block")
            await publish(client, topic, known.block.payload(), retain=True)
    return {
        "meter": known.name,
        "meter_id": known.meter_id,
        "blocked": known.block.words if known.block else "nothing",
        "since": known.block.ts if known.block else None,
        "origin": f"{known.block.origin.category} {known.block.origin.identifier}" if known.block else None,
        "meter_online": known.online,
    }
