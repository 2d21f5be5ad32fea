"""Connections to the library that only we can make: over loopback, from the address that stands for a client.

They carry nothing: the guard takes their place as soon as the library has them.

>>> with private_listener() as listener:
...     with connected(listener, "127.64.0.1") as inner:
...         inner.getpeername() == listener.getsockname()
True
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

CONNECT_SECONDS = 1.0
"""Loopback answers at once, or not at all."""

Peer = tuple[str, int]


@contextmanager
def private_listener() -> Iterator[socket.socket]:
    """It listens for one connection, while the block runs."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        listener.setblocking(False)
        yield listener


def connected(listener: socket.socket, source: str) -> socket.socket:
    """A connection to ``listener`` from loopback address ``source``."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.bind((source, 0))
        connection.settimeout(CONNECT_SECONDS)
        connection.connect(listener.getsockname())
        select.select((listener,), (), (), CONNECT_SECONDS)  # the other end may come a moment later
    except OSError:
        connection.close()
        raise
    return connection
