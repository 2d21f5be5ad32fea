"""What the meters tell of themselves, on a connection of its own: the topics on which a town talks.

Everything else comes by aiomqtt (``run.py``), with which a message cost 70 µs before we looked at it, more
than all that follows; here it costs 10. Messages are taken some at a time, so that MMS clients do not wait
behind a flood, and acknowledged when they were taken, so that what waits is with the broker and not here.
MQTT 3.1.1, whose retain flag says what we must know: whether a reading is an old one.

>>> await Feed(mqtt, take, connected=print).run()  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable
from typing import Final

from broker import packets
from broker.backoff import Backoff
from broker.packets import RETAIN, Control, Decoder, ProtocolError, Publish, Version
from broker.settings import MqttSettings
from mms_bridge.mailbox import Take

log = logging.getLogger(__name__)

KINDS = ("access", "status", "birth", "relay", "reading")
TURN = 100
"""Messages taken before the event loop has its turn."""
ENOUGH = 2000
"""Messages that may wait here; then the socket is left unread."""
CONNECT_SECONDS = 5.0
GOOD_CONNECTION = 30.0
"""Seconds after which a connection counts as good and the backoff starts anew."""
_VERSION: Final[Version] = 4
_SUBSCRIBE_ID = 1


class Feed:
    """One connection after the other; ``connected`` hears when one stands and when it falls."""

    def __init__(self, mqtt: MqttSettings, take: Take, *, connected: Callable[[bool], None]) -> None:
        self._mqtt = mqtt
        self._take = take
        self._connected = connected

    async def run(self) -> None:
        """Receive for ever; exponential backoff with full jitter between connections."""
        loop, backoff = asyncio.get_running_loop(), Backoff()
        while True:
            started = loop.time()
            try:
                await self._connection()
            except OSError as error:  # ProtocolError and TimeoutError too
                log.warning(
                    "meters' topics at %s:%d: %s", self._mqtt.host, self._mqtt.port, error or "no answer"
                )
            if loop.time() - started > GOOD_CONNECTION:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def _connection(self) -> None:
        loop, mqtt = asyncio.get_running_loop(), self._mqtt
        async with asyncio.timeout(CONNECT_SECONDS):
            transport, receiver = await loop.create_connection(
                lambda: _Receiver(mqtt, self._take, self._connected), mqtt.host, mqtt.port, ssl=mqtt.tls()
            )
        try:
            await receiver.ended
        finally:
            self._connected(False)
            transport.abort()


class _Receiver(asyncio.Protocol):
    """One connection; ``ended`` has the reason when it is over."""

    def __init__(self, mqtt: MqttSettings, take: Take, connected: Callable[[bool], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._mqtt = mqtt
        self._take = take
        self._connected = connected
        self._decoder = Decoder(version=_VERSION)
        self._waiting: deque[Publish] = deque()
        self._heard = self._loop.time()
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        mqtt = self._mqtt
        transport.write(
            packets.connect(
                f"meter61850-meters-{uuid.uuid4().hex[:12]}",
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
            topics = [self._mqtt.topics.meter("+", kind) for kind in KINDS]
            self._transport.write(packets.subscribe(_SUBSCRIBE_ID, topics, version=_VERSION))
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
