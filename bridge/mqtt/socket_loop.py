"""The bridge's end of a connection: the socket of an MQTT session, read and written in one thread.

Clause 4.9 of OASIS MQTT 5.0 (flow control) is kept by not reading while the inbox is full.

>>> loop = SocketLoop(sock, options, inbox, out, ready=print)  # doctest: +SKIP
>>> while True: loop.turn(selector)  # doctest: +SKIP
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector

from bridge.mqtt.inbox import Inbox
from bridge.mqtt.outbound import Outbound
from broker.mqtt.packets import Connack
from broker.mqtt.session import Options, Session

RECEIVE = 256 * 1024
"""Bytes of one read."""

NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_WINDOW = 100
"""QoS 1 messages that we have under way at most; 3.1.1 brokers set no limit."""


class SocketLoop:
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
        self._inbox = inbox
        self._out = out
        self._session = Session(options, ready=ready, opened=self._opened, confirmed=out.confirm)
        self._unsent = memoryview(b"")
        self._events = EVENT_READ

    def turn(self, selector: BaseSelector) -> None:
        """Wait for something to happen, and do it; OSError when the connection is lost."""
        self._select_for(selector)
        decrypted = self._decrypted() and not self._inbox.full
        for key, events in selector.select(0 if decrypted else self._session.keepalive / 4):
            if key.fileobj is not self._sock:
                self._drain(key.fileobj)
            elif events & EVENT_READ:
                self._read()
        if decrypted:
            self._read()
        self._session.keep_alive(listening=bool(self._events & EVENT_READ))
        self._write()

    def _opened(self, connack: Connack) -> None:
        self._out.open(window=min(connack.receive_maximum, _WINDOW), maximum=connack.maximum_packet)

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
            self._session.resumed()
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
        # a backlog follows the CONNACK at once, and is of the new connection, which feed() has opened
        if publishes := self._session.feed(data):
            self._inbox.put(publishes, size=len(data), connection=self._out.connection)
        self._session.settle()  # last: what is retained came before it

    def _write(self) -> None:
        """Write what fits into the socket; the rest waits for its turn."""
        if not self._unsent:
            self._unsent = memoryview(self._session.take() + self._out.take())
        try:
            while self._unsent:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except NOT_NOW:
            return
