"""A TCP relay of ours between a client and the broker: the network that can be cut, stalled and slowed.

``up`` is the way from the client to the broker, ``down`` the way back.

>>> with Network() as network:  # doctest: +SKIP
...     link = network.relay(("127.0.0.1", 1883))
...     link.stall("down")
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Literal, Self

Way = Literal["up", "down"]
WAYS: tuple[Way, ...] = ("up", "down")
CHUNK = 65_536
CALL_SECONDS = 60.0


class Relay:
    """One listening port; what comes there goes to ``upstream``. Methods may be called from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, upstream: tuple[str, int]) -> None:
        self._loop = loop
        self._upstream = upstream
        self._listener = _listener()
        self._connections: set[_Connection] = set()
        self._refusing = False
        self.delay = 0.0
        """Seconds that every piece is held back."""
        self.open = {way: asyncio.Event() for way in WAYS}
        """Not set while a way is stalled."""
        self.port: int = self._listener.getsockname()[1]
        for event in self.open.values():
            event.set()

    def cut(self) -> None:
        """Reset all connections, and every new one at once."""
        self._refusing = True
        self.reset()

    def restore(self) -> None:
        """New connections are let through again."""
        self._refusing = False

    def reset(self) -> None:
        """Reset all connections (RST both ways)."""
        self._each(_Connection.reset)

    def stall(self, *ways: Way) -> None:
        """Forward nothing in these ways, and close nothing: what arrives waits."""
        self._call(*(self.open[way].clear for way in ways))

    def resume(self) -> None:
        """Forward what has waited, however old."""
        self._call(*(self.open[way].set for way in WAYS))

    def half_close(self, way: Way) -> None:
        """FIN to the receiver of ``way``, while the other way goes on."""
        self._each(lambda connection: connection.finish(way))

    async def serve(self) -> None:
        """Accept for ever."""
        tasks = set()
        with self._listener:
            while True:
                client, _ = await self._loop.sock_accept(self._listener)
                task = asyncio.create_task(self._carry(client))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

    async def _carry(self, client: socket.socket) -> None:
        server = socket.socket()
        client.setblocking(False)
        server.setblocking(False)
        connection = _Connection(self, client, server)
        try:
            self._refuse()
            await self._loop.sock_connect(server, self._upstream)
            self._refuse()
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.add(connection)
            await connection.run()
        except OSError:
            _linger_no_more(client, server)
        finally:
            self._connections.discard(connection)
            client.close()
            server.close()

    def _refuse(self) -> None:
        if self._refusing:
            raise ConnectionResetError

    def _each(self, act: Callable[[_Connection], None]) -> None:
        def acting() -> None:
            for connection in list(self._connections):
                act(connection)

        self._call(acting)

    def _call(self, *acts: Callable[[], None]) -> None:
        """Do it in the loop's thread, and wait until it is done."""

        async def acting() -> None:
            for act in acts:
                act()

        asyncio.run_coroutine_threadsafe(acting(), self._loop).result(CALL_SECONDS)


class _Connection:
    """Two pumps between two sockets."""

    def __init__(self, relay: Relay, client: socket.socket, server: socket.socket) -> None:
        self._relay = relay
        self._ends: dict[Way, tuple[socket.socket, socket.socket]] = {
            "up": (client, server),
            "down": (server, client),
        }
        self._pumps: dict[Way, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Carry both ways until both have ended; OSError when one broke."""
        self._pumps = {way: asyncio.create_task(self._pump(way)) for way in WAYS}
        done, pending = await asyncio.wait(self._pumps.values(), return_when=asyncio.FIRST_EXCEPTION)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            if not task.cancelled() and (error := task.exception()):
                raise error

    def reset(self) -> None:
        """RST to both ends."""
        _linger_no_more(*self._ends["up"])
        for task in self._pumps.values():
            task.cancel()

    def finish(self, way: Way) -> None:
        """End one way as if its sender had; what it sends from now on is not read."""
        task, (_, sink) = self._pumps.get(way), self._ends[way]
        if task is not None and not task.done():
            task.cancel()
            with suppress(OSError):  # gone already
                sink.shutdown(socket.SHUT_WR)

    async def _pump(self, way: Way) -> None:
        loop, (source, sink) = asyncio.get_running_loop(), self._ends[way]
        while data := await self._received(loop, way, source):
            await loop.sock_sendall(sink, data)
        sink.shutdown(socket.SHUT_WR)

    async def _received(self, loop: asyncio.AbstractEventLoop, way: Way, source: socket.socket) -> bytes:
        """The next piece, after the stall and the delay that it meets."""
        data = await loop.sock_recv(source, CHUNK)
        await self._relay.open[way].wait()
        if self._relay.delay:
            await asyncio.sleep(self._relay.delay)
        return data


class Network:
    """The thread in which all relays live."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result(CALL_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()

    def relay(self, upstream: tuple[str, int]) -> Relay:
        """A new relay, listening."""
        relay = Relay(self._loop, upstream)
        self._spawn(relay.serve())
        return relay

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop)


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _listener() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    listener.setblocking(False)
    return listener


def _linger_no_more(*sockets: socket.socket) -> None:
    """A close of these sends RST instead of FIN."""
    for sock in sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
