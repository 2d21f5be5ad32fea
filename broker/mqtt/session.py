"""One MQTT connection as a state machine without a socket: CONNECT, SUBSCRIBE, keepalive, what was refused.

Follows OASIS MQTT 5.0 (and 3.1.1): clause 3.1.2.10 for keepalive. Whoever owns the socket gives it what
arrives and writes what it has to send: `broker.mqtt.receiver` in the event loop of MMS bridge and web,
`bridge.mqtt.socket_loop` in a thread of the bridge, which leaves its socket alone while the database is slow.

>>> session = Session(Options("127.0.0.1", 1883, "me", ("sm/v1/#",), version=4), ready=lambda: print("ready"))
>>> session.feed(bytes.fromhex("20020000"))  # CONNACK
[]
>>> session.take()[:1].hex()  # SUBSCRIBE
'82'
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from broker.mqtt import packets
from broker.mqtt.decoder import Decoder, parse_connack
from broker.mqtt.packets import Connack, Control, ProtocolError, Publish, Version, Will

MAX_PACKET = 4 * 1024 * 1024
"""Bytes; on MQTT 5 the broker drops larger messages instead of sending them to us."""

LAST_PACKET_ID = 60_000
"""Of what the connection's owner publishes; subscriptions have those above."""
_SUBSCRIBE_ID = 65535
_FIRST_ID = 65534
_MARKED_ID = 65532
_IDENTIFIER = 1

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
    as_published: frozenset[str] = frozenset()
    """Those of the subscriptions whose RETAIN flag is to be as it was published (MQTT 5)."""
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

    def connect_packet(self, will: Will | None) -> bytes:
        """The CONNECT of a new connection."""
        return packets.connect(
            self.client_id,
            version=self.version,
            keepalive=self.keepalive,
            will=will,
            username=self.username,
            password=self.password,
            session_expiry=self.session_expiry,
            clean=self.clean,
            receive_maximum=self.receive_maximum,
            maximum_packet=MAX_PACKET,
        )


class Session:
    """From the CONNACK on; ``opened`` is called with it, ``ready`` when all subscriptions are granted.

    ``confirmed`` is called with the packet identifier of each PUBACK.
    """

    def __init__(
        self,
        options: Options,
        *,
        ready: Callable[[], None],
        opened: Callable[[Connack], None] = lambda _: None,
        confirmed: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self._options = options
        self._ready = ready
        self._opened = opened
        self._confirmed = confirmed
        self._decoder = Decoder(version=options.version)
        self._wanted: dict[int, int] = {}
        self._granted: list[bytes] = []
        self._unsent = b""
        self._open = False
        self._heard = self._pinged = monotonic()
        self.keepalive = options.keepalive
        """Seconds; the broker may set it."""

    def feed(self, data: bytes) -> list[Publish]:
        """The messages in ``data``; ProtocolError when the broker refuses us, or sends what is not MQTT.

        What answers a SUBSCRIBE waits for :meth:`settle`: what is retained has come before it.
        """
        self._heard = monotonic()
        publishes, controls = self._decoder.feed(data)
        for control in controls:
            self._control(control)
        return publishes

    def settle(self) -> None:
        """Look at which subscriptions are granted; ProtocolError when one is refused."""
        granted, self._granted = self._granted, []
        for body in granted:
            self._subscribed(body)

    def take(self) -> bytes:
        """What the session itself has to send."""
        unsent, self._unsent = self._unsent, b""
        return unsent

    def resumed(self) -> None:
        """The socket is read again: while it was not, silence said nothing."""
        self._heard = monotonic()

    def keep_alive(self, *, listening: bool) -> None:
        """Ping twice in a keepalive; ProtocolError when the broker was silent for 1.5 keepalives.

        To be called at least four times in a keepalive; ``listening``: the socket is being read.
        """
        now = monotonic()
        if listening and now - self._heard > 1.5 * self.keepalive:
            raise ProtocolError(f"silent for more than {1.5 * self.keepalive:.0f} s")
        if self._open and not self._unsent and now - self._pinged > self.keepalive / 2:
            self._unsent = packets.PINGREQ
            self._pinged = now

    def _control(self, control: Control) -> None:
        match control.kind:
            case packets.PUBACK:
                self._confirmed(control.body[:2])
            case packets.CONNACK:
                self._connected(control.body)
            case packets.SUBACK:
                self._granted.append(control.body)
            case packets.SERVER_DISCONNECT:
                raise ProtocolError(f"disconnected us: {_reason(control.body)}")

    def _connected(self, body: bytes) -> None:
        connack = parse_connack(body, version=self._options.version)
        if connack.code:
            raise ProtocolError(f"refused us: {_reason(body[1:])}")
        if self._options.identified and not connack.identifiers:
            raise ProtocolError("broker has no subscription identifiers: set MQTT version 4")
        self.keepalive = connack.keepalive or self._options.keepalive
        self._unsent, self._open = self._subscribe(), True
        self._opened(connack)

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
        published = options.as_published
        own = list(options.subscriptions)
        sent += packets.subscribe(_SUBSCRIBE_ID, own, version=version, as_published=published)
        if marked:
            self._wanted[_MARKED_ID] = len(marked)
            sent += packets.subscribe(
                _MARKED_ID, marked, version=version, identifier=_IDENTIFIER, as_published=published
            )
        return sent

    def _subscribed(self, body: bytes) -> None:
        granted = self._wanted.pop(int.from_bytes(body[:2], "big"), 0)
        refused = [code for code in body[len(body) - granted :] if code >= 0x80]
        if refused:
            raise ProtocolError(f"refused our subscription: {_reason(bytes(refused[:1]))}")
        if granted and not self._wanted:
            self._ready()


def _reason(body: bytes) -> str:
    """The reason code at the start of ``body``, in words."""
    code = body[0] if body else 0
    return _REASONS.get(code, f"reason code 0x{code:02x}")
