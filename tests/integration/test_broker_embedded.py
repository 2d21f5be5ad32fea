"""The embedded broker does for the chain what Mosquitto does, as far as docs/operator.md says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import pytest

from broker.contract.errors import ConfigurationError, PortTakenError
from broker.daemon.embedded import serve
from broker.daemon.mosquitto import BrokerSettings
from tests.support.brokers import free_port


@asynccontextmanager
async def embedded() -> AsyncIterator[int]:
    """A running embedded broker; its port."""
    port, stop = free_port(), asyncio.Event()
    task = asyncio.create_task(serve(BrokerSettings(port=port), stop=stop, option="--port"))
    while not await accepts(port):
        assert not task.done(), task.result()
    try:
        yield port
    finally:
        stop.set()
        await asyncio.wait_for(task, 60)


async def accepts(port: int) -> bool:
    """True when something listens on ``port``."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


def client(port: int, **settings: Any) -> aiomqtt.Client:
    """An MQTT 3.1.1 client."""
    return aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V311, **settings)


async def next_messages(of: aiomqtt.Client, count: int) -> list[aiomqtt.Message]:
    """The next ``count`` messages, within 10 s."""
    async with asyncio.timeout(60):
        return [await anext(of.messages) for _ in range(count)]


async def test_ten_megabyte_scd_is_kept_and_delivered() -> None:
    scd = bytes(range(256)) * 40_000
    async with embedded() as port, client(port) as writer, client(port) as reader:
        await writer.publish("sm/v1/scl/scd", scd, qos=1, retain=True)
        await reader.subscribe("sm/v1/#", qos=1)
        (message,) = await next_messages(reader, 1)
    assert message.payload == scd
    assert message.retain
    assert message.qos == 1


async def test_retained_messages_go_to_subscribers_only() -> None:
    async with embedded() as port, client(port) as bridge:
        await bridge.subscribe("sm/v1/#", qos=1)
        await bridge.publish("sm/v1/scl/scd", b"<SCL/>", qos=1, retain=True)
        async with client(port) as meter:
            await meter.subscribe("sm/v1/me/command", qos=1)
            await bridge.publish("sm/v1/me/command", b"mine", qos=1)
            (message,) = await next_messages(meter, 1)
    assert message.payload == b"mine"
    assert not message.retain


async def test_empty_retained_payload_withdraws() -> None:
    async with embedded() as port, client(port) as writer, client(port) as reader:
        await writer.publish("sm/v1/m/birth", b"born", qos=1, retain=True)
        await writer.publish("sm/v1/m/birth", b"", qos=1, retain=True)
        await writer.publish("sm/v1/m/status", b"there", qos=1, retain=True)
        await reader.subscribe("sm/v1/#", qos=1)
        (message,) = await next_messages(reader, 1)
    assert message.payload == b"there"


async def test_messages_wait_for_a_bridge_that_is_away() -> None:
    async with embedded() as port, client(port) as meter:
        async with client(port, identifier="bridge", clean_session=False) as bridge:
            await bridge.subscribe("sm/v1/+/reading", qos=1)
        for number in range(200):
            await meter.publish("sm/v1/m/reading", str(number), qos=1)
        async with client(port, identifier="bridge", clean_session=False) as bridge:
            got = await next_messages(bridge, 200)
    assert [message.payload for message in got] == [b"%d" % number for number in range(200)]


async def test_last_will_is_published_when_a_client_breaks_off() -> None:
    async with embedded() as port, client(port) as watcher:
        await watcher.subscribe("sm/v1/m/status", qos=1)
        await connect_and_break_off(port)
        (message,) = await next_messages(watcher, 1)
        assert message.payload == b"gone"
        async with client(port) as late:
            await late.subscribe("sm/v1/m/status", qos=1)
            (retained,) = await next_messages(late, 1)
    assert retained.retain


async def connect_and_break_off(port: int) -> None:
    """CONNECT (MQTT 3.1.1, 3.1) with a retained QoS 1 will, then close the socket without DISCONNECT."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    fields = [b"MQTT", b"m", b"sm/v1/m/status", b"gone"]
    name, client_id, topic, will = (len(field).to_bytes(2, "big") + field for field in fields)
    flags = 0b0010_1110  # will retain, will QoS 1, will, clean session
    body = name + bytes([4, flags, 0, 60]) + client_id + topic + will
    writer.write(bytes([0x10, len(body)]) + body)
    connack = await reader.readexactly(4)
    assert connack == b"\x20\x02\x00\x00"
    writer.close()
    await writer.wait_closed()


async def test_taken_port_is_named_with_its_option() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port} .*--mqtt-port"):
            await serve(BrokerSettings(port=port), stop=asyncio.Event(), option="--mqtt-port")


async def test_network_is_refused() -> None:
    settings = BrokerSettings(bind="0.0.0.0", password_file="/nonexistent")
    with pytest.raises(ConfigurationError, match="loopback only"):
        await serve(settings, stop=asyncio.Event(), option="--port")
