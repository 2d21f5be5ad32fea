"""One generation of one IED: a libiec61850 server in threadless mode, driven by our event loop.

A server's model is fixed when it is created, so a changed CID makes a new generation and the old
one serves its associations to their end (``ied.py``). Three facts of the library shape this file:

- ``IedServer_processIncomingData`` first sends the reports that are due, then looks at its sockets, accepts
  and reads. It would wait for them; ``wait_hook.py`` takes the waiting out.
- The wheel's build takes five associations for each server, whatever the configuration says.
- A new connection is taken by putting a listening socket of ours in the place of the server's own for one
  call. So which server a client meets is decided per connection, and no listener is ever closed.

Everything here runs in the event loop's thread. Nothing is thread-safe, and nothing needs to be.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from broker.contract.errors import Meter61850Error
from mms_bridge import sockets
from mms_bridge.datamodel.value import Key, Value
from mms_bridge.libiec61850.bindings import (
    BLOCK_ENABLED,
    BLOCK_WRITTEN,
    DENY,
    MAX_DATA_SET_MEMBERS,
    BlockHandler,
    lib,
)
from mms_bridge.libiec61850.ied_model import ControlObject, NativeModel, build
from mms_bridge.libiec61850.points import Points
from mms_bridge.libiec61850.report_buffers import size_for
from mms_bridge.libiec61850.text_writer import tell
from mms_bridge.libiec61850.value_writer import preset, write
from mms_bridge.libiec61850.wait_hook import quickly
from scl_builder.model.cdc import FunctionalConstraint
from scl_builder.model.logical_devices import MAX_ASSOCIATIONS, MAX_DYNAMIC_DATA_SETS
from scl_builder.read.cid import Cid
from scl_builder.read.retold import Retold

BURST = 32
"""Requests served in one turn of the event loop at most, so that other IEDs do not wait for long."""


class ServerError(Meter61850Error, RuntimeError):
    """libiec61850 did not create or start a server."""


@dataclass(frozen=True)
class Limits:
    """Sizes that every generation of every IED gets."""

    associations: int = MAX_ASSOCIATIONS
    """Of one server."""
    urcb_buffer: int = 8_192
    """Octets for each unbuffered one: room for a few reports that wait for the socket."""
    dynamic_data_sets: int = MAX_DYNAMIC_DATA_SETS
    """That clients may make for each association; they end with it."""
    burst: int = BURST
    """Requests served in one turn of the event loop; 1 where the library waits at each."""
    begin_at_once: bool = True
    """Make a server before its first client comes, so that it buffers."""


class Server:
    """Serves one CID until it is stopped; ``connections`` are its associations' descriptors."""

    def __init__(self, cid: Cid, limits: Limits, *, identity: tuple[str, str, str], idle_fd: int) -> None:
        self.cid = cid
        self.owners = {device.domain: device.meter_id for device in cid.devices}
        """MMS domain → meter_id of its meter; empty for a device that is no meter's."""
        self.domains = {device.meter_id or device.inst: device.domain for device in cid.devices}
        """meter_id, or inst of a device that is no meter's → MMS domain."""
        self.connections: dict[int, int] = {}  # descriptor -> inode, to see that it was closed
        self.accepted: list[int] = []  # descriptors that joined since the owner last looked
        self.closed: list[int] = []
        self._limits = limits
        self._identity = identity
        self._idle_fd = idle_fd
        self._model: NativeModel | None = None
        self._server = 0
        self._listen_fd = -1
        self._on_block = BlockHandler(self._block_event)

    @property
    def has_room(self) -> bool:
        """Whether it takes one more association."""
        return len(self.connections) < min(self.cid.max_associations, self._limits.associations)

    @property
    def handle(self) -> int:
        """The library's IedServer."""
        return self._server

    @property
    def controls(self) -> Mapping[tuple[str, str, str], ControlObject]:
        """Controllable data objects by MMS domain, logical node and name."""
        assert self._model is not None
        return self._model.controls

    def points(self, domain: str) -> Points | None:
        """The data objects of one logical device that can be written; None if it is not here."""
        assert self._model is not None
        return self._model.points.get(domain)

    def start(self) -> None:
        """Build the model and open the server; ServerError if the library refuses."""
        self._model = build(self.cid)
        self._server = self._create(self._model.handle)
        if not self._server:
            self._model.destroy()
            raise ServerError(f"libiec61850 refuses the model of {self.cid.ied}")
        for points in self._model.points.values():
            points.bind(self._server)
        lib.IedServer_setRCBEventHandler(self._server, self._on_block, None)
        self._listen()

    def _block_event(
        self, _parameter: int, rcb: int, _client: int, event: int, name: bytes, _error: int
    ) -> None:
        """A client has enabled a block, or given it another data set: from now on it may want any value."""
        every = () if self._model is None else self._model.points.values()
        if event == BLOCK_WRITTEN and name == b"DatSet":
            for points in every:
                points.speak_up()
        elif event == BLOCK_ENABLED and not lib.ReportControlBlock_isBuffered(rcb):
            for points in every:
                points.enabled()

    def _create(self, model: int) -> int:
        config = lib.IedServerConfig_create()
        lib.IedServerConfig_setEdition(config, 2)
        lib.IedServerConfig_setMaxMmsConnections(config, self._limits.associations)
        lib.IedServerConfig_setReportBufferSize(config, size_for(self.cid))
        lib.IedServerConfig_setReportBufferSizeForURCBs(config, self._limits.urcb_buffer)
        # only what the SCD's Services element says
        # FileOpen with a position beyond the end, then FileRead: it answers with memory of this process
        lib.IedServerConfig_enableFileService(config, False)
        lib.IedServerConfig_enableDynamicDataSetService(config, True)
        lib.IedServerConfig_setMaxAssociationSpecificDataSets(config, self._limits.dynamic_data_sets)
        lib.IedServerConfig_setMaxDomainSpecificDataSets(config, 0)  # the guard refuses them, too
        lib.IedServerConfig_setMaxDataSetEntries(config, MAX_DATA_SET_MEMBERS)
        lib.IedServerConfig_enableLogService(config, False)
        lib.IedServerConfig_enableResvTmsForBRCB(config, True)
        lib.IedServerConfig_enableOwnerForRCB(config, False)
        server: int = lib.IedServer_createWithConfig(model, None, config)
        lib.IedServerConfig_destroy(config)
        if server:
            # settings say what the meter is (PFSign): by default the library lets any client write them
            lib.IedServer_setWriteAccessPolicy(server, FunctionalConstraint.SP, DENY)
            lib.IedServer_setServerIdentity(server, *(text.encode() for text in self._identity))
        return server

    def _listen(self) -> None:
        before = _descriptors()
        lib.IedServer_setLocalIpAddress(self._server, b"127.0.0.1")
        lib.IedServer_startThreadless(self._server, 0)
        listening = [fd for fd, _ in _descriptors() - before if _is_listening(fd)]
        if len(listening) != 1:
            self.stop()
            raise ServerError(f"libiec61850 opened no listening socket for {self.cid.ied}")
        self._listen_fd = listening[0]
        os.dup2(self._idle_fd, self._listen_fd)

    def stop(self) -> None:
        """Close every association and free the server; may be called twice."""
        if self._server:
            self._hang_up()
            quickly(lib.IedServer_stopThreadless, self._server)
            quickly(lib.IedServer_destroy, self._server)
            self._server = 0
        if self._model is not None:
            self._model.destroy()
            self._model = None
        self.closed.extend(self.connections)
        self.connections.clear()

    def _hang_up(self) -> None:
        """Let the library find every connection ended: only so does it tell who had selected something."""
        for fd in list(self.connections):
            sockets.give_up(fd)
        for _ in range(BURST * len(self.connections)):  # what has arrived before is read first
            if not self.connections:
                return
            self.process()

    def accept(self, listener: socket.socket) -> None:
        """Take one connection that waits on ``listener``; it shows up in ``accepted``."""
        port = listener.getsockname()[1]
        before = _descriptors()
        os.dup2(listener.fileno(), self._listen_fd)
        try:
            quickly(lib.IedServer_processIncomingData, self._server)
        finally:
            os.dup2(self._idle_fd, self._listen_fd)
        for fd, inode in _descriptors() - before:
            if _local_port(fd) == port:
                self.connections[fd] = inode
                self.accepted.append(fd)
        self._prune()

    def replaced(self, fd: int) -> None:
        """Another socket is behind the descriptor of an association now."""
        self.connections[fd] = os.fstat(fd).st_ino

    def process(self) -> None:
        """Serve the request that has arrived; to be called when a connection is readable."""
        quickly(lib.IedServer_processIncomingData, self._server)
        self._prune()

    def send_reports(self) -> None:
        """Send the reports that are due; a request that has arrived meanwhile is served too."""
        if self.connections:
            self.process()

    def tick(self) -> None:
        """Control timeouts, integrity periods, buffer times; then what they made due is sent."""
        quickly(lib.IedServer_performPeriodicTasks, self._server)
        self.send_reports()

    def _prune(self) -> None:
        if lib.IedServer_getNumberOfOpenConnections(self._server) == len(self.connections):
            return
        for fd, inode in list(self.connections.items()):
            if _inode(fd) != inode:
                del self.connections[fd]
                self.closed.append(fd)

    def retell(self, news: Retold, cid: Cid) -> None:
        """Texts that are others now, and meters that have got one of the devices; it serves ``cid`` now."""
        assert self._model is not None
        self.cid = cid
        for domain, meter_id in news.owners.items():
            if domain in self.owners:
                self.owners[domain], self.domains[meter_id] = meter_id, domain
        for text in news.texts:
            tell(self._server, self._model.handle, text)

    def write(self, owner: str, values: Iterable[tuple[Key, Value]]) -> None:
        """Update the device of ``owner`` (`domains`) as one event: reports see all of it or nothing."""
        points = self.points(self.domains.get(owner, ""))
        if points is not None:  # else this generation was built before the meter was born
            write(self._server, points, values)

    def preset(self, owner: str, values: Iterable[tuple[Key, Value]]) -> None:
        """Set initial values, before the first association: no report sees a change."""
        points = self.points(self.domains.get(owner, ""))
        if points is not None:
            preset(self._server, points, values)


def _descriptors() -> set[tuple[int, int]]:
    """Our open descriptors with their inodes, for numbers are used again at once; not the listing's."""
    found = ((fd, _inode(fd)) for fd in map(int, os.listdir("/proc/self/fd")))
    return {(fd, inode) for fd, inode in found if inode is not None}


def _inode(fd: int) -> int | None:
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return None


def _of_socket(fd: int, question: Callable[[socket.socket], int]) -> int | None:
    """Ask the socket behind ``fd`` without taking it over; None if ``fd`` is no socket."""
    try:
        with sockets.borrowed(fd) as connection:
            return question(connection)
    except OSError:
        return None


def _is_listening(fd: int) -> bool:
    return bool(_of_socket(fd, lambda s: s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)))


def _local_port(fd: int) -> int | None:
    return _of_socket(fd, lambda s: int(s.getsockname()[1]) if s.family == socket.AF_INET else -1)
