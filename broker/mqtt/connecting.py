"""Every TCP connection of ours: all addresses of a name are tried, none waits for a dead one (RFC 8305).

A name often has an IPv6 address that leads nowhere. Tried one after the other, it costs the whole time that a
connection may take; here the next address is tried after a quarter of a second, and the first answer wins.

>>> connect("127.0.0.1", 1, timeout=1.0)
Traceback (most recent call last):
    ...
broker.contract.errors.UnavailableError: Connection refused
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
from collections import deque
from itertools import chain, zip_longest
from time import monotonic
from typing import Any

from broker.contract.errors import UnavailableError, reason

ATTEMPT_SECONDS = 0.25
"""After which the next address is tried beside the one before."""
Address = tuple[socket.AddressFamily, Any]
"""Family, and address as `socket.getaddrinfo` gives it."""


def connect(host: str, port: int, *, timeout: float) -> socket.socket:
    """A connected socket whose operations may take ``timeout`` seconds, as all attempts together may.

    UnavailableError says what became of each address; it does not repeat host and port.
    """
    race = _Race(_addresses(host, port), until=monotonic() + timeout)
    try:
        winner = race.run()
        if winner is None:
            raise UnavailableError(race.failures(alone=host, seconds=timeout))
    finally:
        race.close()
    winner.settimeout(timeout)
    return winner


def _addresses(host: str, port: int) -> deque[Address]:
    """What the name means, IPv6 and IPv4 by turns, as the system prefers them."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnavailableError(f"the name {host!r} has no address: {reason(error)}") from error
    each: list[Address] = [(family, address) for family, _, _, _, address in found]
    first = [one for one in each if one[0] == each[0][0]]
    others = [one for one in each if one[0] != each[0][0]]
    return deque(one for one in chain(*zip_longest(first, others)) if one is not None)


class _Race:
    """Attempts under way at the same time; those that have lost are closed."""

    def __init__(self, waiting: deque[Address], *, until: float) -> None:
        self._waiting = waiting
        self._until = until
        self._selector = selectors.DefaultSelector()
        self._lost: dict[str, str] = {}

    def run(self) -> socket.socket | None:
        """The first that is connected; None when all have failed or the time is over."""
        due = monotonic()
        while self._waiting or self._selector.get_map():
            now = monotonic()
            if now >= self._until:
                return None
            if self._waiting and (now >= due or not self._selector.get_map()):
                due = now + ATTEMPT_SECONDS
                self._begin(*self._waiting.popleft())
                continue
            pause = min(due, self._until) if self._waiting else self._until
            for key, _ in self._selector.select(pause - now):
                if winner := self._ended(key):
                    return winner
                due = now  # the next one need not wait for a place
        return None

    def failures(self, *, alone: str, seconds: float) -> str:
        """What became of each address; without the address if ``alone`` was asked for."""
        for key in list(self._selector.get_map().values()):
            self._lost[key.data] = f"no answer within {seconds:g} s"
        for _, address in self._waiting:
            self._lost[str(address[0])] = "not tried in time"
        if list(self._lost) == [alone]:
            return self._lost[alone]
        return ", ".join(f"{address}: {why}" for address, why in self._lost.items())

    def close(self) -> None:
        """Give up what is still under way."""
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _begin(self, family: socket.AddressFamily, address: Any) -> None:
        name = str(address[0])
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
        except OSError as error:  # a machine without IPv6
            self._lost[name] = reason(error)
            return
        code = sock.connect_ex(address)
        if code in (0, errno.EINPROGRESS):
            self._selector.register(sock, selectors.EVENT_WRITE, name)
        else:
            self._lost[name] = os.strerror(code)
            sock.close()

    def _ended(self, key: selectors.SelectorKey) -> socket.socket | None:
        sock = key.fileobj
        assert isinstance(sock, socket.socket)
        self._selector.unregister(sock)
        if not (code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            return sock
        self._lost[key.data] = os.strerror(code)
        sock.close()
        return None
