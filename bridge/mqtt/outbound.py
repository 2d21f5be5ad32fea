"""What waits to be sent to the broker: acknowledgements, answers at QoS 0, and retained state at QoS 1.

Everything that the bridge publishes at QoS 1 is the state of a retained topic, so only the latest
payload of a topic is kept until the broker has confirmed it, and all that is unconfirmed is sent again
on the next connection, in the order in which it was published.

>>> out = Outbound(version=4)
>>> out.retain(b"a", b"1"); out.open(window=20, maximum=1000)
>>> out.take().hex()
'3306000161000131'
"""

from __future__ import annotations

import logging
import threading

from broker.mqtt import packets
from broker.mqtt.packets import Version

log = logging.getLogger(__name__)

_LAST_PACKET_ID = 65535


class Outbound:
    """Any thread adds; the network thread takes. ``window``: QoS 1 messages that may be under way."""

    def __init__(self, *, version: Version) -> None:
        self._version: Version = version
        self._changed = threading.Condition()
        self._ready: list[bytes] = []
        self._state: dict[bytes, bytes] = {}
        self._under_way: dict[bytes, tuple[bytes, bytes]] = {}
        self._window = self._maximum = 0
        self._packet_id = 0
        self.connection = 0
        """Number of the connection, or of the last one."""

    @property
    def is_open(self) -> bool:
        """True while there is a connection to send on."""
        return self._window > 0

    def open(self, *, window: int, maximum: int) -> None:
        """A new connection stands; its broker takes packets of at most ``maximum`` bytes."""
        with self._changed:
            self._window = window
            self._maximum = maximum
            self.connection += 1

    def close(self) -> None:
        """The connection is gone: answers are dropped, unconfirmed state waits again, before newer."""
        with self._changed:
            self._window = 0
            self._ready.clear()
            unconfirmed = dict(self._under_way.values())
            self._under_way.clear()
            for topic in unconfirmed.keys() & self._state.keys():
                del unconfirmed[topic]
            self._state = unconfirmed | self._state
            self._changed.notify_all()

    def send(self, data: bytes, *, connection: int) -> None:
        """Send whole packets on ``connection``, or never: acknowledgements are of no use on another."""
        with self._changed:
            if self._window and connection == self.connection:
                self._ready.append(data)

    def retain(self, topic: bytes, payload: bytes) -> None:
        """Publish retained at QoS 1, on this connection or the next."""
        with self._changed:
            self._state.pop(topic, None)  # to the end: a later message never overtakes an earlier one
            self._state[topic] = payload

    def forget(self, prefix: bytes, suffix: bytes = b"") -> None:
        """Drop what waits or is unconfirmed on topics that begin and end so: others know better now."""

        def kept(topic: bytes) -> bool:
            return not _is_meant(topic, prefix, suffix)

        with self._changed:
            self._state = {topic: payload for topic, payload in self._state.items() if kept(topic)}
            self._under_way = {number: what for number, what in self._under_way.items() if kept(what[0])}
            self._changed.notify_all()

    def awaits(self, prefix: bytes, suffix: bytes) -> bool:
        """Whether something on topics that begin and end so waits, or the broker has not confirmed it."""
        with self._changed:
            topics = [*self._state, *(topic for topic, _ in self._under_way.values())]
        return any(_is_meant(topic, prefix, suffix) for topic in topics)

    def confirm(self, packet_id: bytes) -> None:
        """The broker sent PUBACK for ``packet_id``."""
        with self._changed:
            self._under_way.pop(packet_id, None)
            self._changed.notify_all()

    def take(self) -> bytes:
        """All that may be sent now."""
        with self._changed:
            while self._state and len(self._under_way) < self._window:
                self._send_state()
            data = b"".join(self._ready)
            self._ready.clear()
        return data

    def _send_state(self) -> None:
        """Send the oldest state; what the broker would disconnect us for, again and again, is dropped."""
        topic = next(iter(self._state))
        payload = self._state.pop(topic)
        packet_id = self._packet_id % _LAST_PACKET_ID + 1
        packet = packets.publish(topic, payload, packet_id=packet_id, retain=True, version=self._version)
        if len(packet) > self._maximum:
            log.error(
                "%r has %d bytes, the broker takes %d: raise its limit", topic, len(packet), self._maximum
            )
            return
        self._packet_id = packet_id
        self._under_way[packet_id.to_bytes(2, "big")] = (topic, payload)
        self._ready.append(packet)

    def wait_empty(self, seconds: float) -> bool:
        """True when the broker has confirmed all state within ``seconds``; False also when it went away."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._window or not (self._state or self._under_way), timeout=seconds
            )
            return not (self._state or self._under_way)


def _is_meant(topic: bytes, prefix: bytes, suffix: bytes) -> bool:
    return topic.startswith(prefix) and topic.endswith(suffix)
