"""One client's connection with the guard in it: the library has an end of a socket pair, not the client's.

What a client sends is read here, judged message by message (``guard/judge.py``), and only what the library
may have is written into the pair. What the library writes goes to the client; a client that does not take it
is not read meanwhile. The library reads a TPDU each time it is called, so it is called until it has read this
message, before the next one is judged.

>>> connection = GuardedConnection(fd, client, turn, ended)      # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from fcntl import ioctl
from termios import TIOCOUTQ

from mms_bridge.guard.ber import MalformedError
from mms_bridge.guard.judge import Action, Guard
from mms_bridge.guard.transport import Stream

CHUNK = 65_536
ROUNDS = 4
"""Calls of the library beyond the TPDUs of a message, until it has read the message."""
CLOSING_SECONDS = 2.0
"""For which a client may take its last answer."""
SELECTABLE = 1024
"""FD_SETSIZE: select(2), which alone waits for less than 1 ms, takes only descriptors below."""
LINGER_SECONDS = 60e-6
"""For which a client's next request is awaited: coming back by way of the event loop takes 100 µs."""
_COUNT = struct.Struct("i")


class GuardedConnection:
    """Between a client's socket and the library's descriptor, whose socket it replaces."""

    def __init__(
        self,
        fd: int,
        client: socket.socket,
        *,
        serve: Callable[[], None],
        broken: Callable[[str], None],
        burst: int,
        linger: bool,
        guard: Guard,
    ) -> None:
        """``serve`` calls the library once, ``broken`` is told the rule that a message breaks."""
        self.client = client
        client.setblocking(False)
        self._pair, theirs = socket.socketpair()
        self._pair.setblocking(False)
        theirs.setblocking(False)
        with theirs:
            os.dup2(theirs.fileno(), fd, inheritable=False)
        self._serve = serve
        self._broken = broken
        self._burst = burst
        self._linger = LINGER_SECONDS if linger and client.fileno() < SELECTABLE else 0.0
        self._guard = guard
        self._stream = Stream()
        self._unsent = b""
        self._ends = False  # nothing more is read from the client
        self._reading = self._writing = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pair, self.flush)  # reports; answers are fetched without the loop
        self._read(True)

    @property
    def associated(self) -> bool:
        """Whether the server has accepted the client's association."""
        return self._guard.associated

    def _read(self, wanted: bool) -> None:
        if wanted and not self._reading:
            self._loop.add_reader(self.client, self._on_readable)
        elif self._reading and not wanted:
            self._loop.remove_reader(self.client)
        self._reading = wanted

    def _on_readable(self) -> None:
        """Octets of the client, or its end."""
        for _ in range(self._burst):
            try:
                octets = self.client.recv(CHUNK)
            except BlockingIOError:
                return
            except OSError:
                octets = b""
            if not octets:
                self._end()
                return
            if not self._stream.size and self._guard.lets_through(octets):
                self._ask(octets, 1)
            else:
                self._stream.feed(octets)
                self.work()
            if not self._reading or not self._linger or self._stream.size:
                return
            if not select.select((self.client,), (), (), self._linger)[0]:
                return

    def work(self) -> None:
        """Judge the messages that are here, as long as the client takes the answers."""
        for _ in range(self._burst):
            if self._ends or self._unsent:
                return
            try:
                message = self._stream.next()
            except MalformedError as error:
                self._act(Action(ends=True, rule=f"malformed: {error}"), tpdus=0)
                return
            if message is None:
                self._read(True)
                return
            self._act(self._guard.judge(message), tpdus=message.tpdus)
        self._read(False)  # the others have their turn first
        self._loop.call_soon(self.work)

    def _act(self, action: Action, *, tpdus: int) -> None:
        if action.rule:
            self._broken(action.rule)
        if action.asks:
            self._ask(action.forward, tpdus)
        elif action.forward:
            self._hand_over(action.forward, tpdus)
        if action.reply:
            self._send(action.reply)
        if action.ends:
            self._end()

    def _ask(self, message: bytes, tpdus: int) -> None:
        """Give it to the library; what the library leaves without an answer is answered here."""
        if self._hand_over(message, tpdus) and (missing := self._guard.missing()).reply:
            self._broken(missing.rule)
            self._send(missing.reply)

    def _hand_over(self, message: bytes, tpdus: int) -> bool:
        """Give it to the library; whether the library has read it, and what it wrote is sent."""
        try:
            sent = self._pair.send(message)
        except OSError:
            sent = 0  # the library has closed its end
        if sent != len(message):
            self._end()
            return False
        for _ in range(tpdus + ROUNDS):
            self._serve()
            self.flush()
            if self._unsent or self._ends:
                return False
            if self._guard.answered or not self._unread():
                return True
        return False

    def _unread(self) -> bool:
        """Whether the library has not read all that it was given."""
        (octets,) = _COUNT.unpack(ioctl(self._pair, TIOCOUTQ, bytes(_COUNT.size)))
        return bool(octets)

    def flush(self) -> None:
        """Fetch what the library has written, unless the client does not take it."""
        while not self._unsent and self._pair.fileno() >= 0:
            try:
                octets = self._pair.recv(CHUNK)
            except BlockingIOError:
                return
            except OSError:
                octets = b""
            if not octets:
                self._library_ended()
                return
            self._send(self._guard.heard(octets))
            if len(octets) < CHUNK:
                return

    def _send(self, octets: bytes) -> None:
        if self._unsent:
            self._unsent += octets
            return
        try:
            sent = self.client.send(octets)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.cut()
            return
        self._unsent = octets[sent:]
        if self._unsent and not self._writing:
            self._writing = True
            self._read(False)
            if self._pair.fileno() >= 0:
                self._loop.remove_reader(self._pair)
            self._loop.add_writer(self.client, self._on_writable)

    def _on_writable(self) -> None:
        octets, self._unsent = self._unsent, b""
        self._send(octets)
        if self._unsent or not self._writing:
            return
        self._writing = False
        self._loop.remove_writer(self.client)
        if self._pair.fileno() < 0:
            self._close_client()
            return
        self._loop.add_reader(self._pair, self.flush)
        self.flush()
        if not self._unsent and self._unread():
            self._serve()  # it had stopped reading because nobody took its answers
        if not self._unsent and not self._ends:
            self._read(True)
            self.work()

    def _end(self) -> None:
        """No more of the client: the library finds the end behind what it was given, and closes."""
        if not self._ends:
            self._ends = True
            self._read(False)
            with suppress(OSError):
                self._pair.shutdown(socket.SHUT_WR)
            self._loop.call_soon(self._serve)

    def _library_ended(self) -> None:
        self._ends = True
        self._read(False)
        self._loop.remove_reader(self._pair)
        self._pair.close()
        if not self._writing:
            self._close_client()

    def _close_client(self) -> None:
        """After its last answer; a client that has not read it yet still can."""
        with suppress(OSError):
            self.client.shutdown(socket.SHUT_WR)
        self.cut()

    def release(self) -> None:
        """The library has closed its end: send what it has left, for a moment, and close."""
        self.flush()
        if self._pair.fileno() >= 0 and not self._writing:
            self._library_ended()
        if self._writing:
            self._loop.call_later(CLOSING_SECONDS, self.cut)

    def cut(self) -> None:
        """End it at once; what is on its way is lost."""
        if self.client.fileno() < 0:
            return
        self._ends = True
        self._guard.ended()
        self._read(False)
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self.client)
        if self._pair.fileno() >= 0:
            self._loop.remove_reader(self._pair)
            self._pair.close()
            self._loop.call_soon(self._serve)
        self.client.close()
