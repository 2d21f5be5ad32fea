"""A proxy between a browser and the web that keeps back what comes: for ever, or for some seconds.

>>> with delayed(web.port) as proxy:  # doctest: +SKIP
...     proxy.seconds = 6.0
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue

PIECE = 65536
LOOK_SECONDS = 0.05


@dataclass
class Proxy:
    """Where it listens, and how long it keeps what the server says."""

    port: int
    seconds: float = 0.0


@contextmanager
def delayed(port: int) -> Iterator[Proxy]:
    """A proxy in front of ``port`` of this machine; its connections end with it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy(listener.getsockname()[1])
        both = list[socket.socket]()
        _thread(_accept, listener, port, proxy, both)
        try:
            yield proxy
        finally:
            for one in both:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()


def _thread(work: object, *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()  # type: ignore[arg-type]


def _accept(listener: socket.socket, port: int, proxy: Proxy, both: list[socket.socket]) -> None:
    with suppress(OSError):  # it is closed
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", port))
            both += [client, server]
            waiting = SimpleQueue[tuple[float, bytes]]()
            _thread(_copy, client, server)
            _thread(_take, server, waiting)
            _thread(_give, waiting, client, proxy)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(PIECE):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def _take(source: socket.socket, waiting: SimpleQueue[tuple[float, bytes]]) -> None:
    with suppress(OSError):
        while data := source.recv(PIECE):
            waiting.put((time.monotonic(), data))
    waiting.put((time.monotonic(), b""))


def _give(waiting: SimpleQueue[tuple[float, bytes]], sink: socket.socket, proxy: Proxy) -> None:
    with suppress(OSError):
        while True:
            came, data = waiting.get()
            while time.monotonic() < came + proxy.seconds:
                time.sleep(LOOK_SECONDS)
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)
