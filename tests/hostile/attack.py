"""Throws attacks at a server from several threads, beside clients that are merely rude.

>>> with rudeness(port, capture), Onslaught(port, seed=7, messages=5000) as onslaught:  # doctest: +SKIP
...     onslaught.wait()
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from tests.hostile.capture import Capture
from tests.hostile.drawers import Drawers
from tests.hostile.mutate import Attack, attack

THREADS = 3
ANSWER_SECONDS = 30.0
"""In which the server must have taken or refused all that was sent: it closes its side then."""
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() resets


@dataclass
class Toll:
    """What was thrown, and how the server took it."""

    attacks: int = 0
    messages: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    """Connections that were closed at once, because too many were open: tried again."""
    hung: list[int] = field(default_factory=list)
    """Attacks after which the server did not close the connection."""
    latest: deque[int] = field(default_factory=lambda: deque(maxlen=4 * THREADS))
    """Numbers of the last attacks: a crash is due to one of them."""


class Onslaught(Drawers):
    """Throws attacks of a seed, from ``first`` on, until so many messages have been sent."""

    def __init__(
        self, port: int, corpus: Sequence[Capture], *, seed: int, messages: int, first: int = 0
    ) -> None:
        super().__init__(THREADS)
        self.toll = Toll()
        self._port = port
        self._corpus = corpus
        self._seed = seed
        self._messages = messages
        self._next = first

    def _drawn(self) -> Attack | None:
        with self.lock:
            if self.toll.messages >= self._messages:
                return None
            number = self._next
            self._next += 1
            made = attack(self._seed, number, self._corpus)
            self.toll.attacks += 1
            self.toll.messages += made.messages
            self.toll.kinds.update(made.kinds)
            self.toll.latest.append(number)
            return made

    def work(self) -> None:
        """Throw one attack after the other."""
        while not self.stop.is_set() and (made := self._drawn()) is not None:
            while not self.stop.is_set() and not self._throw(made):
                self.toll.refused += 1
                time.sleep(0.02)

    def _throw(self, made: Attack) -> bool:
        """Send it and wait until the server closes; False if it did not take the connection at all."""
        try:
            connection = socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_SECONDS)
        except OSError:
            return False
        with connection:
            try:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for piece in made.pieces:
                    connection.sendall(piece)
                if not made.polite:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    return True
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except TimeoutError:
                self.toll.hung.append(made.number)
            except OSError:
                pass  # it has had enough of us: as it should
        return True


# --- rude clients ----------------------------------------------------------------------------------


def silent(_capture: Capture) -> bytes:
    """Connects and says nothing."""
    return b""


def half_open(capture: Capture) -> bytes:
    """Connects, asks for a transport connection, and never associates."""
    return capture.opening[0]


def half_said(capture: Capture) -> bytes:
    """Stops in the middle of the association."""
    return capture.opening[0] + capture.opening[1][:50]


def never_reading(capture: Capture) -> bytes:
    """Enables reports, asks on and on, and never takes a report or an answer."""
    return b"".join([*capture.packets, *capture.requests[:3] * 2000])


RUDE: tuple[Callable[[Capture], bytes], ...] = (silent, half_open, half_said, never_reading)


@contextmanager
def rudeness(port: int, capture: Capture) -> Iterator[None]:
    """One client of each kind, which comes again whenever the server has given it up."""
    stop = threading.Event()
    threads = [threading.Thread(target=_be_rude, args=(port, rude(capture), stop)) for rude in RUDE]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _be_rude(port: int, told: bytes, stop: threading.Event) -> None:
    while not stop.wait(0.1):
        with suppress(OSError), ExitStack() as stack:
            rude = stack.enter_context(socket.socket())
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            rude.connect(("127.0.0.1", port))
            rude.settimeout(0.1)
            with suppress(TimeoutError):
                rude.sendall(told)
            while not stop.wait(0.1) and not given_up(rude):
                pass


def given_up(rude: socket.socket) -> bool:
    """Whether the server has ended it; nothing is read."""
    told = rude.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    return told[0] != 1  # tcpi_state: TCP_ESTABLISHED
