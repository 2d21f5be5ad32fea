"""TLS over a transport of asyncio that sends the alert of a failed handshake (RFC 5246 7.2, RFC 8446 6).

asyncio's own TLS closes the connection and drops the alert: the client sees a reset, and cannot know whether
its certificate has expired, was revoked or has an unknown CA. Here OpenSSL works on buffers in memory, and
its alert is sent before the end. What the client still sends meanwhile is read and dropped: a socket with
unread data is reset, and a reset can overtake the alert.

>>> alert(INTERNAL_ERROR).hex()
'15030300020250'
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import cast

from mms_bridge.access.stream_pipe import Half

ACCESS_DENIED, INTERNAL_ERROR = 49, 80
"""AlertDescription."""
CLOSING_SECONDS = 2.0
"""For which a client may take its last octets."""
CHUNK = 65_536


def alert(description: int) -> bytes:
    """A fatal alert as it is sent before any ServerHello."""
    return bytes((21, 3, 3, 0, 2, 2, description))


class TlsStream(asyncio.Protocol):
    """The server's side of one connection; it is the transport of ``half`` once the handshake is done."""

    def __init__(self, context: ssl.SSLContext, half: Half) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """The handshake has succeeded; or its error, when the alert is on its way."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.spoken = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._half = half
        self._raw: asyncio.Transport | None = None
        self._paused = False
        self._closing = False
        self._limit: asyncio.TimerHandle | None = None
        self.done.add_done_callback(lambda done: done.cancelled() or done.exception())  # it was retrieved

    # --- as a protocol, of the socket's transport ------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client speaks first."""
        self._raw = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Some octets of TLS."""
        if self._closing:
            return
        self._incoming.write(data)
        if not self.done.done():
            self._shake()
        self._read()

    def eof_received(self) -> bool:
        """No more will come: the transport closes itself."""
        return False

    def pause_writing(self) -> None:
        """The client does not take what it is sent."""
        self._half.pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        self._half.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is closed."""
        if self._limit is not None:
            self._limit.cancel()
        if not self.done.done():
            self.done.set_exception(error or ConnectionResetError("it ended during the handshake"))
        if not self.ended.done():
            self.ended.set_result(None)
        self._half.connection_lost(error)

    # --- as a transport, of the half ---------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send, encrypted."""
        left = memoryview(data)
        with suppress(ssl.SSLError):  # closed meanwhile
            while left and not self._closing:
                left = left[self.spoken.write(left) :]
        self._flush()

    def pause_reading(self) -> None:
        """No more ``data_received`` until ``resume_reading``."""
        if not self._paused and self._raw is not None:
            self._paused = True
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        """What has come with the handshake comes first."""
        if self._paused and self._raw is not None:
            self._paused = False
            self._raw.resume_reading()
            self._read()

    def close(self) -> None:
        """End it with close_notify; a client that does not take it is cut off after a while."""
        if self._raw is None or self._closing:
            return
        self._finish()
        with suppress(ssl.SSLError, OSError):
            self.spoken.unwrap()
        self._end()

    async def gone(self) -> None:
        """End it, and wait until that is done: CLOSING_SECONDS at most."""
        self.close()
        await asyncio.wait((self.ended,), timeout=2 * CLOSING_SECONDS)

    def abort(self) -> None:
        """End it at once."""
        if self._raw is not None:
            self._closing = True
            self._raw.abort()

    # --- between both -------------------------------------------------------------------------------

    def _shake(self) -> None:
        try:
            self.spoken.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self._fail()
            self.done.set_exception(error)
        else:
            self._flush()
            self._half.connection_made(cast(asyncio.BaseTransport, self))
            self.done.set_result(None)

    def _read(self) -> None:
        while not (self._paused or self._closing) and self.done.done():
            try:
                data = self.spoken.read(CHUNK)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError:
                self._fail()
                return
            if not data:  # close_notify
                self.close()
                return
            self._half.data_received(data)
        self._flush()  # a change of keys is answered

    def _fail(self) -> None:
        """Send the alert, then nothing more."""
        self._finish()
        self._end()

    def _end(self) -> None:
        self._flush()
        if self._raw is not None:
            with suppress(OSError):  # it has gone already
                self._raw.write_eof()

    def _finish(self) -> None:
        """Drop what still comes, and do not wait for long."""
        assert self._raw is not None
        self._closing = True
        if self._paused:
            self._paused = False
            self._raw.resume_reading()
        self._limit = asyncio.get_running_loop().call_later(CLOSING_SECONDS, self._raw.abort)

    def _flush(self) -> None:
        if self._raw is not None and self._outgoing.pending:
            self._raw.write(self._outgoing.read())
