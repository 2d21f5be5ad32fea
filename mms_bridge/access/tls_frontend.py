"""TLS front end of one IED (IEC 62351-3): handshake, identity, rights, then plain octets to the library.

libiec61850 has its own TLS, but its handshake stops the calling thread, which serves all clients. Here
OpenSSL does the handshake inside the event loop. The library gets a connection over loopback that only we can
make: it listens only while this connection is made, and every other connection is refused.

>>> frontend.on_connect(listener)        # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from mms_bridge import sockets
from mms_bridge.access import handshake_limit
from mms_bridge.access.access_files import AccessFiles
from mms_bridge.access.associations import Associations, TlsAssociation, alias
from mms_bridge.access.client_rights import Client
from mms_bridge.access.handshake_limit import HandshakeLimit
from mms_bridge.access.stream_pipe import Half, pipe
from mms_bridge.access.tls_credentials import read_certificate

CLOSING_SECONDS = 2.0
"""For which a client may take its last octets."""
CONNECT_SECONDS = 1.0
"""Loopback answers at once, or not at all."""

Peer = tuple[str, int]


class Admit(Protocol):
    """Lets a server take the connection that waits on a listener; False if it was turned away."""

    def __call__(self, listener: socket.socket, inner: Peer | None = None) -> bool:
        """``inner`` is where it comes from, None on the plain port."""


class TlsFrontend:
    """The TLS clients of one IED."""

    def __init__(
        self, associations: Associations, access_files: AccessFiles, shakes: HandshakeLimit, *, admit: Admit
    ) -> None:
        self._associations = associations
        self._access_files = access_files
        self._handshakes = shakes
        self._admit = admit
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def on_connect(self, listener: socket.socket) -> None:
        """One connection waits."""
        try:
            connection, peer = listener.accept()
        except OSError:
            return  # it has gone already
        reason = self._associations.objection(peer[0])
        if not reason and (reason := self._handshakes.objection(peer[0], now=self._loop.time())):
            self._associations.count("too many handshakes", reason)
        if reason:
            connection.close()
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._associations.came(peer[0])
        task = self._loop.create_task(self._serve(connection, peer), name=f"MMS over TLS {peer[0]}")
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, connection, peer[0]))

    def _ended(self, task: asyncio.Task[None], connection: socket.socket, ip: str) -> None:
        """Also of a task that was cancelled before it began."""
        self._tasks.discard(task)
        connection.close()
        self._associations.left(ip)

    def close(self) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()

    async def _serve(self, connection: socket.socket, peer: Peer) -> None:
        address = f"{peer[0]}:{peer[1]}"
        try:
            outer = await self._handshake(connection, peer[0])
            try:
                if (session := self._session(outer, peer[0], address)) is not None:
                    await self._associate(outer, session)
            finally:
                outer.cut()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; ValueError: its certificate
            self._associations.count("handshake failed", f"{address}: {_words(error)}")

    async def _handshake(self, connection: socket.socket, ip: str) -> Half:
        credentials = self._access_files.credentials
        assert credentials is not None
        with self._handshakes.running(ip):
            _, outer = await self._loop.connect_accepted_socket(
                Half,
                connection,
                ssl=credentials.context,
                ssl_handshake_timeout=handshake_limit.SECONDS,
                ssl_shutdown_timeout=CLOSING_SECONDS,
            )
        return outer

    def _session(self, outer: Half, ip: str, address: str) -> TlsAssociation | None:
        """Who it is, if he may be here."""
        assert outer.transport is not None
        spoken: ssl.SSLObject = outer.transport.get_extra_info("ssl_object")
        certificate = read_certificate(spoken.getpeercert(binary_form=True) or b"")
        client = Client(address, certificate.name, certificate.fingerprint)
        right, reason = self._access_files.judge(certificate, ip)
        if right is None:
            self._associations.count("client refused", f"{client}: {reason}")
            return None
        return TlsAssociation(client, certificate, right, outer)

    async def _associate(self, outer: Half, session: TlsAssociation) -> None:
        with _private_listener() as listener:
            connection = _connected(listener, alias(session.client.name))
            inner: Peer = connection.getsockname()
            known = f"{inner[0]}:{inner[1]}"
            self._associations.enter(known, session)
            try:
                admitted = self._admit(listener, inner)
            except BaseException:
                self._associations.leave(known)
                connection.close()
                raise
        try:
            if admitted:
                await self._pipe(outer, connection)
        finally:
            connection.close()
            self._associations.leave(known)

    async def _pipe(self, outer: Half, connection: socket.socket) -> None:
        connection.setblocking(False)
        _, inner = await self._loop.create_connection(Half, sock=connection)
        self._associations.counters["TLS clients"] += 1
        await pipe(outer, inner)


@contextmanager
def _private_listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        sockets.protect(listener)
        listener.listen(1)
        listener.setblocking(False)
        yield listener


def _connected(listener: socket.socket, source: str) -> socket.socket:
    """A connection to ``listener`` from loopback address ``source``."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.bind((source, 0))
        connection.settimeout(CONNECT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.connect(listener.getsockname())
        select.select((listener,), (), (), CONNECT_SECONDS)  # the other end may come a moment later
    except OSError:
        connection.close()
        raise
    return connection


def _words(error: Exception) -> str:
    """OpenSSL's message, without the file and line of its source."""
    reason = getattr(error, "verify_message", None) or getattr(error, "reason", None)
    return str(reason or str(error) or type(error).__name__)
