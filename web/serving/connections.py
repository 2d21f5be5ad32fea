"""The connections of the web: their number, the time limit of a request, which one is closed for a new one.

A silent connection takes a file descriptor. So a request's headers must be complete in time, and a network
(`web.serving.addresses`) has a maximum of connections. When all are in use, the oldest connection without a
request is closed; one with a running request never is.

>>> connections = Connections(most=1000, per_network=250, exempt=())
>>> connections.admit("192.0.2.7")  # doctest: +ELLIPSIS
<web.serving.connections.Visit object at ...>
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from web.serving.addresses import Network, is_of, network_of

log = logging.getLogger(__name__)

HEADER_SECONDS = 10.0
"""In which TLS must stand, and in which the headers of a request must be whole."""
LARGEST_HEAD = 64 * 1024
"""Octets of a request's headers."""
MOST = 4000
RESERVED = 100
"""File descriptors that are left for broker, database and files."""
LEAST = 8
AGAIN_SECONDS = 0.2
"""Pause of accepting when the system has no file descriptor."""
TURN = 50
"""Connections that are accepted before the event loop has its turn."""
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def room() -> int:
    """Connections for which this process has file descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else max(LEAST, min(MOST, soft - RESERVED))


class Visit:
    """One connection, from its acceptance to its end."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.end: Callable[[], object] = lambda: None
        self.waits: Callable[[], bool] = lambda: True
        """Whether no request of it is being answered."""


class Connections:
    """All that are open, the oldest first; those of ``exempt`` networks (our proxies) count in all only."""

    def __init__(self, *, most: int, per_network: int, exempt: Sequence[Network]) -> None:
        self.refused = 0
        self._most = most
        self._per_network = per_network
        self._exempt = exempt
        self._open: dict[Visit, None] = {}
        self._of_network: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, address: str) -> Visit | None:
        """A new connection; None when there is no room for it, and none that waits could be ended."""
        network = network_of(address)
        crowded = self._of_network[network] >= self._per_network and not is_of(address, self._exempt)
        if (crowded and not self.make_room(network)) or (
            len(self._open) >= self._most and not self.make_room()
        ):
            self.refused += 1
            return None
        visit = Visit(network)
        self._open[visit] = None
        self._of_network[network] += 1
        return visit

    def make_room(self, network: str | None = None) -> bool:
        """End the oldest connection, of that network, that waits for a request; False without one."""
        found = (visit for visit in self._open if visit.waits() and network in (None, visit.network))
        visit = next(found, None)
        if visit is None:
            return False
        self.forget(visit)
        visit.end()
        return True

    def forget(self, visit: Visit) -> None:
        """It has ended."""
        if visit in self._open:
            del self._open[visit]
            self._of_network[visit.network] -= 1
            if not self._of_network[visit.network]:
                del self._of_network[visit.network]


class Protocol(HttpToolsProtocol):
    """HTTP of one connection, which ends when a request's headers do not come in time, or are too long."""

    def __init__(self, config: Config, state: ServerState, *, gone: Callable[[], None]) -> None:
        super().__init__(config, state, {})
        self._gone = gone
        self._deadline: asyncio.TimerHandle | None = None
        self._head = 0

    @property
    def waits(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._set_deadline()

    def data_received(self, data: bytes) -> None:
        if self.waits:
            self._set_deadline()
            self._head += len(data)
        super().data_received(data)
        if self.waits and self._head > LARGEST_HEAD and not self.transport.is_closing():
            self.send_400_response(f"the headers have more than {LARGEST_HEAD} octets")

    def on_headers_complete(self) -> None:
        self._clear_deadline()
        self._head = 0
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        self._gone()
        super().connection_lost(exc)

    def _set_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Listener:
    """Accepts connections at ``sock``, and hands them to uvicorn's application."""

    def __init__(
        self, sock: socket.socket, config: Config, state: ServerState, connections: Connections
    ) -> None:
        self._sock = sock
        self._config = config
        self._state = state
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._begun: set[asyncio.Task[None]] = set()
        self._short = False
        self._ended = False

    async def run(self) -> None:
        """Accept for ever."""
        self._sock.listen(self._config.backlog)
        self._sock.setblocking(False)
        self._loop.add_reader(self._sock, self._accept)
        try:
            await self._loop.create_future()
        finally:
            self._ended = True
            self._loop.remove_reader(self._sock)
            for task in self._begun:
                task.cancel()

    def _accept(self) -> None:
        for sock, address in self._accepted():
            visit = self._connections.admit(address)
            if visit is None:
                sock.close()
                continue
            task = self._loop.create_task(self._greet(sock, visit))
            visit.end = task.cancel
            self._begun.add(task)
            task.add_done_callback(self._begun.discard)

    def _accepted(self) -> Iterator[tuple[socket.socket, str]]:
        """Accept some waiting connections; without a free file descriptor the oldest silent one is closed."""
        for _ in range(TURN):
            try:
                sock, peer = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _SHORT:
                    self._rest(error)
                    return
                continue  # that client has gone already
            self._short = False
            sock.setblocking(False)
            yield sock, str(peer[0])

    def _rest(self, error: OSError) -> None:
        if not self._short:
            log.error("cannot accept connections (logged once): %s", error)
        self._short = True
        self._connections.make_room()
        self._loop.remove_reader(self._sock)
        self._loop.call_later(AGAIN_SECONDS, self._resume)

    def _resume(self) -> None:
        if not self._ended:
            self._loop.add_reader(self._sock, self._accept)

    async def _greet(self, sock: socket.socket, visit: Visit) -> None:
        """Give the connection to the protocol; TLS comes first, in time or not at all."""
        protocol = Protocol(self._config, self._state, gone=lambda: self._connections.forget(visit))
        tls: dict[str, Any] = {}
        if self._config.ssl is not None:
            tls = {"ssl": self._config.ssl, "ssl_handshake_timeout": HEADER_SECONDS}
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(lambda: protocol, sock, **tls)
        except OSError as error:  # it has gone, or speaks no TLS; ssl.SSLError and TimeoutError are OSErrors
            log.debug("no connection: %s", error)
        finally:
            if protocol.transport is None:
                self._connections.forget(visit)
                sock.close()
            else:
                visit.waits = lambda: protocol.waits
                visit.end = protocol.transport.abort
