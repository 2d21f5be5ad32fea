"""What the meters tell of themselves, on a connection of its own: the topics on which a town talks.

With aiomqtt, which the rest of ours uses, a message cost 70 µs before we looked at it, more than all that
follows; here it costs 10. Messages are taken some at a time, so that clients do not wait behind a flood, and
acknowledged when they were taken, so that what waits is with the broker and not here. MQTT 3.1.1, whose
retain flag says what we must know: whether a reading is an old one.

>>> await Feed(mqtt, take, topics=["sm/v1/+/reading"], connected=print).run()  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

from broker.contract.errors import reason
from broker.mqtt import packets
from broker.mqtt.backoff import Backoff
from broker.mqtt.connecting import connect
from broker.mqtt.packets import RETAIN, Control, Decoder, ProtocolError, Publish, Version
from broker.mqtt.settings import MqttSettings

log = logging.getLogger(__name__)

TURN = 100
"""Messages taken before the event loop has its turn."""
ENOUGH = 2000
"""Messages that may wait here; then the socket is left unread."""
CONNECT_SECONDS = 5.0
GOOD_CONNECTION = 30.0
"""Seconds after which a connection counts as good and the backoff starts anew."""
_VERSION: Final[Version] = 4
_SUBSCRIBE_ID = 1


class Take(Protocol):
    """Takes one message; must not raise."""

    def __call__(self, name: str, payload: bytes, *, retained: bool) -> None:
        """Topic and payload, and whether it was retained before we subscribed."""


class Feed:
    """One connection after the other; ``connected`` hears when one stands and when it falls.

    ``topics`` are the filters to subscribe to; ``name`` tells our client id from others'.
    """

    def __init__(
        self,
        mqtt: MqttSettings,
        take: Take,
        *,
        topics: Sequence[str],
        connected: Callable[[bool], None],
        name: str = "meters",
    ) -> None:
        self._mqtt = mqtt
        self._take = take
        self._topics = list(topics)
        self._connected = connected
        self._name = name

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
        loop, mqtt = asyncio.get_running_loop(), self._mqtt
        async with asyncio.timeout(CONNECT_SECONDS):
            sock = await asyncio.to_thread(connect, mqtt.host, mqtt.port, timeout=CONNECT_SECONDS)
            sock.setblocking(False)
            tls = mqtt.tls()
            transport, receiver = await loop.create_connection(
                lambda: _Receiver(mqtt, self._take, self._topics, self._connected, self._name),
                sock=sock,
                ssl=tls,
                server_hostname=mqtt.host if tls else None,
            )
        try:
            await receiver.ended
        finally:
            self._connected(False)
            transport.abort()


class _Receiver(asyncio.Protocol):
    """One connection; ``ended`` has the reason when it is over."""

    def __init__(
        self, mqtt: MqttSettings, take: Take, topics: list[str], connected: Callable[[bool], None], name: str
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._mqtt = mqtt
        self._take = take
        self._topics = topics
        self._connected = connected
        self._client_id = f"meter61850-{name}-{uuid.uuid4().hex[:12]}"
        self._decoder = Decoder(version=_VERSION)
        self._waiting: deque[Publish] = deque()
        self._heard = self._loop.time()
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        mqtt = self._mqtt
        self._transport.write(
            packets.connect(
                self._client_id,
                version=_VERSION,
                keepalive=mqtt.keepalive,
                will=None,
                username=mqtt.username,
                password=mqtt.password.get_secret_value() if mqtt.password else None,
                clean=True,
            )
        )
        self._timer = self._loop.call_later(mqtt.keepalive / 2, self._keep_alive)

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        try:
            publishes, controls = self._decoder.feed(data)
            for control in controls:
                self._control(control)
        except ProtocolError as error:
            self._end(error)
            return
        if publishes and not self._waiting:
            self._loop.call_soon(self._work)
        self._waiting.extend(publishes)
        if len(self._waiting) > ENOUGH:
            self._transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionResetError("closed the connection"))

    def _control(self, control: Control) -> None:
        if control.kind == packets.CONNACK:
            connack = packets.parse_connack(control.body, version=_VERSION)
            if connack.code:
                raise ProtocolError(f"refused us: return code {connack.code}")
            self._transport.write(packets.subscribe(_SUBSCRIBE_ID, self._topics, version=_VERSION))
        elif control.kind == packets.SUBACK:
            if 0x80 in control.body[2:]:
                raise ProtocolError("refused our subscription")
            self._connected(True)

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
            self._heard = self._loop.time()  # while we did not listen, silence said nothing
            self._transport.resume_reading()

    def _keep_alive(self) -> None:
        """Ping twice in a keepalive; a broker that is silent for 1.5 keepalives is gone."""
        keepalive = self._mqtt.keepalive
        if self._loop.time() - self._heard > 1.5 * keepalive and self._transport.is_reading():
            self._end(ProtocolError(f"silent for more than {1.5 * keepalive:.0f} s"))
            return
        self._transport.write(packets.PINGREQ)
        self._timer = self._loop.call_later(keepalive / 2, self._keep_alive)

    def _end(self, reason: Exception) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended.done():
            self.ended.set_exception(reason)
