"""A client of the broker for a process with a thousand of them: what a meter uses of aiomqtt's.

To publish a reading and to hear that it is stored cost 1.0 ms of CPU time with aiomqtt and paho (two packets
out, two in). Packets and the state of a connection are those that the bridge has (`broker.mqtt.packets`,
`broker.mqtt.session`). Subscriptions are made with the connection.

>>> async with LightClient(mqtt, identifier="SM_1", topics=["sm/v1/1/command"]) as client:  # doctest: +SKIP
...     await client.publish("sm/v1/1/reading", b"{}", qos=1)
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Self, cast
from weakref import WeakKeyDictionary

from aiomqtt import Message, MqttError

from broker.contract.errors import reason
from broker.mqtt import packets
from broker.mqtt.connecting import connect
from broker.mqtt.packets import RETAIN, ProtocolError, Publish, Will
from broker.mqtt.session import LAST_PACKET_ID, Options, Session
from broker.mqtt.settings import MqttSettings

HANDSHAKES = 64
"""Under way at once in one process: a thousand meters that begin together would run out of time together."""
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class Incoming(asyncio.Queue[Message]):
    """Messages that wait; ends with MqttError when the connection does."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self.ended: MqttError | None = None
        self.dropped = 0

    def take(self, message: Message) -> None:
        """Put it in, unless too many wait."""
        if self.qsize() < self._limit:
            self.put_nowait(message)
        else:
            self.dropped += 1

    def end(self, error: MqttError) -> None:
        """No more will come; a reader that waits gets the error."""
        self.ended = self.ended or error
        self.put_nowait(cast(Message, None))

    def __len__(self) -> int:
        return self.qsize()

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        message = await self.get()
        if cast(Any, message) is None:
            assert self.ended is not None
            self.put_nowait(message)  # for the next call
            raise self.ended
        return message


def _late(told: asyncio.Future[None], seconds: float) -> None:
    if not told.done():
        told.set_exception(MqttError(f"the broker did not confirm within {seconds:g} s"))


def _turn() -> asyncio.Semaphore:
    """For the connections of one event loop; before its turn a connection's time does not run."""
    return _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(HANDSHAKES))


class LightClient(asyncio.Protocol):
    """One connection, for one ``async with``; every method raises MqttError when it is gone."""

    def __init__(
        self,
        mqtt: MqttSettings,
        *,
        identifier: str,
        topics: Sequence[str],
        will: Will | None = None,
        timeout: float = 10.0,
        connect_timeout: float = 5.0,
        limit: int = 1000,
        arrived: Callable[[Message], None] = lambda _: None,
    ) -> None:
        self.timeout = timeout
        """Seconds to wait for an answer of the broker."""
        self.messages = Incoming(limit)
        self._mqtt = mqtt
        self._will = will
        self._arrived = arrived
        self._connect_timeout = connect_timeout
        self._options = Options(
            host=mqtt.host,
            port=mqtt.port,
            client_id=identifier,
            subscriptions=tuple(topics),
            as_published=frozenset(topics),
            version=mqtt.version,
            username=mqtt.username,
            password=mqtt.password.get_secret_value() if mqtt.password else None,
            tls=mqtt.tls,
            keepalive=mqtt.keepalive,
            session_expiry=0,
            clean=True,
        )
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._session = Session(self._options, ready=self._is_ready, confirmed=self._confirmed)
        self._unconfirmed: dict[bytes, asyncio.Future[None]] = {}
        self._packet_id = 0
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        try:
            async with _turn(), asyncio.timeout(self._connect_timeout + self.timeout):
                await self._connect()
                await self._ready
        except (TimeoutError, OSError, ssl.SSLError) as error:
            self._end(error)
            raise MqttError(reason(error)) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._transport is not None and self.messages.ended is None:
            self._transport.write(packets.DISCONNECT)
            self._transport.close()
        self._end(ConnectionError("closed"))

    @property
    def local_ip(self) -> str:
        """Our own address on this connection."""
        name = self._transport.get_extra_info("sockname") if self._transport else None
        return str(name[0]) if name else ""

    async def subscribe(self, topic: str, **_options: Any) -> tuple[int, ...]:
        """What the broker has granted; it was asked with the connection."""
        self._check()
        return (1,) if topic in self._options.subscriptions else (0x80,)

    async def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Publish; at QoS 1 until the broker has it."""
        transport = self._check()
        packet_id, told = 0, None
        if qos:
            packet_id = self._packet_id = self._packet_id % LAST_PACKET_ID + 1
            told = self._unconfirmed[packet_id.to_bytes(2, "big")] = self._loop.create_future()
        version = self._options.version
        transport.write(
            packets.publish(topic.encode(), payload, packet_id=packet_id, retain=retain, version=version)
        )
        if told is None:
            return
        late = self._loop.call_later(self.timeout, _late, told, self.timeout)
        try:
            await told
        finally:
            late.cancel()
            self._unconfirmed.pop(packet_id.to_bytes(2, "big"), None)

    async def _connect(self) -> None:
        host, port = self._options.host, self._options.port
        sock = await asyncio.to_thread(connect, host, port, timeout=self._connect_timeout)
        sock.setblocking(False)
        tls = self._options.tls()
        named = host if tls else None
        await self._loop.create_connection(lambda: self, sock=sock, ssl=tls, server_hostname=named)

    def _check(self) -> asyncio.Transport:
        if self.messages.ended is not None or self._transport is None:
            raise self.messages.ended or MqttError("not connected")
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._options.connect_packet(will=self._will))
        self._keep_alive()

    def data_received(self, data: bytes) -> None:
        try:
            publishes = self._session.feed(data)
            for publish in publishes:
                self.messages.take(self._message(publish))
            self._session.settle()
        except ProtocolError as error:
            self._end(error)
            return
        ids = [publish.packet_id for publish in publishes if publish.packet_id]
        self._write(self._session.take() + packets.pubacks(ids))

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionResetError("the broker has closed the connection"))

    def _message(self, publish: Publish) -> Message:
        name, retained = publish.topic.decode("utf-8", "replace"), bool(publish.flags & RETAIN)
        message = Message(name, publish.payload, 1, retained, 0, None)
        self._arrived(message)
        return message

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data)

    def _is_ready(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    def _confirmed(self, packet_id: bytes) -> None:
        told = self._unconfirmed.pop(packet_id, None)
        if told is not None and not told.done():
            told.set_result(None)

    def _keep_alive(self) -> None:
        try:
            self._session.keep_alive(listening=True)
        except ProtocolError as error:
            self._end(error)
            return
        self._write(self._session.take())
        self._timer = self._loop.call_later(self._session.keepalive / 4, self._keep_alive)

    def _end(self, error: Exception) -> None:
        """The connection is over; calls that wait raise the error."""
        if self._timer is not None:
            self._timer.cancel()
        if self.messages.ended is not None:
            return
        ended = MqttError(reason(error))
        ended.__cause__ = error
        self.messages.end(ended)
        for told in (*self._unconfirmed.values(), self._ready):
            if not told.done():
                told.set_exception(ended)
                told.exception()  # asyncio does not log it where nothing awaits it
        if self._transport is not None and not self._transport.is_closing():
            self._transport.abort()
