"""The listeners of an IED: the plain port, on loopback unless it is opened, and the port for TLS.

>>> listeners = Listeners(settings)                  # doctest: +SKIP
>>> of_ied = listeners.of_ied("SMGW001", admit)  # doctest: +SKIP
>>> of_ied.open(cid)                            # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import IPv4Address

from broker.contract.errors import PortTakenError, UnavailableError
from mms_bridge import sockets
from mms_bridge.access.access_files import AccessFiles
from mms_bridge.access.associations import Associations
from mms_bridge.access.handshake_limit import HandshakeLimit
from mms_bridge.access.tls_frontend import Admit, TlsFrontend
from mms_bridge.settings import MmsSettings
from scl_builder.read.cid import Cid

log = logging.getLogger(__name__)

Endpoint = tuple[str, int]
PLAIN, TLS = "--mms-port", "--mms-tls-port"
"""Named by the bridge's option with the address."""
LOOPBACK = "127.0.0.1"


class Listeners:
    """What the listeners of all IEDs share."""

    def __init__(self, settings: MmsSettings) -> None:
        self.associations = Associations(
            allowed=settings.allow,
            plain_right=settings.plain_rights,
            per_address=settings.associations_per_address,
        )
        self.access_files = AccessFiles(settings, self.associations)
        self.handshakes = HandshakeLimit()
        self._settings = settings
        self._told: set[str] = set()

    def of_ied(self, name: str, admit: Admit) -> IedListeners:
        """The listeners of one IED."""
        return IedListeners(name, self, admit=admit)

    def places(self, cid: Cid) -> dict[str, Endpoint]:
        """The addresses for ``cid``, by option."""
        found: dict[str, Endpoint] = {}
        if self._settings.plain:
            found[PLAIN] = self._plain(cid)
        if self.access_files.credentials is not None:
            told = cid.tls_endpoint or (None if self._settings.plain else cid.endpoint)
            if told is None:
                self._once(
                    "%s has no TLS access point: set METER61850_MMS_TLS_PORT for `meter61850 bridge run` "
                    "(logged once)", cid.ied,
                )  # fmt: skip
            else:
                found[TLS] = (self._settings.bind or told[0], told[1])
        return found

    def _plain(self, cid: Cid) -> Endpoint:
        host, port = cid.endpoint
        here = self._settings.plain_bind or (host if _is_loopback(host) else LOOPBACK)
        if not _is_loopback(here):
            self._once(
                "plain MMS is open on %s, without login or encryption: its clients can read every meter; "
                "METER61850_MMS_PLAIN_RIGHTS decides whether they can switch relays (logged once)", here,
            )  # fmt: skip
        elif here != host:
            self._once(
                "plain MMS listens on %s only, although the CIDs have %s: use TLS, or open it with "
                "METER61850_MMS_PLAIN_BIND=%s; then every client that reaches the port reads every meter, "
                "without login or encryption (logged once)", here, host, host,
            )  # fmt: skip
        return here, port

    def _once(self, text: str, *arguments: object) -> None:
        if text not in self._told:
            self._told.add(text)
            log.warning(text, *arguments)


def _is_loopback(host: str) -> bool:
    try:
        return IPv4Address(host).is_loopback
    except ValueError:
        return host == "localhost"


class IedListeners:
    """The listening sockets of one IED."""

    def __init__(self, name: str, listeners: Listeners, *, admit: Admit) -> None:
        self._name = name
        self._shared = listeners
        self._tls = TlsFrontend(
            listeners.associations, listeners.access_files, listeners.handshakes, admit=admit
        )
        self._callbacks: dict[str, Callable[[socket.socket], object]] = {
            PLAIN: admit,
            TLS: self._tls.on_connect,
        }
        self._open: dict[str, tuple[Endpoint, socket.socket]] = {}
        self._loop = asyncio.get_running_loop()

    def open(self, cid: Cid) -> None:
        """Listen at the addresses of ``cid`` only; after UnavailableError everything is as before."""
        places = self._shared.places(cid)
        with ExitStack() as undo:
            new = {}
            for option, endpoint in places.items():
                if option not in self._open or self._open[option][0] != endpoint:
                    new[option] = endpoint, undo.enter_context(_listening(self._name, endpoint, option))
            undo.pop_all()
        for option in [option for option in self._open if option in new or option not in places]:
            self._close(option)
        for option, (endpoint, listener) in new.items():
            self._open[option] = endpoint, listener
            self._loop.add_reader(listener, self._callbacks[option], listener)

    def close(self) -> None:
        """Listen no more, and end the TLS clients."""
        for option in list(self._open):
            self._close(option)
        self._tls.close()

    def _close(self, option: str) -> None:
        _, listener = self._open.pop(option)
        self._loop.remove_reader(listener)
        listener.close()


def _listening(name: str, endpoint: Endpoint, option: str) -> socket.socket:
    """A socket that listens at ``endpoint``; UnavailableError if it cannot."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setblocking(False)
    try:
        listener.bind(endpoint)
        sockets.protect(listener)
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise PortTakenError(endpoint[1], option) from error
        raise UnavailableError(f"{name} cannot listen on {endpoint[0]}:{endpoint[1]}: {error}") from error
    return listener
