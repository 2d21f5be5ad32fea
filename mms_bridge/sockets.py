"""Looks after connections that do not behave: half open, silent, or never reading what they are sent.

The library owns its descriptors and closes them; here they are at worst shut down, which the library then
finds. A peer that is gone, or takes nothing of what it was sent for a while, is given up
by the kernel (tcp(7)); a connection without an association is given up by us.

>>> import socket
>>> with socket.create_server(("127.0.0.1", 0)) as listener:
...     protect(listener)
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

ASSOCIATE_SECONDS = 10.0
"""A client has so long to associate."""
GRACE_SECONDS = 1.0
"""A connection that is younger than this is not given up for another client's sake."""
UNREAD_SECONDS = 30
"""A client that takes nothing for so long of what was sent is given up; so is one that is gone."""

_KEEPALIVE = {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 4}


def protect(listener: socket.socket) -> None:
    """Connections that ``listener`` takes from now on end when their peer is gone or takes nothing."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        listener.setsockopt(socket.IPPROTO_TCP, option, value)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)


class Newcomers:
    """Connections that have not associated yet, as far as is known, oldest first."""

    def __init__(self, is_associated: Callable[[int], bool]) -> None:
        self._since: dict[int, float] = {}
        self._is_associated = is_associated

    def add(self, fd: int, now: float) -> None:
        """One more."""
        self._since[fd] = now

    def forget(self, fd: int) -> None:
        """It was closed."""
        self._since.pop(fd, None)

    def oldest(self, before: float) -> int | None:
        """The oldest of those that came before a time; those that have associated since are left out."""
        for fd, since in list(self._since.items()):
            if since >= before:
                return None
            if not self._is_associated(fd):
                return fd
            del self._since[fd]
        return None


@contextmanager
def borrowed(fd: int) -> Iterator[socket.socket]:
    """The socket behind ``fd``, which stays open; OSError if there is none."""
    lent = socket.socket(fileno=fd)
    try:
        yield lent
    finally:
        lent.detach()


def give_up(fd: int) -> None:
    """Shut the connection down: the library reads its end and closes it."""
    with suppress(OSError), borrowed(fd) as connection:
        connection.shutdown(socket.SHUT_RDWR)


def comes_from(fd: int, peer: tuple[str, int]) -> bool:
    """Whether ``peer`` is at the other end of the connection behind ``fd``."""
    try:
        with borrowed(fd) as connection:
            return bool(connection.getpeername() == peer)
    except OSError:
        return False  # it has gone already
