"""Captures of real sessions: what a client sent, one file a session, one TPKT (RFC 1006) a line.

The first line is the COTP connection request, the second the association (session, presentation, ACSE,
MMS initiate), the others are MMS requests. ``#`` begins a comment. They were recorded with :class:`Tap`
between an independent client and our server, whose one meter is number 1 of ``tests/support/mms.py``:
``python -m tests.hostile.record``.

>>> [capture.name for capture in load()][:2]
['control', 'data_sets']
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).with_name("captures")
HEADER = 4
"""Octets of a TPKT header: version 3, reserved, length of the whole."""


@dataclass(frozen=True)
class Capture:
    """The TPKTs that one client sent, in order."""

    name: str
    packets: tuple[bytes, ...]

    @property
    def opening(self) -> tuple[bytes, ...]:
        """Connection request and association."""
        return self.packets[:2]

    @property
    def requests(self) -> tuple[bytes, ...]:
        """What was asked over the association."""
        return self.packets[2:]


def load(folder: Path = FOLDER) -> tuple[Capture, ...]:
    """Every capture of ``folder``, by name."""
    return tuple(read(path) for path in sorted(folder.glob("*.hex")))


def read(path: Path) -> Capture:
    """One capture."""
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return Capture(path.stem, tuple(bytes.fromhex(line) for line in lines if line))


def write(path: Path, comment: str, packets: tuple[bytes, ...]) -> None:
    """Keep packets as a capture."""
    path.write_text("\n".join([f"# {comment}", *(packet.hex() for packet in packets), ""]))


def split(stream: bytes) -> Iterator[bytes]:
    """The TPKTs of a well-formed stream."""
    while len(stream) >= HEADER:
        length = int.from_bytes(stream[2:4], "big")
        yield stream[:length]
        stream = stream[length:]


@dataclass
class Tap:
    """A relay that keeps what the client and the server send; ``port`` is where it listens."""

    port: int = 0
    turns: list[tuple[bool, bytes]] = field(default_factory=list)
    """What came in order, and whether the client sent it."""

    @property
    def packets(self) -> tuple[bytes, ...]:
        """The TPKTs of the client so far."""
        return tuple(split(b"".join(chunk for of_client, chunk in self.turns if of_client)))


@contextmanager
def tapped(host: str, port: int) -> Iterator[Tap]:
    """Relay one connection to ``host``:``port``."""
    tap = Tap()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tap.port = listener.getsockname()[1]
        thread = threading.Thread(target=_relay, args=(listener, (host, port), tap))
        thread.start()
        try:
            yield tap
        finally:
            thread.join(5.0)


def _relay(listener: socket.socket, server: tuple[str, int], tap: Tap) -> None:
    client, _ = listener.accept()
    with client, socket.create_connection(server) as upstream:
        back = threading.Thread(target=_pump, args=(upstream, client, tap, False))
        back.start()
        _pump(client, upstream, tap, True)
        back.join(5.0)


def _pump(source: socket.socket, sink: socket.socket, tap: Tap, of_client: bool) -> None:
    with suppress(OSError):
        while chunk := source.recv(65536):
            tap.turns.append((of_client, chunk))
            sink.sendall(chunk)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
