"""Live streams on real sockets: two hundred of them, one of which takes nothing; and who comes back."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop

from broker.mqtt.settings import MqttSettings
from tests.support.brokers import Broker, free_port
from tests.support.mms import eventually
from tests.support.web import API, make_accounts
from web import run
from web.auth.accounts import Role
from web.live.hub import PIECE
from web.live.interests import WAITING
from web.parts import Parts
from web.settings import WebSettings

STREAMS = 200
SECONDS = 60.0
FILLER = b'"%s"' % (b"x" * 400_000)
"""Two megabytes a second, so that the kernel's buffers are soon full."""


@dataclass
class Service:
    """The web service in our loop."""

    parts: Parts
    token: str
    connections: list[asyncio.StreamWriter] = field(default_factory=list)
    """Kept: a writer that nobody has any more closes."""

    async def listen(self, query: str = "", *, buffer: int = 0) -> asyncio.StreamReader:
        """A new stream, in a socket that buffers so much."""
        sock = socket.socket()
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.parts.settings.port))
        reader, writer = await asyncio.open_connection(sock=sock)
        request = f"GET {API}/stream{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        self.connections.append(writer)
        writer.write(f"{request}Authorization: Bearer {self.token}\r\n\r\n".encode())
        return reader


@pytest.fixture
def settings(broker: Broker, tmp_path: Path) -> WebSettings:
    """Of a service with nothing but a broker."""
    return WebSettings(
        mqtt=MqttSettings(port=broker.port),
        database_url=f"sqlite:///{tmp_path / 'web.sqlite'}",
        users=tmp_path / "users.json",
        port=free_port(),
        streams_per_account=STREAMS,
    )


Scene = Callable[[Service], Awaitable[None]]


@pytest.fixture
def play(settings: WebSettings, monkeypatch: pytest.MonkeyPatch) -> Callable[[Scene], None]:
    """Plays a scene beside the service, in the event loop that it has in operation."""

    @asynccontextmanager
    async def serving() -> AsyncIterator[Service]:
        token, stop = make_accounts(settings.users)[Role.OBSERVER], asyncio.Event()
        parts = run.make_parts(settings)
        monkeypatch.setattr(run, "make_parts", lambda _settings: parts)
        async with asyncio.TaskGroup() as group:
            group.create_task(run.serve(settings, stop))
            service = Service(parts, token)
            await eventually(lambda: parts.live.fleet.broker_up)
            try:
                yield service
            finally:
                stop.set()

    def played(scene: Scene) -> None:
        async def all_of_it() -> None:
            async with serving() as service:
                await scene(service)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(all_of_it())

    return played


async def heard(reader: asyncio.StreamReader, end: bytes) -> bytes:
    """All up to ``end``, which comes in time."""
    found = bytearray()
    async with asyncio.timeout(SECONDS):
        while end not in found[-len(end) - 2**16 :]:
            piece = await reader.read(2**16)
            assert piece, f"the stream has ended before {end!r}: {bytes(found[-500:])!r}"
            found += piece
    return bytes(found)


def test_a_client_that_takes_nothing_is_bounded_and_delays_nobody(play: Callable[[Scene], None]) -> None:
    async def scene(service: Service) -> None:
        hub = service.parts.hub
        slow = await service.listen(buffer=4096)
        await eventually(lambda: len(hub.listeners) == 1)
        [stuck] = hub.listeners
        others = [await service.listen(f"?meter={number}") for number in range(STREAMS - 1)]
        await eventually(lambda: len(hub.listeners) == STREAMS)
        turn = 0
        while not hub.overruns:
            turn += 1
            assert turn < 100, "it must be too slow some time"
            hub.tell("meter", FILLER, meter_id="filler")
            for number in range(STREAMS - 1):
                hub.tell("meter", b"%d" % turn, meter_id=str(number))
            told = await asyncio.gather(*(heard(reader, b"data: %d\n\n" % turn) for reader in others))
            assert not any(b"reset" in one for one in told)
            assert stuck.queue.qsize() <= WAITING
        assert stuck.queue.qsize() < WAITING  # what waited was dropped
        await heard(slow, b"event: reset\n")
        hub.tell("command", b'"after"')
        await heard(slow, b'data: "after"\n\n')

    play(scene)


def test_a_client_that_takes_nothing_for_long_is_cut_off(
    play: Callable[[Scene], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "TAKE_SECONDS", 1)

    async def scene(service: Service) -> None:
        hub = service.parts.hub
        slow = await service.listen(buffer=4096)
        await eventually(lambda: len(hub.listeners) == 1)
        for _ in range(10):
            hub.tell("command", FILLER)
        await eventually(lambda: not hub.listeners)
        with pytest.raises(ConnectionResetError):
            await heard(slow, b"never")

    play(scene)


def test_who_comes_back_is_greeted_and_gets_all_that_it_missed(play: Callable[[Scene], None]) -> None:
    """More than is written at once; the greeting has no id, or what follows would be lost with a break."""

    async def scene(service: Service) -> None:
        hub = service.parts.hub
        for number in range(10_000):
            hub.tell("command", b"%d" % number)
        hub.flush()
        reader = await service.listen(f"?since={hub.boot}-0&kind=command")
        told = await heard(reader, b"data: 9999\n\n")
        _, greeting, *_ = told.partition(b"retry: 1000\n")[2].partition(b"event: hello\n")
        assert greeting
        assert told.index(b"event: hello") < told.index(b"id: ")
        missed = [line for line in told.split(b"\n") if line.startswith(b"data: ") and line[6:7].isdigit()]
        assert missed == [b"data: %d" % number for number in range(10_000)]
        written = [int(size, 16) for size in re.findall(rb"\r\n([0-9a-f]+)\r\n", told)]
        assert max(written) <= PIECE < sum(written)

    play(scene)
