"""One generation of one IED: a libiec61850 server in threadless mode, driven by our event loop.

A server's model is fixed when it is created, so a changed CID makes a new generation and the old
one serves its associations to their end (``ied.py``). Three facts of the library shape this file:

- ``IedServer_processIncomingData`` first sends the reports that are due, then looks at its sockets, accepts
  and reads. It would wait for them; ``wait_hook.py`` takes the waiting out.
- The wheel's build takes five associations for each server, whatever the configuration says.
- A new connection is taken by putting the public listening socket in the place of the server's own for
  one call. So which server a client meets is decided per connection, and no listener is ever closed.

Everything here runs in the event loop's thread. Nothing is thread-safe, and nothing needs to be.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from broker.contract.errors import Meter61850Error
from mms_bridge import sockets
from mms_bridge.datamodel.value import Key, Value
from mms_bridge.libiec61850.bindings import DENY, MAX_DATA_SET_MEMBERS, BlockHandler, lib
from mms_bridge.libiec61850.ied_model import ControlObject, NativeModel, build
from mms_bridge.libiec61850.points import Points
from mms_bridge.libiec61850.value_writer import preset, write
from mms_bridge.libiec61850.wait_hook import quickly
from scl_builder.model.cdc import FunctionalConstraint
from scl_builder.model.logical_devices import MAX_DYNAMIC_DATA_SETS
from scl_builder.read.cid import Cid

LIBRARY_ASSOCIATIONS = 5
"""CONFIG_MAXIMUM_TCP_CLIENT_CONNECTIONS of the wheel's build."""

BURST = 32
"""Requests served in one turn of the event loop at most, so that other IEDs do not wait for long."""
SELECTABLE = 1024
"""FD_SETSIZE: select(2), which alone waits for less than 1 ms, takes only descriptors below."""
LINGER_SECONDS = 60e-6
"""For which a client's next request is awaited: coming back by way of the event loop takes 100 µs."""


class ServerError(Meter61850Error, RuntimeError):
    """libiec61850 did not create or start a server."""


@dataclass(frozen=True)
class Limits:
    """Sizes that every generation of every IED gets."""

    associations: int = LIBRARY_ASSOCIATIONS
    """Of one server."""
    report_buffer: int = 16_384
    """Octets for each buffered report control block."""
    urcb_buffer: int = 8_192
    """Octets for each unbuffered one: room for a few reports that wait for the socket."""
    dynamic_data_sets: int = MAX_DYNAMIC_DATA_SETS
    """That clients may make for each association; they end with it."""
    lasting_data_sets: int = MAX_DYNAMIC_DATA_SETS
    """That clients may make in each logical device, and that outlive their association."""
    burst: int = BURST
    """Requests served in one turn of the event loop; 1 where the library waits at each."""


class Server:
    """Serves one CID until it is stopped; ``connections`` are its associations' descriptors."""

    def __init__(self, cid: Cid, limits: Limits, *, identity: tuple[str, str, str], idle_fd: int) -> None:
        self.cid = cid
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
        return len(self.connections) < self._limits.associations

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
        self, _parameter: int, _rcb: int, _client: int, _event: int, name: bytes, _error: int
    ) -> None:
        """A client has given a report control block another data set: from now on it may want any value."""
        if name == b"DatSet" and self._model is not None:
            for points in self._model.points.values():
                points.speak_up()

    def _create(self, model: int) -> int:
        config = lib.IedServerConfig_create()
        lib.IedServerConfig_setEdition(config, 2)
        lib.IedServerConfig_setMaxMmsConnections(config, self._limits.associations)
        lib.IedServerConfig_setReportBufferSize(config, self._limits.report_buffer)
        lib.IedServerConfig_setReportBufferSizeForURCBs(config, self._limits.urcb_buffer)
        # only what the SCD's Services element says
        # FileOpen with a position beyond the end, then FileRead: it answers with memory of this process
        lib.IedServerConfig_enableFileService(config, False)
        lib.IedServerConfig_enableDynamicDataSetService(config, True)
        lib.IedServerConfig_setMaxAssociationSpecificDataSets(config, self._limits.dynamic_data_sets)
        lib.IedServerConfig_setMaxDomainSpecificDataSets(config, self._limits.lasting_data_sets)
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

    def accept(self, public: socket.socket) -> None:
        """Take one connection that waits on ``public``; it shows up in ``accepted``."""
        port = public.getsockname()[1]
        before = _descriptors()
        os.dup2(public.fileno(), self._listen_fd)
        try:
            quickly(lib.IedServer_processIncomingData, self._server)
        finally:
            os.dup2(self._idle_fd, self._listen_fd)
        for fd, inode in _descriptors() - before:
            if _local_port(fd) == port:
                self.connections[fd] = inode
                self.accepted.append(fd)
        self._prune()

    def process(self) -> None:
        """Serve the request that has arrived; to be called when a connection is readable."""
        quickly(lib.IedServer_processIncomingData, self._server)
        self._prune()

    def process_burst(self, fd: int, *, linger: bool) -> None:
        """Serve the request that has arrived on ``fd``, and those that follow at its heels."""
        wait = LINGER_SECONDS if linger else 0
        for _ in range(self._limits.burst):
            self.process()
            if self.closed or fd >= SELECTABLE or not select.select((fd,), (), (), wait)[0]:
                return

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

    def write(self, domain: str, values: Iterable[tuple[Key, Value]]) -> None:
        """Update data objects of one logical device as one event: reports see all or nothing."""
        points = self.points(domain)
        if points is not None:  # else this generation was built before the meter was born
            write(self._server, points, values)

    def preset(self, domain: str, values: Iterable[tuple[Key, Value]]) -> None:
        """Set initial values, before the first association: no report sees a change."""
        points = self.points(domain)
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
        borrowed = socket.socket(fileno=fd)
    except OSError:
        return None
    try:
        return question(borrowed)
    except OSError:
        return None
    finally:
        borrowed.detach()


def _is_listening(fd: int) -> bool:
    return bool(_of_socket(fd, lambda s: s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)))


def _local_port(fd: int) -> int | None:
    return _of_socket(fd, lambda s: int(s.getsockname()[1]) if s.family == socket.AF_INET else -1)
