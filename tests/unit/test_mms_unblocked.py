"""The library's waits: taken out in the threads that ask for it, untouched in all others."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mms_bridge import unblocked
from mms_bridge.native import lib, library_path

CALLS = 20


@pytest.fixture(autouse=True)
def _unblocked() -> None:
    assert unblocked.unblock(lib, library_path()), "the wheel's library has no slot that we find"


def _seconds_of_idle_calls(prepare: Callable[[], None]) -> float:
    """How long a server without anything to do takes for some calls, in a thread of its own."""

    def idle(server: int) -> None:
        for _ in range(CALLS):
            lib.IedServer_processIncomingData(server)

    return _waited(prepare, idle)


def _seconds_to_stop(prepare: Callable[[], None]) -> float:
    """How long it takes to stop it."""
    return _waited(prepare, lib.IedServer_stopThreadless)


def _waited(prepare: Callable[[], None], act: Callable[[int], None]) -> float:
    """Seconds that a thread waited in ``act`` on a server, without those in which it worked."""

    def run() -> float:
        prepare()
        model = lib.IedModel_create(b"idle")
        config = lib.IedServerConfig_create()
        server = lib.IedServer_createWithConfig(model, None, config)
        lib.IedServer_setLocalIpAddress(server, b"127.0.0.1")
        lib.IedServer_startThreadless(server, _free_port())
        begin = time.thread_time(), time.monotonic()
        act(server)
        waited = time.monotonic() - begin[1] - (time.thread_time() - begin[0])
        lib.IedServer_stopThreadless(server)
        lib.IedServer_destroy(server)
        lib.IedServerConfig_destroy(config)
        lib.IedModel_destroy(model)
        return waited

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(run).result(10.0)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_only_the_thread_that_asked_does_not_wait() -> None:
    """The library waits 1 ms at each call; other threads of the process keep that."""
    elsewhere = _seconds_of_idle_calls(lambda: None)
    here = min(_seconds_of_idle_calls(unblocked.in_this_thread) for _ in range(5))
    assert elsewhere >= CALLS * 0.001
    assert here < elsewhere / 2


def test_closing_a_socket_holds_up_only_other_threads() -> None:
    """The library sleeps for 10 ms after each socket that it has closed; here it is the listening one."""
    elsewhere = _seconds_to_stop(lambda: None)
    here = min(_seconds_to_stop(unblocked.in_this_thread) for _ in range(5))
    assert elsewhere >= 0.01
    assert here < 0.005


def test_once_is_enough() -> None:
    kept = list(unblocked._kept)
    assert unblocked.unblock(lib, library_path())
    assert unblocked._kept == kept


@pytest.mark.parametrize(
    "image",
    [b"", b"\x7fELF", Path(__file__).read_bytes(), b"\x7fELF\x02\x01" + bytes(300)],
    ids=["empty", "magic only", "no ELF", "hollow"],
)
def test_a_file_without_the_slot_changes_nothing(image: bytes) -> None:
    assert unblocked.find_slot(image, unblocked.NAME) is None


def test_a_function_that_the_library_does_not_define_has_no_slot() -> None:
    image = library_path().read_bytes()
    assert unblocked.find_slot(image, "poll") is None  # libc's: its address here is none of ours
    assert unblocked.find_slot(image, "Handleset_waitReadyy") is None
