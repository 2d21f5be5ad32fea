"""One IED: its listeners (``access/listeners.py``), and the generations of servers behind it.

A CID with another model makes a new generation; new associations meet it, the old generation serves what it
has until that closes. The first server of the current CID is made soon after the CID (``beginning.py``) or
when a client comes, and stays: its buffered reports wait for clients that are away. All
associations of a CID are on this one server, so every client sees one owner of a report control block, one
selection and one origin. DynAssociation limits them; those of an older generation are not counted, they end
with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable, Sequence

from mms_bridge.access.associations import alias
from mms_bridge.access.inner import Peer, connected, private_listener
from mms_bridge.access.listeners import Listeners
from mms_bridge.beginning import Beginnings
from mms_bridge.clients import Clients, Counters
from mms_bridge.datamodel.value import Key, Value
from mms_bridge.libiec61850.ied_model import check
from mms_bridge.libiec61850.mms_server import Limits, Server
from scl_builder.read.cid import Cid, Device
from scl_builder.read.retold import Retold, retold

log = logging.getLogger(__name__)

Preset = Callable[[Device], Iterable[tuple[Key, Value]]]
"""The values that a logical device has now."""


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
        beginnings: Beginnings,
    ) -> None:
        self.name = name
        self.counters = Counters()
        self.endpoint: tuple[str, int] | None = None
        self._identity = identity
        self._equip = equip  # installs the control handlers
        self._preset = preset
        self._limits = limits
        self._drain_seconds = drain_seconds
        self._beginnings = beginnings
        self._generations: list[Server] = []  # oldest first; those of the current CID at the end
        self._replaced_at: dict[Server, float] = {}  # loop time since when there is a newer CID
        self._cid: Cid | None = None
        self._associations = listeners.associations
        self._listeners = listeners.of_ied(name, self.take, self.admit)
        self._idle_fd = -1
        self._loop = asyncio.get_running_loop()
        self._clients = Clients(self._associations, self.counters, serve=self._serve, burst=limits.burst)

    @property
    def generations(self) -> tuple[Server, ...]:
        """The servers that run now, oldest first."""
        return tuple(self._generations)

    @property
    def associations(self) -> int:
        """Open connections over all generations."""
        return sum(len(server.connections) for server in self._generations)

    @property
    def _current(self) -> Server | None:
        """The server of the current CID, once it is made."""
        return next((server for server in self._generations if server.cid is self._cid), None)

    @property
    def devices(self) -> Sequence[Device]:
        """The logical devices of the current CID."""
        return self._cid.devices if self._cid else ()

    def serve(self, cid: Cid) -> Retold | None:
        """Serve ``cid`` from now on; what it tells anew, if that needs no new generation.

        UnavailableError without its endpoint, ValueError for its faults: then everything is as it was before.
        """
        check(cid)
        if self._cid is not None and (news := retold(self._cid, cid)) is not None:
            for server in self._generations:
                server.retell(news, cid if server.cid is self._cid else server.cid)
                if news.owners:
                    self._equip(server)
            self._cid = cid
            return news
        self._listeners.open(cid)
        self.endpoint = cid.endpoint
        older = list(self._generations)
        if older:
            try:
                self._add_generation(cid)
            except Exception:
                assert self._cid is not None, "what has servers has a CID"
                self._listeners.open(self._cid)
                raise
        self._cid = cid
        self._replaced_at = dict.fromkeys(older, self._loop.time()) | self._replaced_at
        self._drain()
        if not older and self._limits.begin_at_once:
            self._beginnings.later(self.name, self._begin)
        return None

    def _begin(self) -> None:
        if self.endpoint is not None and self._cid is not None and not self._generations:
            self._add_generation(self._cid)

    def _add_generation(self, cid: Cid) -> Server:
        if self._idle_fd < 0:
            self._idle_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        server = Server(cid, self._limits, identity=self._identity, idle_fd=self._idle_fd)
        server.start()
        try:
            self._equip(server)
            for device in cid.devices:
                server.preset(device.meter_id or device.inst, self._preset(device))
        except Exception:
            server.stop()
            raise
        self._generations.append(server)
        return server

    def _drain(self) -> None:
        """Stop the servers of older CIDs that have no association any more."""
        current = self._current
        for server in [s for s in self._generations if not s.connections and s is not current]:
            self._end(server)

    def _end(self, server: Server) -> None:
        self._generations.remove(server)
        self._replaced_at.pop(server, None)
        server.stop()
        self._clients.watch(server)

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

    def take(self, listener: socket.socket) -> None:
        """Take the connection that waits on the plain port, or turn it away."""
        try:
            client, peer = listener.accept()
        except OSError:
            return  # it has gone already
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._associations.plain_objection(peer[0]):
            self.counters.turned_away += 1
            client.close()
            return
        try:
            with private_listener() as private, connected(private, alias(peer[0])) as inner:
                self._associations.check_free("{}:{}".format(*inner.getsockname()))
                admitted = self._join(private, inner.getsockname(), client, peer)
        except OSError as error:
            self._refuse(f"{peer[0]}:{peer[1]}", str(error))
            admitted = False
        if not admitted:
            client.close()

    def admit(self, listener: socket.socket, inner: Peer, client: socket.socket) -> bool:
        """Take a TLS client's inner connection, which waits on ``listener``; False if it is turned away."""
        return self._join(listener, inner, client, None)

    def _join(self, listener: socket.socket, inner: Peer, client: socket.socket, peer: Peer | None) -> bool:
        """Give the library the connection from ``inner``, and put the guard between it and ``client``."""
        assert self._cid is not None
        try:
            server = self._current or self._add_generation(self._cid)
            self._clients.join(server, listener, inner, client=client, peer=peer)
        except Exception as error:  # noqa: BLE001 - no client may cost the others theirs: refused, counted, told once
            self._refuse(f"{(peer or inner)[0]}:{(peer or inner)[1]}", str(error))
            return False
        return True

    def _refuse(self, address: str, reason: str) -> None:
        if not self.counters.refused:
            who = self._associations.who(address)
            log.warning("%s: refused %s: %s (told once)", self.name, who, reason)
        self.counters.refused += 1

    def _serve(self, server: Server) -> None:
        """Let the library read what it was given."""
        if server not in self._generations:
            return
        server.process()
        if server.closed:
            self._clients.watch(server)
            self._drain()

    def write(self, owner: str, values: Iterable[tuple[Key, Value]]) -> None:
        """Update the device of ``owner``, a meter_id or an inst, in every generation that has it."""
        told = tuple(values) if self._generations else ()
        for server in self._generations:
            server.write(owner, told)

    def send_reports(self) -> None:
        """Send what the last writes have made due."""
        for server in self._generations:
            server.send_reports()
            self._clients.forward(server)
        self._drain()

    def tick(self) -> None:
        """Periodic tasks of every generation."""
        for server in self._generations:
            server.tick()
            self._clients.forward(server)
        self._clients.give_up_newcomers(self._generations)
        self._drain()
        self._end_overdue()

    def close(self) -> None:
        """Stop serving: associations are closed, the endpoint is free."""
        self._listeners.close()
        for server in self._generations:
            server.stop()
            self._clients.watch(server)
        self._generations.clear()
        self._replaced_at.clear()
        if self._idle_fd >= 0:
            os.close(self._idle_fd)
            self._idle_fd = -1
        self.endpoint = None
