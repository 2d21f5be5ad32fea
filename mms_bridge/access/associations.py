"""The client of each association and its rights, found by the address that the library has.

On the plain port the client's identity is its IP address, over TLS its certificate's name. For the library
each client is a connection from an address of 127.64.0.0/10 that represents this identity: state that the
library keeps by address it then keeps by identity.

>>> associations.who("127.90.1.7:40112")        # doctest: +SKIP
Client(address='10.0.0.5:51712', name='control-centre', fingerprint='9f86d0…')
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol

from mms_bridge.access.client_rights import Client, within
from mms_bridge.access.tls_credentials import Certificate
from mms_bridge.settings import Right

log = logging.getLogger(__name__)

STANDING_FOR = IPv4Network("127.64.0.0/10")
"""Loopback addresses that the library knows clients by."""
PER_IED = 2
"""Associations that one address may have with each IED, besides the setting's number."""
MOST_TOLD = 200
"""Causes that are logged, each once."""


def alias(name: str) -> str:
    """The loopback address that stands for a certificate's name, or an IP address."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % (STANDING_FOR.num_addresses - 2)
    return str(STANDING_FOR[number + 1])


class Cuttable(Protocol):
    """A connection that can be ended at once."""

    def cut(self) -> None:
        """End it."""


@dataclass
class TlsAssociation:
    """A client that came over TLS; ``right`` may change while it is there."""

    client: Client
    certificate: Certificate
    right: Right
    connection: Cuttable

    @property
    def ip(self) -> str:
        """Where it comes from."""
        return self.client.address.rpartition(":")[0]


class Associations:
    """The clients that are there."""

    def __init__(
        self,
        *,
        allowed: tuple[IPv4Network, ...],
        plain_right: Right | None,
        per_address: int,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.ieds = 0
        """How many IEDs are served: a control centre has associations with each."""
        self._allowed = allowed
        self._plain_right = plain_right
        self._per_address = per_address
        self._sessions: dict[str, TlsAssociation] = {}  # by the inner end's address and port
        self._plain: dict[int, tuple[str, str]] = {}  # descriptor -> IP address, inner address and port
        self._addresses: dict[str, str] = {}  # inner address and port -> the client's on the plain port
        self._at: Counter[str] = Counter()  # associations by IP address
        self._told: set[str] = set()

    # --- at the listener -----------------------------------------------------------------------------

    def objection(self, ip: str) -> str:
        """Why one more connection from ``ip`` is not taken; empty if it is."""
        if self._allowed and not within(ip, self._allowed):
            return self._refused("not allowed", f"{ip} is not in METER61850_MMS_ALLOW")
        limit = self._per_address + PER_IED * self.ieds
        if self._at[ip] >= limit:
            return self._refused("too many", f"{ip} has {limit} associations already")
        return ""

    def _refused(self, cause: str, reason: str) -> str:
        self.count(cause, reason)
        return reason

    def count(self, cause: str, reason: str) -> None:
        """Count a refusal; the first of each cause is logged."""
        self.counters[cause] += 1
        if cause not in self._told:
            self._told.add(cause)
            log.warning("MMS connection refused, %s: %s (logged once)", cause, reason)

    def broken(self, rule: str, who: str) -> None:
        """Count a message that the guard keeps from the library; the first of each rule is logged."""
        cause, _, _ = rule.partition(":")
        self.counters[f"guard {cause}"] += 1
        if rule not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(rule)
            log.warning("MMS request of %s refused, rule %s (logged once)", who, rule)

    def came(self, ip: str) -> None:
        """One more from ``ip``: a connection that may become an association."""
        self._at[ip] += 1

    def left(self, ip: str) -> None:
        """It is gone."""
        self._at[ip] -= 1
        if self._at[ip] <= 0:
            del self._at[ip]

    def plain_objection(self, ip: str) -> str:
        """Why a connection on the plain port is not taken; empty if it is."""
        if within(ip, (STANDING_FOR,)):
            return self._refused("false address", f"{ip} stands for a client")
        return self.objection(ip)

    def enter_plain(self, fd: int, inner: str, peer: tuple[str, int]) -> None:
        """A client on the plain port, whose inner end is at ``inner``."""
        ip = peer[0]
        self._plain[fd] = ip, inner
        self._addresses[inner] = f"{ip}:{peer[1]}"
        self.came(ip)

    def leave_plain(self, fd: int) -> None:
        """The descriptor was closed; those of TLS clients are no business of this."""
        if (known := self._plain.pop(fd, None)) is not None:
            ip, inner = known
            self._addresses.pop(inner, None)
            self.left(ip)

    def enter(self, inner: str, session: TlsAssociation) -> str:
        """A TLS client, whose inner end is at ``inner``, which is returned; OSError if it is another's."""
        self.check_free(inner)
        self._sessions[inner] = session
        return inner

    def check_free(self, inner: str) -> None:
        """OSError if a client is known by this address: the system gives a port again, but not so soon."""
        if inner in self._sessions or inner in self._addresses:
            raise OSError(f"{inner} stands for another client")

    def leave(self, inner: str) -> None:
        """It is gone."""
        self._sessions.pop(inner, None)

    @property
    def sessions(self) -> Iterator[TlsAssociation]:
        """The TLS clients that are there."""
        return iter(list(self._sessions.values()))

    # --- at the controls -------------------------------------------------------------------------

    def who(self, peer: str) -> Client:
        """The client behind the address that the library knows."""
        session = self._sessions.get(peer)
        return Client(self._addresses.get(peer, peer)) if session is None else session.client

    def may_control(self, peer: str) -> bool:
        """Whether it may operate; one that came over TLS and has gone may not."""
        session = self._sessions.get(peer)
        if session is not None:
            return session.right is Right.CONTROL
        ip = self._addresses.get(peer, peer).rpartition(":")[0]
        try:
            local = IPv4Address(ip).is_loopback
        except ValueError:
            return False
        if within(ip, (STANDING_FOR,)):
            return False
        return (self._plain_right or (Right.CONTROL if local else Right.OBSERVE)) is Right.CONTROL
