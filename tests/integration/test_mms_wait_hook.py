"""The library's waits: taken out of the calls that ask for it, untouched in all others."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mms_bridge.libiec61850 import capabilities, wait_hook
from mms_bridge.libiec61850.bindings import lib, library_path
from tests.support.brokers import free_port

CALLS = 20


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    assert wait_hook.install(lib, library_path()) == ""
    yield
    wait_hook.remove()


Call = Callable[[Callable[[int], None], int], None]


def _plainly(call: Callable[[int], None], server: int) -> None:
    call(server)


def _waits_of_idle_calls(how: Call) -> int:
    """How often a server without anything to do waits in some calls."""

    def idle(server: int) -> None:
        for _ in range(CALLS):
            how(lib.IedServer_processIncomingData, server)

    return _waited(idle)


def _waits_to_stop(how: Call) -> int:
    """How often it waits while it is stopped."""
    return _waited(lambda server: how(lib.IedServer_stopThreadless, server))


def _waited(act: Callable[[int], None]) -> int:
    """How often a thread gave up its core to wait in ``act`` on a server; the kernel counts it."""

    def run() -> int:
        model = lib.IedModel_create(b"idle")
        config = lib.IedServerConfig_create()
        server = lib.IedServer_createWithConfig(model, None, config)
        lib.IedServer_setLocalIpAddress(server, b"127.0.0.1")
        lib.IedServer_startThreadless(server, free_port())
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        act(server)
        waited = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before
        lib.IedServer_stopThreadless(server)
        lib.IedServer_destroy(server)
        lib.IedServerConfig_destroy(config)
        lib.IedModel_destroy(model)
        return waited

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(run).result()


def test_only_the_calls_that_ask_for_it_do_not_wait() -> None:
    """The library waits 1 ms at each call; those of others keep that, before and after ours."""
    before = _waits_of_idle_calls(_plainly)
    ours = min(_waits_of_idle_calls(wait_hook.quickly) for _ in range(5))
    after = _waits_of_idle_calls(_plainly)
    assert min(before, after) >= CALLS
    assert ours == 0


def test_closing_a_socket_holds_up_only_others() -> None:
    """The library sleeps for 10 ms after each socket that it has closed; here it is the listening one."""
    plainly = _waits_to_stop(_plainly)
    ours = min(_waits_to_stop(wait_hook.quickly) for _ in range(5))
    assert plainly >= 1
    assert ours == 0


def test_a_call_that_fails_leaves_the_waits_as_they_were() -> None:
    def fail(_server: int) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        wait_hook.quickly(fail, 0)
    assert _waits_of_idle_calls(_plainly) >= CALLS


def test_once_is_enough() -> None:
    slots = list(wait_hook._slots)
    assert wait_hook.install(lib, library_path()) == ""
    assert list(map(id, wait_hook._slots)) == list(map(id, slots))


def test_removed_it_leaves_the_waits_in() -> None:
    wait_hook.remove()
    assert _waits_of_idle_calls(wait_hook.quickly) >= CALLS


def test_a_file_that_was_not_tested_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One octet more makes it another file, even where nothing of the library has changed."""
    wait_hook.remove()
    other = tmp_path / "libiec61850.so"
    other.write_bytes(library_path().read_bytes() + b"\0")
    monkeypatch.setattr(capabilities, "library_path", lambda: other)
    assert not capabilities.wait_hook_installed(wanted=True)
    assert f"the wait hook is off, so reports and reads are slower: {other}: its SHA-256" in caplog.text
    assert _waits_of_idle_calls(wait_hook.quickly) >= CALLS


def test_it_can_be_turned_off(caplog: pytest.LogCaptureFixture) -> None:
    assert not capabilities.wait_hook_installed(wanted=False)
    assert "METER61850_MMS_WAIT_HOOK is false" in caplog.text
    assert _waits_of_idle_calls(wait_hook.quickly) >= CALLS
    caplog.clear()
    assert capabilities.wait_hook_installed(wanted=True)
    assert not caplog.records


@pytest.mark.parametrize(
    "image",
    [b"", b"\x7fELF", Path(__file__).read_bytes(), b"\x7fELF\x02\x01" + bytes(300)],
    ids=["empty", "magic only", "no ELF", "hollow"],
)
def test_a_file_without_the_slot_changes_nothing(image: bytes) -> None:
    assert wait_hook.find_slot(image, wait_hook.NAME) is None


def test_a_function_that_the_library_does_not_define_has_no_slot() -> None:
    image = library_path().read_bytes()
    assert wait_hook.find_slot(image, "poll") is None  # libc's: its address here is none of ours
    assert wait_hook.find_slot(image, "Handleset_waitReadyy") is None
