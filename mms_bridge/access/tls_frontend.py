"""TLS front end of one IED (IEC 62351-3): handshake, identity, rights, then plain octets to the library.

libiec61850 has its own TLS, but its handshake stops the calling thread, which serves all clients. Here
OpenSSL does the handshake inside the event loop. The library gets a connection over loopback that only we can
make: it listens only while this connection is made, and every other connection is refused. The guard, which
takes the place of this connection, has one end of a socket pair, and we have the other.

>>> frontend.on_connect(listener)        # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import Protocol

from mms_bridge.access import handshake_limit
from mms_bridge.access.access_files import AccessFiles
from mms_bridge.access.associations import Associations, TlsAssociation, alias
from mms_bridge.access.client_rights import Client
from mms_bridge.access.handshake_limit import HandshakeLimit
from mms_bridge.access.inner import Peer, connected, private_listener
from mms_bridge.access.stream_pipe import Half, pipe
from mms_bridge.access.tls_credentials import read_certificate
from mms_bridge.access.tls_stream import ACCESS_DENIED, CLOSING_SECONDS, INTERNAL_ERROR, TlsStream, alert

REFUSED_AT_A_TIME = 64
"""Clients that may read the alert of a refusal for a while; further ones are closed at once."""


class Admit(Protocol):
    """Lets a server take the connection that waits on a private listener; False if it was turned away."""

    def __call__(self, listener: socket.socket, inner: Peer, client: socket.socket) -> bool:
        """``inner`` is where it comes from; ``client`` is for the guard, which closes it if it takes it."""


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
        self._refused: set[asyncio.Task[None]] = set()

    def on_connect(self, listener: socket.socket) -> None:
        """One connection waits."""
        try:
            connection, peer = listener.accept()
        except OSError:
            return  # it has gone already
        reason = self._associations.objection(peer[0])
        if not reason and (reason := self._handshakes.objection(peer[0], now=self._loop.time())):
            self._associations.count("too many handshakes", reason)
            self._refuse(connection, INTERNAL_ERROR)
            return
        if reason:
            self._refuse(connection, ACCESS_DENIED)
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._associations.came(peer[0])
        task = self._loop.create_task(self._serve(connection, peer), name=f"MMS over TLS {peer[0]}")
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, connection, peer[0]))

    def _refuse(self, connection: socket.socket, description: int) -> None:
        """Send an alert in the place of a ServerHello, and give the client a while to read it."""
        with suppress(OSError):
            connection.setblocking(False)
            connection.send(alert(description))
            connection.shutdown(socket.SHUT_WR)
        if len(self._refused) >= REFUSED_AT_A_TIME:
            connection.close()
            return
        task = self._loop.create_task(_drained(connection), name="MMS over TLS refused")
        self._refused.add(task)
        task.add_done_callback(self._refused.discard)

    def _ended(self, task: asyncio.Task[None], connection: socket.socket, ip: str) -> None:
        """Also of a task that was cancelled before it began."""
        self._tasks.discard(task)
        connection.close()
        self._associations.left(ip)

    def close(self) -> None:
        """End every connection."""
        for task in (*self._tasks, *self._refused):
            task.cancel()

    async def _serve(self, connection: socket.socket, peer: Peer) -> None:
        address = f"{peer[0]}:{peer[1]}"
        try:
            outer = Half()
            stream = await self._handshake(outer, connection, peer[0])
            try:
                if (session := self._session(stream, outer, peer[0], address)) is not None:
                    await self._associate(outer, session)
                await stream.gone()
            finally:
                outer.cut()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; ValueError: its certificate
            self._associations.count("handshake failed", f"{address}: {_words(error)}")

    async def _handshake(self, outer: Half, connection: socket.socket, ip: str) -> TlsStream:
        credentials = self._access_files.credentials
        assert credentials is not None
        stream = TlsStream(credentials.context, outer)
        with self._handshakes.running(ip):
            await self._loop.connect_accepted_socket(lambda: stream, connection)
            try:
                async with asyncio.timeout(handshake_limit.SECONDS):
                    await asyncio.shield(stream.done)
            except ssl.SSLError:
                await stream.gone()  # with its alert
                raise
            except TimeoutError as error:
                stream.abort()
                limit = handshake_limit.SECONDS
                raise ConnectionAbortedError(f"the handshake takes longer than {limit:g} s") from error
            except BaseException:
                stream.abort()
                raise
        return stream

    def _session(self, stream: TlsStream, outer: Half, ip: str, address: str) -> TlsAssociation | None:
        """Who it is, if he may be here."""
        certificate = read_certificate(stream.spoken.getpeercert(binary_form=True) or b"")
        client = Client(address, certificate.name, certificate.fingerprint)
        right, reason = self._access_files.judge(certificate, ip)
        if right is None:
            self._associations.count("client refused", f"{client}: {reason}")
            return None
        return TlsAssociation(client, certificate, right, outer)

    async def _associate(self, outer: Half, session: TlsAssociation) -> None:
        ours, theirs = socket.socketpair()
        known = ""
        try:
            alike = alias(session.client.name)
            with private_listener() as listener, connected(listener, alike) as connection:
                inner: Peer = connection.getsockname()
                known = self._associations.enter(f"{inner[0]}:{inner[1]}", session)
                admitted = self._admit(listener, inner, theirs)
            if admitted:
                await self._pipe(outer, ours)
            else:
                theirs.close()
        finally:
            ours.close()
            self._associations.leave(known)

    async def _pipe(self, outer: Half, connection: socket.socket) -> None:
        connection.setblocking(False)
        _, inner = await self._loop.create_connection(Half, sock=connection)
        self._associations.counters["TLS clients"] += 1
        await pipe(outer, inner)


async def _drained(connection: socket.socket) -> None:
    """Read what a refused client still sends: a socket with unread data is reset, and the alert lost."""
    loop = asyncio.get_running_loop()
    with connection, suppress(OSError):  # TimeoutError is one
        async with asyncio.timeout(CLOSING_SECONDS):
            while await loop.sock_recv(connection, 65_536):
                pass


def _words(error: Exception) -> str:
    """OpenSSL's message, without the file and line of its source."""
    reason = getattr(error, "verify_message", None) or getattr(error, "reason", None)
    return str(reason or str(error) or type(error).__name__)
