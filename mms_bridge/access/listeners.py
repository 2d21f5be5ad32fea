"""The listeners of an IED: the plain port, on loopback unless it is opened, and the port for TLS.

>>> listeners = Listeners(settings)                  # doctest: +SKIP
>>> of_ied = listeners.of_ied("SMGW001", take, admit)  # doctest: +SKIP
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
from mms_bridge.settings import EACH, MmsSettings
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
        self.owners: dict[Endpoint, str] = {}
        """Who listens where."""
        self._told: set[str] = set()

    def of_ied(self, name: str, take: Callable[[socket.socket], object], admit: Admit) -> IedListeners:
        """The listeners of one IED: ``take`` has the plain one, ``admit`` the clients that came over TLS."""
        return IedListeners(name, self, take=take, admit=admit)

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
                found[TLS] = (_bound(self._settings.bind) or told[0], told[1])
        return self._apart(cid, found)

    def _apart(self, cid: Cid, found: dict[str, Endpoint]) -> dict[str, Endpoint]:
        """Without a plain port on loopback that is another IED's already, if there is TLS."""
        place = found.get(PLAIN)
        if TLS not in found or place is None or place[0] == cid.endpoint[0]:
            return found
        if self.owners.get(place, cid.ied) == cid.ied:
            return found
        self._once(
            "%s has no plain MMS: %s listens on %s:%d. To have it at the address of each IED set "
            "METER61850_MMS_PLAIN_BIND=ied (logged once)", cid.ied, self.owners[place], *place,
        )  # fmt: skip
        return {TLS: found[TLS]}

    def _plain(self, cid: Cid) -> Endpoint:
        host, port = cid.endpoint
        bind = self._settings.plain_bind
        default = host if bind == EACH or _is_loopback(host) else LOOPBACK
        here = _bound(bind) or default
        if not _is_loopback(here):
            self._once(
                "plain MMS is open on %s, without login or encryption: its clients can read every meter; "
                "METER61850_MMS_PLAIN_RIGHTS decides whether they can switch relays (logged once)", here,
            )  # fmt: skip
        elif here != host:
            self._once(
                "plain MMS listens on %s only, although the CIDs have %s: use TLS, or open it with "
                "METER61850_MMS_PLAIN_BIND=%s; then every client that reaches the port reads every meter, "
                "without login or encryption (logged once)", here, host, EACH,
            )  # fmt: skip
        return here, port

    def _once(self, text: str, *arguments: object) -> None:
        if text not in self._told:
            self._told.add(text)
            log.warning(text, *arguments)


def _bound(setting: str | None) -> str | None:
    """The address that a setting names; None if it is that of each IED."""
    return None if setting == EACH else setting


def _is_loopback(host: str) -> bool:
    try:
        return IPv4Address(host).is_loopback
    except ValueError:
        return host == "localhost"


class IedListeners:
    """The listening sockets of one IED."""

    def __init__(
        self, name: str, listeners: Listeners, *, take: Callable[[socket.socket], object], admit: Admit
    ) -> None:
        self._name = name
        self._shared = listeners
        self._tls = TlsFrontend(
            listeners.associations, listeners.access_files, listeners.handshakes, admit=admit
        )
        self._callbacks: dict[str, Callable[[socket.socket], object]] = {
            PLAIN: take,
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
                    self._check_free(endpoint)
                    new[option] = endpoint, undo.enter_context(_listening(self._name, endpoint, option))
            undo.pop_all()
        for option in [option for option in self._open if option in new or option not in places]:
            self._close(option)
        for option, (endpoint, listener) in new.items():
            self._open[option] = endpoint, listener
            self._shared.owners[endpoint] = self._name
            self._loop.add_reader(listener, self._callbacks[option], listener)

    def close(self) -> None:
        """Listen no more, and end the TLS clients."""
        for option in list(self._open):
            self._close(option)
        self._tls.close()

    def _close(self, option: str) -> None:
        endpoint, listener = self._open.pop(option)
        self._loop.remove_reader(listener)
        listener.close()
        self._shared.owners.pop(endpoint, None)

    def _check_free(self, endpoint: Endpoint) -> None:
        """UnavailableError if another IED listens there."""
        owner = self._shared.owners.get(endpoint, self._name)
        if owner != self._name:
            raise UnavailableError(
                f"{self._name} cannot listen on {endpoint[0]}:{endpoint[1]}, where {owner} listens: IEDs of "
                f"one port need METER61850_MMS_PLAIN_BIND={EACH}, and METER61850_MMS_BIND={EACH} for TLS"
            )


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
