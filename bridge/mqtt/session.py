"""One MQTT connection: what the broker sends, when to ping, which bytes are not yet written.

Follows OASIS MQTT 5.0 (and 3.1.1): clause 4.9 for flow control, 3.1.2.10 for keepalive.

>>> session = Session(sock, options, inbox, out, ready=print)  # doctest: +SKIP
>>> while True: session.turn(selector)  # doctest: +SKIP
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector
from time import monotonic

from bridge.mqtt.inbox import Inbox
from bridge.mqtt.outbound import Outbound
from broker.mqtt import packets
from broker.mqtt.packets import Control, Decoder, ProtocolError, Version

RECEIVE = 256 * 1024
"""Bytes of one read."""

NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_SUBSCRIBE_ID = 65535
_FIRST_ID = 65534
_MARKED_ID = 65532
_IDENTIFIER = 1
_WINDOW = 100
"""QoS 1 messages that we have under way at most; 3.1.1 brokers set no limit."""

# fmt: off
_REASONS = {
    1: "protocol version not supported: set MQTT version 4 or 5", 2: "client id rejected", 3: "unavailable",
    4: "bad user name or password", 5: "not authorized",
    0x84: "protocol version not supported: set MQTT version 4", 0x85: "client id rejected",
    0x86: "bad user name or password", 0x87: "not authorized", 0x88: "unavailable", 0x8B: "shutting down",
    0x8D: "keepalive timeout", 0x8E: "another client uses our client id", 0x93: "receive maximum exceeded",
    0x95: "packet too large", 0x97: "quota exceeded",
}
# fmt: on


@dataclass(frozen=True)
class Options:
    """How to reach the broker, as whom, and what to receive."""

    host: str
    port: int
    client_id: str
    subscriptions: tuple[str, ...]
    retained_first: tuple[str, ...] = ()
    """What is retained here is sent before the subscriptions stand, at each connection."""
    identified: tuple[str, ...] = ()
    """What to receive once more, marked with `packets.IDENTIFIED` (MQTT 5)."""
    version: Version = 5
    username: str | None = None
    password: str | None = None
    tls: Callable[[], ssl.SSLContext | None] = lambda: None
    """Asked for each connection; None for plain TCP."""
    keepalive: int = 15
    session_expiry: int = 7 * 86_400
    """Seconds for which the broker keeps our session."""
    clean: bool = False
    """Begin without the session that the broker may have of us (and on 3.1.1 leave none)."""
    receive_maximum: int = 10_000
    """QoS 1 messages that the broker may have under way to us (MQTT 5)."""


class Session:
    """See the module; ``sock`` does not block, ``ready`` is called when the subscriptions stand."""

    def __init__(
        self,
        sock: socket.socket,
        options: Options,
        inbox: Inbox,
        out: Outbound,
        *,
        ready: Callable[[], None],
    ) -> None:
        self._sock = sock
        self._options = options
        self._inbox = inbox
        self._out = out
        self._ready = ready
        self._decoder = Decoder(version=options.version)
        self._unsent = memoryview(b"")
        self._wanted: dict[int, int] = {}
        self._keepalive = options.keepalive
        self._events = EVENT_READ
        self._heard = self._pinged = monotonic()

    def turn(self, selector: BaseSelector) -> None:
        """Wait for something to happen, and do it; OSError when the connection is lost."""
        self._select_for(selector)
        decrypted = self._decrypted() and not self._inbox.full
        for key, events in selector.select(0 if decrypted else self._keepalive / 4):
            if key.fileobj is not self._sock:
                self._drain(key.fileobj)
            elif events & EVENT_READ:
                self._read()
        if decrypted:
            self._read()
        self._write()
        self._keep_alive()

    def _decrypted(self) -> bool:
        """Whether TLS holds bytes that the selector no longer knows of."""
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    def _select_for(self, selector: BaseSelector) -> None:
        """Leave the socket alone while the inbox is full, and wait for room only when bytes are left."""
        events = (0 if self._inbox.full else EVENT_READ) | (EVENT_WRITE if self._unsent else 0)
        if events == self._events:
            return
        if events and self._events:
            selector.modify(self._sock, events)
        elif events:
            selector.register(self._sock, events)
        else:
            selector.unregister(self._sock)
        if events & EVENT_READ:
            self._heard = monotonic()  # while we did not listen, silence said nothing
        self._events = events

    @staticmethod
    def _drain(waker: object) -> None:
        assert isinstance(waker, socket.socket)
        waker.recv(4096, socket.MSG_DONTWAIT)

    def _read(self) -> None:
        try:
            data = self._sock.recv(RECEIVE)
        except NOT_NOW:
            return
        if not data:
            raise ConnectionResetError("closed the connection")
        self._heard = monotonic()
        publishes, controls = self._decoder.feed(data)
        subscribed = [control for control in controls if control.kind == packets.SUBACK]
        for control in controls:  # first: a backlog follows the CONNACK at once, and is of the new connection
            if control.kind != packets.SUBACK:
                self._control(control)
        if publishes:
            self._inbox.put(publishes, size=len(data), connection=self._out.connection)
        for control in subscribed:  # last: what is retained came before it
            self._control(control)

    def _control(self, control: Control) -> None:
        match control.kind:
            case packets.PUBACK:
                self._out.confirm(control.body[:2])
            case packets.CONNACK:
                self._connected(control.body)
            case packets.SUBACK:
                self._subscribed(control.body)
            case packets.SERVER_DISCONNECT:
                raise ProtocolError(f"disconnected us: {_reason(control.body)}")

    def _connected(self, body: bytes) -> None:
        connack = packets.parse_connack(body, version=self._options.version)
        if connack.code:
            raise ProtocolError(f"refused us: {_reason(body[1:])}")
        if self._options.identified and not connack.identifiers:
            raise ProtocolError("broker has no subscription identifiers: set MQTT version 4")
        self._unsent = memoryview(self._subscribe())
        self._keepalive = connack.keepalive or self._options.keepalive
        self._out.open(window=min(connack.receive_maximum, _WINDOW), maximum=connack.maximum_packet)

    def _subscribe(self) -> bytes:
        """The SUBSCRIBEs; ``_wanted`` has those that are not granted yet, and how many filters they have."""
        options, version = self._options, self._options.version
        first, marked = list(options.retained_first), list(options.identified)
        self._wanted = {_SUBSCRIBE_ID: len(options.subscriptions)}
        sent = b""
        if first:  # and given up at once: what comes later would come twice
            self._wanted[_FIRST_ID] = len(first)
            sent += packets.subscribe(_FIRST_ID, first, version=version, retained_first=True)
            sent += packets.unsubscribe(_FIRST_ID - 1, first, version=version)
        sent += packets.subscribe(_SUBSCRIBE_ID, list(options.subscriptions), version=version)
        if marked:
            self._wanted[_MARKED_ID] = len(marked)
            sent += packets.subscribe(_MARKED_ID, marked, version=version, identifier=_IDENTIFIER)
        return sent

    def _subscribed(self, body: bytes) -> None:
        granted = self._wanted.pop(int.from_bytes(body[:2], "big"), 0)
        refused = [code for code in body[len(body) - granted :] if code >= 0x80]
        if refused:
            raise ProtocolError(f"refused our subscription: {_reason(bytes(refused[:1]))}")
        if granted and not self._wanted:
            self._ready()

    def _write(self) -> None:
        """Write what fits into the socket; the rest waits for its turn."""
        if not self._unsent:
            self._unsent = memoryview(self._out.take())
        try:
            while self._unsent:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except NOT_NOW:
            return

    def _keep_alive(self) -> None:
        """Ping twice in a keepalive; a broker that is silent for 1.5 keepalives is gone."""
        now, keepalive = monotonic(), self._keepalive
        if self._events & EVENT_READ and now - self._heard > 1.5 * keepalive:
            raise ProtocolError(f"silent for {now - self._heard:.0f} s")
        if self._out.is_open and not self._unsent and now - self._pinged > keepalive / 2:
            self._unsent = memoryview(packets.PINGREQ)
            self._pinged = now


def _reason(body: bytes) -> str:
    """The reason code at the start of ``body``, in words."""
    code = body[0] if body else 0
    return _REASONS.get(code, f"reason code 0x{code:02x}")
