"""Mosquitto with our configuration: limits, persistence, restarts."""

from __future__ import annotations

import asyncio
import socket
import uuid
from pathlib import Path

import aiomqtt
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from broker.contract.compressed import packed, unpacked
from broker.daemon.mosquitto import MAX_PACKET, find, version
from tests.support.brokers import Broker, mosquitto
from tests.support.chain import until


def client(broker: Broker, **settings: object) -> aiomqtt.Client:
    """An MQTT 5 client of ``broker``."""
    return aiomqtt.Client(broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V5, **settings)  # type: ignore[arg-type]


async def retained(broker: Broker, topic: str) -> bytes:
    """The retained payload of ``topic``."""
    async with asyncio.timeout(60), client(broker) as reader:
        await reader.subscribe(topic, qos=1)
        async for message in reader.messages:
            assert isinstance(message.payload, bytes)
            return message.payload
    raise AssertionError("the client ended without a message")


async def test_the_scd_of_ten_thousand_meters_is_kept_and_delivered(broker: Broker) -> None:
    meters = (
        f'<LDevice inst="M{n}" ldName="SM_{uuid.uuid4().hex}">{"x" * 800}</LDevice>' for n in range(10_000)
    )
    scd = "".join(meters).encode()
    assert len(scd) > 8_600_000
    async with client(broker) as writer:
        await writer.publish("sm/v1/scl/scd", packed(scd), qos=1, retain=True)
    assert unpacked(await retained(broker, "sm/v1/scl/scd")) == scd


def test_sender_of_a_packet_above_the_limit_is_disconnected_before_it_is_read(broker: Broker) -> None:
    with socket.create_connection((broker.host, broker.port), timeout=60) as sock:
        sock.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x")  # CONNECT, 3.1.1, clean, no keepalive
        assert sock.recv(4) == b"\x20\x02\x00\x00"
        sock.sendall(
            b"\x32" + remaining_length(MAX_PACKET + 1)
        )  # the head of a PUBLISH, and nothing of its body
        assert sock.recv(1) == b""


def remaining_length(count: int) -> bytes:
    """The variable byte integer of MQTT 3.1.1, 2.2.3."""
    encoded = bytearray()
    while True:
        count, digit = divmod(count, 128)
        encoded.append(digit | 0x80 if count else digit)
        if not count:
            return bytes(encoded)


async def test_retained_messages_survive_a_clean_stop(broker: Broker) -> None:
    async with client(broker) as writer:
        await writer.publish("sm/v1/scl/revision", b"42", qos=1, retain=True)
    broker.stop()
    broker.start()
    assert await retained(broker, "sm/v1/scl/revision") == b"42"


async def test_a_thousand_messages_wait_for_one_acknowledgement(broker: Broker) -> None:
    """More than Mosquitto's default window of 20 is in flight to a client that has not acknowledged."""
    got: list[MQTTMessage] = []
    subscribed, complete = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def keep(_client: Client, _userdata: object, message: MQTTMessage) -> None:
        got.append(message)
        if len(got) == 1000:
            loop.call_soon_threadsafe(complete.set)

    reader = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True)
    reader.on_message = keep

    def stands(*_: object) -> None:
        loop.call_soon_threadsafe(subscribed.set)

    reader.on_subscribe = stands
    reader.connect(broker.host, broker.port)
    reader.loop_start()
    reader.subscribe("in/#", 1)
    async with asyncio.timeout(60), client(broker) as writer:
        await subscribed.wait()
        for number in range(1000):
            await writer.publish(f"in/{number}", b"x", qos=1)
        await complete.wait()
    reader.disconnect()
    reader.loop_stop()


def test_killed_broker_starts_again_on_its_port(tmp_path: Path) -> None:
    with mosquitto(tmp_path, persistence=False) as broker:
        first = broker.pid
        broker.kill()
        broker.start()
        assert broker.pid != first
        until(lambda: broker.log.read_text().count("running") == 2, why="both starts are in the log")


def test_version_is_told() -> None:
    binary = find()
    assert binary is not None
    assert version(binary).count(".") == 2
