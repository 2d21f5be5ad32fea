"""A command of the CLI's user: made, published, or reported to the ledger as refused here.

DESIGN guarantee 5: a command runs at most once, in time, or not at all. A command that cannot succeed is not
sent; the refusal goes into the ledger like any other.

>>> our_command(Position.OPEN).origin.category
<OriginCategory.MAINTENANCE: 'maintenance'>
"""

from __future__ import annotations

import socket

import aiomqtt

from admin import mqtt
from admin.options import user_name
from broker.contract.commands import VALIDITY, new_command
from broker.contract.messages import utc_now
from broker.contract.relay import Command, Origin, OriginCategory, Position
from broker.contract.result import Refusal
from broker.mqtt.publishing import expiring, publish
from broker.mqtt.settings import MqttSettings


def our_origin() -> Origin:
    """The operating system's user, on this machine."""
    via = f"cli {socket.gethostname()}"[:128]
    return Origin(category=OriginCategory.MAINTENANCE, identifier=user_name(), via=via)


def our_command(position: Position) -> Command:
    """A command of now, from the operating system's user."""
    return new_command(position, our_origin())


async def publish_command(
    client: aiomqtt.Client, settings: MqttSettings, meter_id: str, command: Command
) -> None:
    """Send it, once."""
    topic = settings.topics.meter(meter_id, "command")
    properties = expiring(settings, VALIDITY)
    await publish(client, topic, command.payload(), properties=properties)


async def tell_refusal(
    client: aiomqtt.Client, settings: MqttSettings, meter_id: str, command: Command, reason: str
) -> None:
    """Tell the ledger of a command that was never sent."""
    refusal = Refusal(meter_id=meter_id, command=command, reason=reason, ts=utc_now())
    await publish(client, mqtt.refused_topic(settings, meter_id), refusal.payload())
