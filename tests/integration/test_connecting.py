"""A name whose first address is dead costs a quarter of a second, and no error is without words."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from admin.logs import KeyValueFormatter
from admin.mms.association import association
from bridge.mqtt.connection import Link
from bridge.mqtt.inbox import Inbox
from broker.contract.errors import UnavailableError, reason
from broker.mqtt.client import new_client
from broker.mqtt.connecting import connect
from broker.mqtt.packets import Will
from broker.mqtt.receiver import Receiver
from broker.mqtt.session import Options
from broker.mqtt.settings import MqttSettings
from meter_firmware import run as meter
from tests.support.brokers import Broker, free_port
from tests.support.chain import until
from tests.support.cli import environment, error
from tests.support.firmware_rig import meter_settings
from tests.support.mms import eventually
from tests.support.project import ROOT
from tests.support.pzem import Pzem

NAME = "broker.test"
DEAD = "127.0.0.2"
"""Nothing answers there: as an IPv6 address that leads nowhere, and on machines without IPv6, too."""


@contextmanager
def dead(port: int) -> Iterator[None]:
    """A listener at :data:`DEAD` whose queue is full: whoever connects hears nothing."""
    with ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind((DEAD, port))
        listener.listen(0)
        for _ in range(8):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((DEAD, port))
        probe = held.enter_context(socket.socket())
        probe.settimeout(0.5)
        with pytest.raises(TimeoutError):
            probe.connect((DEAD, port))
        yield


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of :data:`NAME`, in their order."""
    addresses = [DEAD, "127.0.0.1"]
    real = socket.getaddrinfo

    def resolved(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        if host != NAME:
            return real(host, port, *more, **options)
        return [found for one in addresses for found in real(one, port, *more, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    return addresses


def test_the_address_that_answers_wins(named: list[str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        with dead(port):
            began = time.monotonic()
            with connect(NAME, port, timeout=30) as sock:
                assert sock.getpeername() == ("127.0.0.1", port)
                assert sock.gettimeout() == 30
            assert time.monotonic() - began < 10


def test_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty dead addresses of one family do not take the time of the other."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        stream = (socket.SOCK_STREAM, 6, "")
        six = [(socket.AF_INET6, *stream, (f"2001:db8::{n}", port, 0, 0)) for n in range(20)]
        answer = [*six, (socket.AF_INET, *stream, ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
        with connect(NAME, port, timeout=4.0) as sock:
            assert sock.getpeername()[0] == "127.0.0.1"


def test_error_says_what_became_of_each_address(named: list[str]) -> None:
    port = free_port()
    with dead(port), pytest.raises(UnavailableError) as caught:
        connect(NAME, port, timeout=1.0)
    assert str(caught.value) == f"127.0.0.1: Connection refused, {DEAD}: no answer within 1 s"
    with pytest.raises(UnavailableError, match=r"^Connection refused$"):
        connect("127.0.0.1", port, timeout=1.0)
    with pytest.raises(UnavailableError, match=r"the name 'no\.such\.invalid' has no address: ."):
        connect("no.such.invalid", port, timeout=1.0)
    with pytest.raises(UnavailableError, match=r"has no address: ."):
        connect("a" * 70 + ".example", port, timeout=1.0)


async def feeding(settings: MqttSettings) -> None:
    """Return when a feed stands."""
    up = asyncio.Event()
    feed = Receiver(settings, lambda *_, **__: None, topics=["#"], connected=lambda _: up.set())
    running = asyncio.create_task(feed.run())
    try:
        async with asyncio.timeout(60):
            await up.wait()
    finally:
        running.cancel()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_feed_connects(loop: Any, named: list[str], broker: Broker) -> None:
    with dead(broker.port), asyncio.Runner(loop_factory=loop) as runner:
        runner.run(feeding(MqttSettings(host=NAME, port=broker.port)))


async def test_client_connects_though_it_has_ten_seconds(named: list[str], broker: Broker) -> None:
    """As the meter's; paho would give each address the whole time."""
    named[:1] = [DEAD] * 4
    with dead(broker.port):
        client = new_client(MqttSettings(host=NAME, port=broker.port), timeout=60)
        client._client.connect_timeout = 10.0
        began = time.monotonic()
        async with client:
            assert time.monotonic() - began < 40.0, "one address after the other takes 40 s"


def test_bridge_connects(named: list[str], broker: Broker) -> None:
    named[:1] = [DEAD] * 4
    ready: list[float] = []
    with dead(broker.port):
        options = Options(NAME, broker.port, "bridge", ("#",))
        link = Link(options, Inbox(batch_messages=10, batch_seconds=0.1, max_bytes=10_000))
        began = time.monotonic()
        link.start(will=lambda: Will(b"will", b""), ready=lambda: ready.append(time.monotonic() - began))
        until(lambda: bool(ready), why="connected")
        link.stop(seconds=1)
    assert ready[0] < 12.0, "one address after the other takes 12 s"


def test_commands_name_host_port_and_cause(named: list[str], tmp_path: Path) -> None:
    port = free_port()
    assert f"broker 127.0.0.1:{port}: Connection refused" in error(
        "scl", "show", "--mqtt", f"127.0.0.1:{port}", code=4, folder=tmp_path
    )
    missing = pytest.raises(UnavailableError, match=f"MMS server 127.0.0.1:{port}: .*Connection refused")
    with missing, association(f"127.0.0.1:{port}"):
        pass


def test_command_connects_though_the_first_address_is_dead(broker: Broker, tmp_path: Path) -> None:
    """A process of its own, in which the name has both addresses."""
    (tmp_path / "sitecustomize.py").write_text(
        "import socket\n"
        "real = socket.getaddrinfo\n"
        "def resolved(host, *more, **options):\n"
        f"    hosts = [{DEAD!r}, '127.0.0.1'] if host == {NAME!r} else [host]\n"
        "    return [found for one in hosts for found in real(one, *more, **options)]\n"
        "socket.getaddrinfo = resolved\n"
    )
    with dead(broker.port):
        done = subprocess.run(  # not forked: a new interpreter has the patch
            [sys.executable, "-P", "-m", "admin", "scl", "show", "--mqtt", f"{NAME}:{broker.port}"],
            cwd=tmp_path,
            env=environment() | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 3, done.stderr
    assert "no SCD is published" in done.stderr


class _SilentError(OSError):
    """An error as libraries raise it: without a word."""


def caused() -> BaseException:
    """What aiomqtt makes of a timeout of TLS."""
    try:
        try:
            raise TimeoutError
        except TimeoutError as inner:
            raise ValueError(str(inner)) from None
    except ValueError as outer:
        return outer


@pytest.mark.parametrize(
    ("silent", "words"),
    [
        (TimeoutError(), "no answer in time"),
        (ConnectionResetError(), "connection reset"),
        (_SilentError(), "silent"),
        (caused(), "no answer in time"),
        (ExceptionGroup("several", [ConnectionAbortedError()]), "connection aborted"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
    ],
)
def test_no_error_is_without_words(silent: BaseException, words: str) -> None:
    assert reason(silent) == words
    record = logging.makeLogRecord({"msg": "broker: %s", "args": (silent,), "exc_info": None})
    assert not KeyValueFormatter().format(record).endswith(('broker: "', "broker:"))


async def test_feed_says_that_nobody_answered(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that takes the connection and lets go of it, and one that is not there."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        settings = MqttSettings(port=port)
        feed = Receiver(settings, lambda *_, **__: None, topics=["#"], connected=lambda _: None)
        running = asyncio.create_task(feed.run())
        listener.setblocking(False)
        taken, _ = await asyncio.get_running_loop().sock_accept(listener)
        taken.close()
        await eventually(lambda: caplog.messages)
        running.cancel()
    assert caplog.messages[0].startswith(f"meters' topics at 127.0.0.1:{port}: ")
    assert not caplog.messages[0].endswith(": ")


async def test_meter_that_nobody_has_let_in_says_where_and_what_to_do(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker.stop()
    stop = asyncio.Event()
    with Pzem(tmp_path):
        running = asyncio.create_task(meter.run(meter_settings(broker, tmp_path), stop=stop))
        await eventually(lambda: "no connection to the broker" in caplog.text)
        stop.set()
        await running
    said = next(text for text in caplog.messages if "no connection to the broker" in text)
    assert f"127.0.0.1:{broker.port}: Connection refused (not enrolled yet? meter61850 meter enrol" in said


assert sys.platform == "linux", "127.0.0.2 is an address of its own on Linux only"
