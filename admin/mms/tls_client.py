"""open61850's MMS client over TLS with a client certificate (IEC 62351-3), which it does not have by itself.

Its receiver and its callers use the socket from several threads, which an SSL socket does not bear. So it
gets one end of a socket pair, and a thread passes on what goes through it.

>>> client = connect_tls("10.0.0.5", 3782, ClientCertificate(cert, key, ca))  # doctest: +SKIP
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from open61850.mms import MmsClient
from open61850.mms.association import (
    AssociationParameters,
    association_request,
    decode_association_response,
)
from open61850.mms.client import InformationReportCallback
from open61850.mms.errors import MmsConnectionError
from open61850.mms.transport import IsoConnection, connection_request, recv_tpkt, send_tpkt

from broker.contract.errors import reason
from broker.mqtt.connecting import connect
from broker.mqtt.identity import client_context

CHUNK = 65_536
CONFIRMED = 0xD0
"""COTP connection confirm."""


class ClientCertificate(NamedTuple):
    """PEM files: who we are, and whom we believe."""

    cert: Path
    key: Path
    ca: Path


class _Iso(IsoConnection):
    """A COTP connection over a socket that there is already."""

    @classmethod
    def over(cls, sock: socket.socket) -> Self:
        """Ask for it; OSError without a confirmation."""
        send_tpkt(sock, connection_request())
        answer = recv_tpkt(sock)
        if answer is None or len(answer) < 2 or answer[1] & 0xF0 != CONFIRMED:
            raise MmsConnectionError("the server ended the connection before the association")
        return cls(sock, tpdu_size=cls._negotiated_tpdu_size(answer))


class SocketMmsClient(MmsClient):
    """An association over a socket that there is already."""

    @classmethod
    def over(
        cls, sock: socket.socket, *, timeout: float, on_report: InformationReportCallback | None
    ) -> Self:
        """Associate; MmsError, or OSError, if the server does not."""
        sock.settimeout(timeout)
        try:
            iso = _Iso.over(sock)
            iso.send(association_request(AssociationParameters()))
            answer = iso.recv()
            if answer is None:
                raise MmsConnectionError("the server ended the connection during the association")
            accepted = decode_association_response(answer)
        except BaseException:
            sock.close()
            raise
        sock.settimeout(None)
        client = cls(iso, on_information_report=on_report, request_timeout=timeout, association=accepted)
        client._start()
        return client


def connect_tls(
    host: str,
    port: int,
    identity: ClientCertificate,
    *,
    timeout: float,
    on_report: InformationReportCallback | None = None,
) -> MmsClient:
    """An association over TLS; MmsConnectionError tells why there is none, as far as the server does."""
    context = client_context(identity.ca, identity.cert, identity.key)
    try:
        raw = connect(host, port, timeout=timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls = context.wrap_socket(raw, server_hostname=host)
    except OSError as error:  # ssl.SSLError is one
        raise MmsConnectionError(f"no TLS connection to {host}:{port}: {reason(error)}") from error
    tunnel = Tunnel(tls)
    tunnel.start()
    try:
        return SocketMmsClient.over(tunnel.ours, timeout=timeout, on_report=on_report)
    except OSError as error:
        tunnel.join(timeout)
        raise MmsConnectionError(reason(tunnel.failure or error)) from error


def connect_plain(
    host: str, port: int, *, timeout: float, on_report: InformationReportCallback | None = None
) -> MmsClient:
    """An association without TLS; MmsConnectionError tells why there is none."""
    try:
        sock = connect(host, port, timeout=timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return SocketMmsClient.over(sock, timeout=timeout, on_report=on_report)
    except OSError as error:
        raise MmsConnectionError(f"cannot connect to {host}:{port}: {reason(error)}") from error


class Tunnel(threading.Thread):
    """Passes octets between ``ours`` and a TLS connection until one of them ends."""

    def __init__(self, tls: ssl.SSLSocket) -> None:
        super().__init__(name="MMS over TLS", daemon=True)
        self.ours, self._theirs = socket.socketpair()
        self.failure: OSError | None = None
        self._tls = tls

    def run(self) -> None:
        """Until one side ends."""
        self._tls.setblocking(False)
        try:
            while self._pass_on():
                pass
        except OSError as error:  # also the alert that tells us why the server does not want us
            self.failure = error
        finally:
            for sock in (self._theirs, self._tls):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()

    def _pass_on(self) -> bool:
        """What is there on either side; False at the end."""
        ready, _, _ = select.select((self._tls, self._theirs), (), (), 0 if self._tls.pending() else None)
        with suppress(ssl.SSLWantReadError):  # first: a server that does not want us says why
            data = self._tls.recv(CHUNK)
            self._theirs.sendall(data)
            if not data:
                return False
        if self._theirs in ready:
            data = self._theirs.recv(CHUNK)
            self._send(data)
            return bool(data)
        return True

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._tls.send(view) :]
            except ssl.SSLWantWriteError:
                select.select((), (self._tls,), ())
