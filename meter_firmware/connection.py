"""A meter's client of the broker: aiomqtt's at a meter of its own, a light one where a process has many.

>>> client = light_client(mqtt, Wanted(meter_id, will, topics))  # doctest: +SKIP
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from aiomqtt import Client, Message, Will

from broker.contract.topics import scl_name
from broker.mqtt import packets
from broker.mqtt.client import new_client
from broker.mqtt.light import LightClient
from broker.mqtt.settings import MqttSettings
from meter_firmware.relay.age import Arrivals, Heartbeat

CONNECT_SECONDS = 2.0
"""A TCP connect blocks a thread that a stop must wait for."""
ANSWER_SECONDS = 10.0
MAX_WAITING_MESSAGES = 1000

MeterClient = Client | LightClient


@dataclass(frozen=True)
class Wanted:
    """What a session needs of its connection."""

    meter_id: str
    will: bytes
    """The status that the broker publishes, retained, when we vanish."""
    topics: tuple[str, ...]
    """That are heard, in this order."""


NewClient = Callable[[MqttSettings, Wanted], MeterClient]


def usual_client(mqtt: MqttSettings, wanted: Wanted) -> Client:
    """For a process with one meter, or with some; its session subscribes by itself."""
    client = new_client(
        mqtt,
        identifier=scl_name(wanted.meter_id),
        will=Will(mqtt.topics.meter(wanted.meter_id, "status"), wanted.will, qos=1, retain=True),
        clean_session=True if mqtt.version == 4 else None,
        timeout=ANSWER_SECONDS,
        max_queued_incoming_messages=MAX_WAITING_MESSAGES,
        queue_type=Arrivals,
    )
    client._client.connect_timeout = CONNECT_SECONDS  # aiomqtt offers no parameter for it
    return client


def light_client(mqtt: MqttSettings, wanted: Wanted) -> LightClient:
    """For a process with hundreds of meters."""
    status = mqtt.topics.meter(wanted.meter_id, "status")
    return LightClient(
        mqtt,
        identifier=scl_name(wanted.meter_id),
        topics=wanted.topics,
        will=packets.Will(status.encode(), wanted.will),
        timeout=ANSWER_SECONDS,
        connect_timeout=CONNECT_SECONDS,
        limit=MAX_WAITING_MESSAGES,
        arrived=_dated,
    )


def _dated(message: Message) -> None:
    """Note after which moment it has come: see `meter_firmware.relay.age`."""
    vars(message)["arrived_after"] = Heartbeat.here().arrived_after


def local_ip(client: MeterClient) -> str:
    """The connection's own address; empty if it has none."""
    if isinstance(client, LightClient):
        return client.local_ip
    sock = client._client.socket()  # aiomqtt does not show it
    return str(sock.getsockname()[0]) if isinstance(sock, socket.socket) else ""
