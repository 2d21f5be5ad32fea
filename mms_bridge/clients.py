"""The clients of one IED: each with the guard between its socket and the library.

>>> clients.join(server, listener, inner, client=connection, peer=("10.0.0.5", 51712))      # doctest: +SKIP
>>> clients.watch(server)                       # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from broker.contract.errors import UnavailableError
from mms_bridge import sockets
from mms_bridge.access.associations import Associations
from mms_bridge.access.inner import Peer
from mms_bridge.guard.judge import Guard
from mms_bridge.guard.reservations import Reservations
from mms_bridge.guarded_connection import GuardedConnection
from mms_bridge.libiec61850.mms_server import Server


@dataclass
class Counters:
    """What an IED has seen since it was started."""

    accepted: int = 0
    refused: int = 0
    turned_away: int = 0
    """Accepted, then ended because of where they come from."""
    given_up: int = 0
    """Connections that did not associate in time."""
    drained: int = 0
    """Associations that were closed because their configuration had been replaced for too long."""


class Clients:
    """The connections of all generations, by the library's descriptor."""

    def __init__(
        self,
        associations: Associations,
        counters: Counters,
        *,
        serve: Callable[[Server], None],
        burst: int,
    ) -> None:
        """``serve`` lets a server read what it was given."""
        self._associations = associations
        self._counters = counters
        self._serve = serve
        self._burst = burst
        self._all: dict[int, GuardedConnection] = {}
        self._reservations: WeakKeyDictionary[Server, Reservations] = WeakKeyDictionary()
        self._newcomers = sockets.Newcomers(lambda fd: self._all[fd].associated)
        self._loop = asyncio.get_running_loop()

    def join(
        self,
        server: Server,
        listener: socket.socket,
        inner: Peer,
        *,
        client: socket.socket,
        peer: Peer | None,
    ) -> None:
        """Give the library the connection from ``inner``, and put the guard between it and ``client``.

        ``peer`` is where a client of the plain port is. UnavailableError without room.
        """
        if not self._make_room(server):
            raise UnavailableError(f"{len(server.connections)} associations are open")
        server.accept(listener)
        fds, known = [fd for fd in server.accepted if fd in server.connections], f"{inner[0]}:{inner[1]}"
        try:
            if len(fds) != 1 or not sockets.comes_from(fds[0], inner):
                raise UnavailableError("its connection to the library has gone")
            who = self._associations.who(f"{peer[0]}:{peer[1]}" if peer else known)
            guard = Guard(self._reservations.setdefault(server, Reservations()), who.identity)
            self._connect(server, fds[0], client, str(who), guard=guard, linger=peer is not None)
        except BaseException:
            for fd in fds:
                sockets.give_up(fd)  # nothing without a guard
            server.process()
            self.watch(server)
            raise
        self._counters.accepted += 1
        self._newcomers.add(fds[0], self._loop.time())
        if peer is not None:
            self._associations.enter_plain(fds[0], known, peer)
        self.watch(server)

    def _connect(
        self, server: Server, fd: int, client: socket.socket, who: str, *, guard: Guard, linger: bool
    ) -> None:
        self._all[fd] = GuardedConnection(
            fd,
            client,
            serve=lambda: self._serve(server),
            broken=lambda rule: self._associations.broken(rule, who),
            burst=self._burst,
            guard=guard,
            linger=linger,  # for a TLS client our own loop has to turn first
        )
        server.replaced(fd)

    def watch(self, server: Server) -> None:
        """Let those go that the library has closed."""
        for fd in server.closed:
            self._newcomers.forget(fd)
            self._associations.leave_plain(fd)
            if (client := self._all.pop(fd, None)) is not None:
                client.release()
        server.closed.clear()
        server.accepted.clear()

    def forward(self, server: Server) -> None:
        """Send the clients what the library has written for them."""
        for fd in server.connections:
            if (client := self._all.get(fd)) is not None:
                client.flush()
        self.watch(server)

    def _make_room(self, server: Server) -> bool:
        """Whether it takes one more; connections of some age that have not associated are given up for it."""
        before = self._loop.time() - sockets.GRACE_SECONDS
        while not server.has_room and (fd := self._newcomers.oldest(before)) is not None:
            self._give_up(fd, (server,))
        return server.has_room

    def give_up_newcomers(self, servers: Iterable[Server]) -> None:
        """End the connections that had their time to associate and did not."""
        before = self._loop.time() - sockets.ASSOCIATE_SECONDS
        while (fd := self._newcomers.oldest(before)) is not None:
            self._give_up(fd, servers)

    def _give_up(self, fd: int, servers: Iterable[Server]) -> None:
        """End a connection that has not associated."""
        self._counters.given_up += 1
        self._newcomers.forget(fd)
        self._all[fd].cut()
        for server in servers:
            if fd in server.connections:
                server.process()
                self.watch(server)
