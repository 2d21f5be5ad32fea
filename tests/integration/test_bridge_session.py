"""One connection of the bridge, against the very bytes of a broker."""

from __future__ import annotations

import selectors
import socket

from bridge.mqtt.inbox import Inbox
from bridge.mqtt.outbound import Outbound
from bridge.mqtt.socket_loop import SocketLoop
from broker.mqtt import packets
from broker.mqtt.session import Options

CONNACK = bytes.fromhex("2003010000")  # session present, accepted, no properties


def test_what_comes_with_the_connack_is_acknowledged_on_this_connection() -> None:
    """A broker that kept our session sends its backlog right behind the CONNACK, in the same segment."""
    inbox = Inbox(batch_messages=10, batch_seconds=0.0, max_bytes=1_000_000)
    out = Outbound(version=5)
    ours, broker = socket.socketpair()
    with ours, broker, selectors.DefaultSelector() as selector:
        options = Options("broker", 1883, "bridge", ("sm/v1/#",))
        loop = SocketLoop(ours, options, inbox, out, ready=lambda: None)
        selector.register(ours, selectors.EVENT_READ)
        broker.sendall(CONNACK + packets.publish(b"sm/v1/x/reading", b"{}", packet_id=7, version=5))
        loop.turn(selector)
        batch = inbox.take(timeout=0.0)
        assert len(batch.messages) == 1
        out.send(packets.pubacks([batch.messages[0].packet_id]), connection=batch.connection)
        assert out.take() == bytes.fromhex("40020007")
