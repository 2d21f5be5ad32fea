"""Looks after connections that do not behave: half open, silent, or never reading what they are sent.

The library owns the descriptors and closes them; here they are only asked and, at worst, shut down, which
the library then finds. A peer that is gone, or takes nothing of what it was sent for a while, is given up
by the kernel (tcp(7)); a connection without an association is given up by us.

>>> import socket
>>> with socket.create_server(("127.0.0.1", 0)) as listener:
...     protect(listener)
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

ASSOCIATE_SECONDS = 10.0
"""A client has so long to associate."""
GRACE_SECONDS = 1.0
"""A connection that is younger than this is not given up for another client's sake."""
UNREAD_SECONDS = 30
"""A client that takes nothing for so long of what was sent is given up; so is one that is gone."""

_KEEPALIVE = {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 4}
_LONGEST_CONFIRM = 26
"""Octets of the longest COTP connection confirm that the library sends; an ACCEPT SPDU has over a hundred."""
_BYTES_ACKED = struct.Struct("120xQ")  # tcpi_bytes_acked in struct tcp_info of linux/tcp.h


def protect(listener: socket.socket) -> None:
    """Connections that ``listener`` takes from now on end when their peer is gone or takes nothing."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        listener.setsockopt(socket.IPPROTO_TCP, option, value)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)


class Newcomers:
    """Connections that have not associated yet, as far as is known, oldest first."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

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
            if not is_associated(fd):
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


def is_associated(fd: int) -> bool:
    """Whether the peer has been sent more, and has taken it, than the answer to its connection request."""
    with suppress(OSError), borrowed(fd) as connection:
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
        return len(told) < _BYTES_ACKED.size or _BYTES_ACKED.unpack(told)[0] > _LONGEST_CONFIRM
    return False


def give_up(fd: int) -> None:
    """Shut the connection down: the library reads its end and closes it."""
    with suppress(OSError), borrowed(fd) as connection:
        connection.shutdown(socket.SHUT_RDWR)


def is_blocked(fd: int) -> bool:
    """Whether more has arrived, or the end, while the peer does not take what it was sent."""
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLOUT)
    return any(events & select.POLLIN and not events & select.POLLOUT for _, events in poll.poll(0))
