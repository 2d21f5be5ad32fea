"""What a program of ours hears of a town, on a connection of its own in the event loop.

With aiomqtt, which the rest of ours uses, a message cost 70 µs before we looked at it, more than all that
follows; here it costs 10. Messages are taken some at a time, so that clients do not wait behind a flood, and
acknowledged when they were taken, so that what waits is with the broker and not here. MQTT 3.1.1, whose
retain flag says what we must know: whether a reading is an old one.

>>> await Receiver(mqtt, take, topics=["sm/v1/+/reading"], connected=print).run()  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from broker.contract.errors import reason
from broker.mqtt import packets
from broker.mqtt.backoff import Backoff
from broker.mqtt.connecting import connect
from broker.mqtt.packets import RETAIN, ProtocolError, Publish, Will
from broker.mqtt.session import LAST_PACKET_ID, Options, Session
from broker.mqtt.settings import MqttSettings

log = logging.getLogger(__name__)

TURN = 100
"""Messages taken before the event loop has its turn."""
ENOUGH = 2000
"""Messages that may wait here; then the socket is left unread."""
MOST_UNSENT = 1 << 20
"""Bytes that may wait for the broker."""
CONNECT_SECONDS = 5.0
GOOD_CONNECTION = 30.0
"""Seconds after which a connection counts as good and the backoff starts anew."""
MORE_TOPICS_ID = LAST_PACKET_ID + 1
"""Of a SUBSCRIBE beside those of the connection's begin."""


class Take(Protocol):
    """Takes one message; must not raise."""

    def __call__(self, name: str, payload: bytes, *, retained: bool) -> None:
        """Topic and payload, and whether it was retained before we subscribed."""


class Receiver:
    """One connection after the other; ``connected`` is called when one stands and when it is lost.

    ``topics`` are the filters to subscribe to; ``name`` is part of our client id.
    """

    def __init__(
        self,
        mqtt: MqttSettings,
        take: Take,
        *,
        topics: Sequence[str],
        connected: Callable[[bool], None],
        name: str = "meters",
        will: Callable[[], Will | None] = lambda: None,
    ) -> None:
        self._mqtt = mqtt
        self._take = take
        self._given = topics
        self._topics, self._known = tuple(topics), frozenset(topics)
        self._connected = connected
        self._name = name
        self._will = will
        self._open: _Connection | None = None

    def send(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> bool:
        """Publish on the connection that stands; False without one, or when too much waits for the broker.

        At QoS 1 it is not sent again: a caller that needs an answer waits for it.
        """
        return self._open is not None and self._open.send(topic, payload, qos=qos, retain=retain)

    def follow(self, topics: Sequence[str]) -> None:
        """From now on these are the filters; what is new is subscribed to at once."""
        if topics is self._given or topics == self._given:
            return
        self._given = topics
        new = [topic for topic in topics if topic not in self._known]
        self._topics, self._known = tuple(topics), frozenset(topics)
        if new and self._open is not None:
            self._open.subscribe(new)

    async def run(self) -> None:
        """Receive for ever; exponential backoff with full jitter between connections."""
        loop, backoff = asyncio.get_running_loop(), Backoff()
        while True:
            started = loop.time()
            try:
                await self._connection()
            except OSError as error:  # ProtocolError and TimeoutError too
                log.warning(
                    "%s' topics at %s:%d: %s",
                    self._name,
                    self._mqtt.host,
                    self._mqtt.port,
                    reason(error),
                )
            if loop.time() - started > GOOD_CONNECTION:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def _connection(self) -> None:
        loop, options = asyncio.get_running_loop(), self._options()
        async with asyncio.timeout(CONNECT_SECONDS):
            sock = await asyncio.to_thread(connect, options.host, options.port, timeout=CONNECT_SECONDS)
            sock.setblocking(False)
            tls = options.tls()
            transport, connection = await loop.create_connection(
                lambda: _Connection(options, self._take, self._connected, self._will()),
                sock=sock,
                ssl=tls,
                server_hostname=options.host if tls else None,
            )
        self._open = connection
        try:
            await connection.ended
        finally:
            self._open = None
            self._connected(False)
            transport.abort()

    def _options(self) -> Options:
        mqtt = self._mqtt
        return Options(
            host=mqtt.host,
            port=mqtt.port,
            client_id=f"meter61850-{self._name}-{uuid.uuid4().hex[:12]}",
            subscriptions=self._topics,
            version=4,
            username=mqtt.username,
            password=mqtt.password.get_secret_value() if mqtt.password else None,
            tls=mqtt.tls,
            keepalive=mqtt.keepalive,
            clean=True,
        )


class _Connection(asyncio.Protocol):
    """One connection; ``ended`` has the reason when it is over."""

    def __init__(
        self, options: Options, take: Take, connected: Callable[[bool], None], will: Will | None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._options = options
        self._take = take
        self._session = Session(options, ready=lambda: connected(True))
        self._waiting: deque[Publish] = deque()
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None
        self._will = will
        self._packet_id = 0

    def send(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> bool:
        """Write a PUBLISH; False when too much waits already."""
        if self.ended.done() or self._transport.get_write_buffer_size() > MOST_UNSENT:
            return False
        self._packet_id = self._packet_id % LAST_PACKET_ID + 1
        packet_id = self._packet_id if qos else 0
        self._transport.write(
            packets.publish(topic.encode(), payload, packet_id=packet_id, retain=retain, version=4)
        )
        return True

    def subscribe(self, topics: list[str]) -> None:
        """Beside the subscriptions of the connection's begin; a broker that refuses one ends nothing."""
        if not self.ended.done():
            self._transport.write(packets.subscribe(MORE_TOPICS_ID, topics, version=4))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport.write(self._options.connect_packet(will=self._will))
        self._keep_alive()

    def data_received(self, data: bytes) -> None:
        try:
            publishes = self._session.feed(data)
            self._session.settle()
        except ProtocolError as error:
            self._end(error)
            return
        self._write()
        if publishes and not self._waiting:
            self._loop.call_soon(self._work)
        self._waiting.extend(publishes)
        if len(self._waiting) > ENOUGH:
            self._transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionResetError("closed the connection"))

    def _work(self) -> None:
        """Take some of what waits, and acknowledge it."""
        taken: list[bytes] = []
        while self._waiting and len(taken) < TURN:
            message = self._waiting.popleft()
            name = message.topic.decode("utf-8", "replace")
            self._take(name, message.payload, retained=bool(message.flags & RETAIN))
            taken.append(message.packet_id)
        if self.ended.done():
            return
        self._transport.write(packets.pubacks([packet_id for packet_id in taken if packet_id]))
        if self._waiting:
            self._loop.call_soon(self._work)
        if len(self._waiting) <= ENOUGH and not self._transport.is_reading():
            self._session.resumed()
            self._transport.resume_reading()

    def _write(self) -> None:
        if unsent := self._session.take():
            self._transport.write(unsent)

    def _keep_alive(self) -> None:
        try:
            self._session.keep_alive(listening=self._transport.is_reading())
        except ProtocolError as error:
            self._end(error)
            return
        self._write()
        self._timer = self._loop.call_later(self._session.keepalive / 4, self._keep_alive)

    def _end(self, reason: Exception) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended.done():
            self.ended.set_exception(reason)
