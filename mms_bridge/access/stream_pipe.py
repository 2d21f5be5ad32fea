"""Copies octets between a TLS client and libiec61850's socket, both ways, until one side ends.

If one side does not take data, the other side is not read. So the library detects a client that takes no
reports as it does on the plain port.

>>> await pipe(outer, inner)        # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
from typing import cast


class Half(asyncio.Protocol):
    """One side; what arrives before it is joined waits in its socket."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.other: Half | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing is read yet."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """On to the other side."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        """This side is full."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """It has room again."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        """With this side the other one ends, once it has been sent what is on its way."""
        if not self.ended.done():
            self.ended.set_result(None)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def cut(self) -> None:
        """End it at once; what is on its way is lost."""
        if self.transport is not None:
            self.transport.abort()


async def pipe(outer: Half, inner: Half) -> None:
    """Join both and return when both have ended; a cancellation ends both at once."""
    outer.other, inner.other = inner, outer
    try:
        for half in (outer, inner):
            if half.ended.done():  # gone before it was joined
                return
            assert half.transport is not None
            half.transport.resume_reading()
        await asyncio.wait((outer.ended, inner.ended))
    finally:
        outer.cut()
        inner.cut()
