"""``meter61850 relay``: open or close a meter's relay over MQTT, with the record that it needs.

DESIGN guarantee 5: a command runs at most once, in time, or not at all. What we know to be in vain
is not sent; the refusal goes into the ledger like any other.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import timedelta
from typing import Annotated, Any

import aiomqtt
import typer

from admin import directory, mqtt
from admin.directory import Known, parsed
from admin.exits import NoAnswerError, NotFoundError, RefusedError
from admin.lazy import new_app
from admin.options import Json, Meter, Mqtt, Prefix, mqtt_settings, user_name
from admin.output import show_one
from broker.errors import UnavailableError
from broker.messages import (
    Command,
    Origin,
    OriginCategory,
    Outcome,
    Position,
    Refusal,
    Relay,
    Result,
    utc_now,
)
from broker.settings import MqttSettings

VALIDITY = 5
"""Seconds in which the meter must have the command."""
GRACE = 3.0
"""Seconds more to answer and to move the relay."""

app = new_app(no_args_is_help=True, rich_markup_mode=None, help="Open or close a meter's relay.")

Wait = Annotated[
    bool, typer.Option("--wait", help="Wait until the meter has answered and the relay is in position.")
]


@app.command("open")
def open_(
    meter: Meter, wait: Wait = False, as_json: Json = False, mqtt: Mqtt = None, prefix: Prefix = None
) -> None:
    """Open the relay: the house loses power.

    The command is valid for 5 s. Exit 5 when it is refused (by us: the meter is offline, its relay is
    unknown or open already; or by the meter), 6 when --wait got no answer.

    \b
    meter61850 relay open "House 1" --wait
    meter61850 relay open 3f2504e0-4f89-41d3-9a0c-0305e82c3301 --json
    """
    _run(meter, Position.OPEN, mqtt_settings(mqtt, prefix), wait=wait, as_json=as_json)


@app.command("close")
def close(
    meter: Meter, wait: Wait = False, as_json: Json = False, mqtt: Mqtt = None, prefix: Prefix = None
) -> None:
    """Close the relay: the house has power again.

    The command is valid for 5 s. Exit 5 when it is refused (by us: the meter is offline, its relay is
    unknown or closed already; or by the meter), 6 when --wait got no answer.

    \b
    meter61850 relay close "House 1" --wait
    """
    _run(meter, Position.CLOSED, mqtt_settings(mqtt, prefix), wait=wait, as_json=as_json)


def _run(meter: str, position: Position, settings: MqttSettings, *, wait: bool, as_json: bool) -> None:
    show_one(asyncio.run(switch(meter, position, settings, wait=wait)), as_json=as_json)


async def switch(meter: str, position: Position, settings: MqttSettings, *, wait: bool) -> dict[str, Any]:
    """Send the command and say what became of it; RefusedError, NoAnswerError or NotFoundError otherwise."""
    settings = await mqtt.speaking(settings)
    async with mqtt.connected(settings) as client:
        known = await directory.find(client, settings, meter)
        command = _command(position)
        if reason := known.obstacle(position):
            await _tell_refusal(client, settings, known.meter_id, command, reason)
            kind = RefusedError if known.birth else NotFoundError
            raise kind(f"{meter}: {reason}")
        topics = settings.topics
        await client.subscribe([(topics.meter(known.meter_id, kind), 1) for kind in ("result", "relay")])
        sent = time.monotonic()
        await client.publish(
            topics.meter(known.meter_id, "command"),
            command.payload(),
            qos=1,
            properties=mqtt.expiring(settings, VALIDITY),
        )
        result = await _answer(client, settings, known, command) if wait else None
    return {
        "meter": known.birth.name if known.birth else "",
        "meter_id": known.meter_id,
        "position": position,
        "command_id": command.command_id,
        "outcome": result.outcome if result else "sent",
        "seconds": round(time.monotonic() - sent, 3) if result else None,
    }


async def _tell_refusal(
    client: aiomqtt.Client, settings: MqttSettings, meter_id: str, command: Command, reason: str
) -> None:
    """Tell the ledger of a command that was never sent."""
    refusal = Refusal(meter_id=meter_id, command=command, reason=reason, ts=utc_now())
    await client.publish(settings.topics.refused(mqtt.NAME), refusal.payload(), qos=1)


async def _answer(client: aiomqtt.Client, settings: MqttSettings, known: Known, command: Command) -> Result:
    """The meter's positive result, when its relay is in position as well; RefusedError or NoAnswerError."""
    result: Result | None = None
    position = known.relay.position if known.relay else None
    try:
        async with asyncio.timeout(VALIDITY + GRACE):
            async for message in client.messages:
                payload = message.payload if isinstance(message.payload, bytes) else None
                kind = settings.topics.parse(message.topic.value).kind
                if kind == "result" and (answer := parsed(Result, payload)):
                    result = answer if answer.command_id == command.command_id else result
                elif kind == "relay" and (relay := parsed(Relay, payload)):
                    position = relay.position
                if result and result.outcome is not Outcome.DONE:
                    raise RefusedError(
                        f"the meter says {result.outcome}: {result.reason or 'no reason given'}"
                    )
                if result and position is command.position:
                    return result
    except TimeoutError:
        told = "it answered done, but its relay did not move" if result else "it did not answer"
        raise NoAnswerError(
            f"{told} within {VALIDITY + GRACE:g} s; `meter61850 commands` shows what comes later"
        ) from None
    raise UnavailableError("the broker closed the connection before the meter answered")


def _command(position: Position) -> Command:
    now = utc_now()
    return Command(
        command_id=str(uuid.uuid4()),
        position=position,
        issued_at=now,
        expires_at=now + timedelta(seconds=VALIDITY),
        origin=Origin(category=OriginCategory.MAINTENANCE, identifier=user_name()),
    )
