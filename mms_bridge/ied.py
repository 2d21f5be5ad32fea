"""One IED: its listeners (``access/listeners.py``), and the generations of servers behind it.

A changed CID makes a new generation; new associations meet it, the old generation serves what it has
until that closes. The first server of the current CID is made when the first client comes (an IED that nobody
looks at costs little) and stays: its buffered reports wait for the clients that come back. Siblings, for
associations beyond what the library takes in one server, come and go with their clients. The CID's
DynAssociation limits the associations of all together.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mms_bridge import sockets
from mms_bridge.access.listeners import Listeners
from mms_bridge.datamodel.value import Key, Value
from mms_bridge.libiec61850.ied_model import check
from mms_bridge.libiec61850.mms_server import Limits, Server
from scl_builder.read.cid import Cid

log = logging.getLogger(__name__)

Preset = Callable[[str], Iterable[tuple[Key, Value]]]
"""MMS domain -> the values that it has now."""


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


class Ied:
    """Serves one IED on one endpoint, through all its generations."""

    def __init__(
        self,
        name: str,
        *,
        identity: tuple[str, str, str],
        listeners: Listeners,
        equip: Callable[[Server], None],
        preset: Preset,
        limits: Limits,
        drain_seconds: float | None,
    ) -> None:
        self.name = name
        self.counters = Counters()
        self.endpoint: tuple[str, int] | None = None
        self._identity = identity
        self._equip = equip  # installs the control handlers
        self._preset = preset
        self._limits = limits
        self._drain_seconds = drain_seconds
        self._generations: list[Server] = []  # oldest first; those of the current CID at the end
        self._replaced_at: dict[Server, float] = {}  # loop time since when there is a newer CID
        self._cid: Cid | None = None
        self._associations = listeners.associations
        self._listeners = listeners.of_ied(name, self.admit)
        self._idle_fd = -1
        self._loop = asyncio.get_running_loop()
        self._newcomers = sockets.Newcomers()
        self._stalled: dict[int, Server] = {}  # descriptors that the library does not read now

    @property
    def generations(self) -> tuple[Server, ...]:
        """The servers that run now, oldest first."""
        return tuple(self._generations)

    @property
    def associations(self) -> int:
        """Open connections over all generations."""
        return sum(len(server.connections) for server in self._generations)

    @property
    def domains(self) -> Iterator[str]:
        """MMS domains of the current CID."""
        return (device.domain for device in self._cid.devices) if self._cid else iter(())

    def serve(self, cid: Cid) -> None:
        """Serve ``cid`` from now on; UnavailableError without its endpoint, ValueError for its faults.

        After an error everything is as it was before.
        """
        check(cid)
        self._listeners.open(cid)
        self.endpoint = cid.endpoint
        older = list(self._generations)
        if older:  # else its server is made when the first client comes
            try:
                self._add_generation(cid)
            except Exception:
                assert self._cid is not None, "what has servers has a CID"
                self._listeners.open(self._cid)
                raise
        self._cid = cid
        for server in older:
            self._replaced_at.setdefault(server, self._loop.time())
        self._drain()

    def _add_generation(self, cid: Cid) -> Server:
        if self._idle_fd < 0:
            self._idle_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        server = Server(cid, self._limits, identity=self._identity, idle_fd=self._idle_fd)
        server.start()
        try:
            self._equip(server)
            for device in cid.devices:
                server.preset(device.domain, self._preset(device.domain))
        except Exception:
            server.stop()
            raise
        self._generations.append(server)
        return server

    def _drain(self) -> None:
        """Stop servers that nobody needs: without association, and not the first of the current CID."""
        first = next((server for server in self._generations if server.cid is self._cid), None)
        for server in [s for s in self._generations if not s.connections and s is not first]:
            self._end(server)

    def _end(self, server: Server) -> None:
        self._generations.remove(server)
        self._replaced_at.pop(server, None)
        server.stop()
        self._watch(server)

    def _end_overdue(self) -> None:
        """Close associations that hold on to a configuration replaced longer ago than the drain limit."""
        if self._drain_seconds is None:
            return
        before = self._loop.time() - self._drain_seconds
        for server in [s for s, since in self._replaced_at.items() if since < before]:
            count = len(server.connections)
            self.counters.drained += count
            age = self._loop.time() - self._replaced_at[server]
            log.warning("%s: %d associations closed: replaced %.0f s ago", self.name, count, age)
            self._end(server)

    def _with_room(self) -> Server:
        """A server of the current CID with room, the oldest of them; a new sibling when there is none."""
        assert self._cid is not None
        free = (s for s in self._generations if s.cid is self._cid and s.has_room)
        return next(free, None) or self._add_generation(self._cid)

    def admit(self, listener: socket.socket, inner: tuple[str, int] | None = None) -> bool:
        """Take the connection that waits on ``listener``; False if it was turned away.

        It has to come from ``inner``: from anywhere without that, for then this is the plain port.
        """
        assert self._cid is not None
        if self.associations >= self._cid.max_associations and not self._make_room():
            self._refuse(listener, f"{self.associations} associations are open")
            return False
        try:
            server = self._with_room()
            server.accept(listener)
        except Exception as error:  # noqa: BLE001 - no client may cost the others theirs: refused, counted, told once
            self._refuse(listener, str(error))
            return False
        came = list(server.accepted)
        self.counters.accepted += len(came)
        self._watch(server)
        return 0 < len([fd for fd in came if self._is_welcome(fd, inner)]) == len(came)

    def _is_welcome(self, fd: int, inner: tuple[str, int] | None) -> bool:
        """Whether the connection may stay; it is ended if not."""
        try:
            with sockets.borrowed(fd) as connection:
                peer = connection.getpeername()
        except OSError:
            return False  # it has gone already
        stays = peer == inner if inner is not None else not self._associations.enter_plain(fd, peer)
        if not stays:
            self.counters.turned_away += 1
            self._end_connection(fd)
        return stays

    def _make_room(self) -> bool:
        """Give up the oldest connection that has not associated; False if there is none of some age."""
        fd = self._newcomers.oldest(self._loop.time() - sockets.GRACE_SECONDS)
        if fd is not None:
            self._give_up(fd)
        return fd is not None

    def _give_up(self, fd: int) -> None:
        """End a connection that has not associated."""
        self.counters.given_up += 1
        self._end_connection(fd)

    def _end_connection(self, fd: int) -> None:
        self._newcomers.forget(fd)
        sockets.give_up(fd)
        for server in self._generations:
            if fd in server.connections:
                server.process()
                self._watch(server)

    def _give_up_newcomers(self) -> None:
        """End the connections that had their time to associate and did not."""
        before = self._loop.time() - sockets.ASSOCIATE_SECONDS
        while (fd := self._newcomers.oldest(before)) is not None:
            self._give_up(fd)

    def _refuse(self, listener: socket.socket, reason: str) -> None:
        try:
            connection, peer = listener.accept()
        except OSError:
            return  # it has gone already
        connection.close()
        if not self.counters.refused:
            who = self._associations.who(f"{peer[0]}:{peer[1]}")
            log.warning("%s: refused %s: %s (told once)", self.name, who, reason)
        self.counters.refused += 1

    def _watch(self, server: Server) -> None:
        """Follow the descriptors that the library has opened and closed."""
        for fd in server.closed:
            self._loop.remove_reader(fd)
            self._newcomers.forget(fd)
            self._associations.leave_plain(fd)
            self._stalled.pop(fd, None)
        for fd in server.accepted:
            if fd in server.connections:
                self._newcomers.add(fd, self._loop.time())
                self._loop.add_reader(fd, self._on_readable, server, fd)
        server.closed.clear()
        server.accepted.clear()

    def _on_readable(self, server: Server, fd: int) -> None:
        if server not in self._generations:
            return
        server.process_burst(fd, linger=self._associations.is_plain(fd))
        if server.closed:
            self._watch(server)
            self._drain()
        elif sockets.is_blocked(fd):
            # the library reads nothing from a client that takes no answers: look again at the tick
            self._loop.remove_reader(fd)
            self._stalled[fd] = server

    def _resume(self) -> None:
        """Listen again to the clients whose requests had to wait for their answers to be taken."""
        stalled, self._stalled = self._stalled, {}
        for fd, server in stalled.items():
            self._loop.add_reader(fd, self._on_readable, server, fd)

    def write(self, domain: str, values: Iterable[tuple[Key, Value]]) -> None:
        """Update one logical device in every generation."""
        told = tuple(values) if self._generations else ()
        for server in self._generations:
            server.write(domain, told)

    def send_reports(self) -> None:
        """Send what the last writes have made due."""
        for server in self._generations:
            server.send_reports()
            self._watch(server)
        self._drain()

    def tick(self) -> None:
        """Periodic tasks of every generation."""
        for server in self._generations:
            server.tick()
            if server.closed:
                self._watch(server)
        self._resume()
        self._give_up_newcomers()
        self._drain()
        self._end_overdue()

    def close(self) -> None:
        """Stop serving: associations are closed, the endpoint is free."""
        self._listeners.close()
        for server in self._generations:
            server.stop()
            self._watch(server)
        self._generations.clear()
        self._replaced_at.clear()
        if self._idle_fd >= 0:
            os.close(self._idle_fd)
            self._idle_fd = -1
        self.endpoint = None
