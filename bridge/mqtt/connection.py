"""The bridge's one MQTT connection, in one thread: it receives, hands over, and sends what it is given.

The thread only moves bytes. Messages go to the inbox; they are acknowledged when
:meth:`Link.acknowledge` is told that they are safe. When the inbox is full the thread leaves the socket
alone (and still pings), so that the broker keeps the rest. After a lost connection the broker sends
what we have not acknowledged again; packet identifiers belong to one connection, so late
acknowledgements of an older one are dropped.

>>> link = Link(options, inbox)  # doctest: +SKIP
>>> link.start(will=lambda: Will(topic, payload), ready=lambda: None)  # doctest: +SKIP
>>> batch = link.inbox.take(timeout=1.0)  # doctest: +SKIP
>>> link.acknowledge(batch)  # doctest: +SKIP
"""

from __future__ import annotations

import logging
import random
import selectors
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from selectors import EVENT_READ
from time import monotonic

from bridge.mqtt.inbox import Batch, Inbox
from bridge.mqtt.outbound import Outbound
from bridge.mqtt.socket_loop import SocketLoop
from broker.contract.errors import reason
from broker.mqtt import packets
from broker.mqtt.connecting import connect
from broker.mqtt.packets import Will
from broker.mqtt.session import Options

log = logging.getLogger(__name__)

CONNECT_SECONDS = 3.0
MAX_BACKOFF = 15.0
"""Seconds; one bridge that reconnects is no crowd."""

STABLE_SECONDS = 10.0
"""A connection that lasted so long was a good one; else two bridges with one client id would race."""


class Link:
    """See the module."""

    def __init__(self, options: Options, inbox: Inbox) -> None:
        self.options = options
        self.inbox = inbox
        self.out = Outbound(version=options.version)
        self._will: Callable[[], Will]
        self._ready: Callable[[], None]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._wake_receiver, self._wake_sender = socket.socketpair()

    def start(self, *, will: Callable[[], Will], ready: Callable[[], None]) -> None:
        """Connect, and reconnect when the connection is lost, in the thread.

        ``will`` is asked before every connection, ``ready`` called after every subscription.
        """
        self._will, self._ready = will, ready
        self._thread.start()

    def stop(self, *, seconds: float) -> None:
        """Wait at most ``seconds`` until the broker has what we published, then disconnect."""
        if not self.out.wait_empty(seconds):
            log.warning("MQTT: not all that was published has reached the broker")
        self._stopping.set()
        self.wake()
        self._thread.join(CONNECT_SECONDS + 1.0)

    def acknowledge(self, batch: Batch, answers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """PUBACK for the whole ``batch``, then ``answers`` (topic, payload) at QoS 0, in one write."""
        version = self.options.version
        parts = [packets.pubacks([message.packet_id for message in batch.messages if message.packet_id])]
        parts += [packets.publish(topic, payload, version=version) for topic, payload in answers]
        self.out.send(b"".join(parts), connection=batch.connection)
        self.wake()

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish retained at QoS 1, now or when there is a connection; empty clears the topic."""
        self.out.retain(topic.encode(), payload)
        self.wake()

    def wake(self) -> None:
        """There is something to send, or room in the inbox."""
        with suppress(BlockingIOError):  # full of wake-ups: it will wake
            self._wake_sender.send(b"\0", socket.MSG_DONTWAIT)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            begin = monotonic()
            try:
                self._serve()
            except OSError as error:  # ProtocolError too
                log.warning("MQTT broker %s:%d: %s", self.options.host, self.options.port, reason(error))
            self.out.close()
            failures = 0 if monotonic() - begin > STABLE_SECONDS else failures + 1
            self._stopping.wait(random.uniform(0.05, min(MAX_BACKOFF, 0.2 * 2 ** min(failures, 10))))

    def _serve(self) -> None:
        """One connection, until it breaks (OSError) or we stop."""
        with closing(self._connected()) as sock:
            sock.sendall(self.options.connect_packet(self._will()))
            sock.setblocking(False)
            loop = SocketLoop(sock, self.options, self.inbox, self.out, ready=self._ready)
            with selectors.DefaultSelector() as selector:
                selector.register(self._wake_receiver, EVENT_READ)
                selector.register(sock, EVENT_READ)
                while not self._stopping.is_set():
                    loop.turn(selector)
            sock.settimeout(1.0)
            sock.sendall(packets.DISCONNECT)

    def _connected(self) -> socket.socket:
        """A new connection to the broker, through TLS if it is to be."""
        options = self.options
        tls = options.tls()
        sock = connect(options.host, options.port, timeout=CONNECT_SECONDS)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock if tls is None else tls.wrap_socket(sock, server_hostname=options.host)
        except OSError:
            sock.close()
            raise
