"""How each kind of fault hurts, and how it is healed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

from tests.faults.copies import end_twin, keep_cards, put_cards_back, start_twin
from tests.faults.office import Service
from tests.faults.plan import Fault
from tests.faults.relay import WAYS, Relay, Way
from tests.faults.site import Program, Site
from tests.support.brokers import Broker

Act = Callable[[Site, Fault], None]
ATTEMPTS = 50
SAVE_SECONDS = 30.0


def strike(site: Site, fault: Fault) -> None:
    """Hurt."""
    ACTS[fault.kind][0](site, fault)


def heal(site: Site, fault: Fault) -> None:
    """End the hurt."""
    ACTS[fault.kind][1](site, fault)


def _process(site: Site, fault: Fault) -> Program | Broker | Service:
    match fault.target:
        case "broker":
            return site.broker
        case "registrar":
            return site.office.registrar
        case "registrar's broker":
            return site.office.broker
    return site.programs[fault.target]


def _link(site: Site, fault: Fault) -> Relay:
    return site.links[fault.target]


def _stall(site: Site, fault: Fault) -> None:
    _link(site, fault).stall(*(WAYS if fault.variant == "both" else (cast(Way, fault.variant),)))


def _delay(site: Site, fault: Fault, seconds: float) -> None:
    _link(site, fault).delay = seconds


def _fill(site: Site) -> None:
    assert site.disk is not None
    site.disk.fill()


def _free(site: Site) -> None:
    assert site.disk is not None
    site.disk.free()


def _protect(site: Site) -> None:
    """The bridge is killed, and starts on a disk that is read-only."""
    assert site.disk is not None
    bridge = site.programs["bridge"]
    for _ in range(ATTEMPTS):  # another fault may start the bridge in between
        bridge.kill()
        with suppress(PermissionError):
            site.disk.protect()
            bridge.start()
            return
    raise AssertionError("the disk is always open for writing")


def _allow(site: Site) -> None:
    assert site.disk is not None
    site.disk.allow()


def _empty(site: Site) -> None:
    """The broker dies, and its file is gone: a standby without it takes over."""
    site.broker.kill()
    _saved(site).unlink(missing_ok=True)


def _keep_file(site: Site) -> None:
    """The broker saves its state, which is kept; it goes on."""
    file, before = _saved(site), time.time_ns()
    os.kill(site.broker.pid, signal.SIGUSR1)
    deadline = time.monotonic() + SAVE_SECONDS
    while not file.exists() or file.stat().st_mtime_ns < before:
        assert time.monotonic() < deadline, "mosquitto does not save its state"
        time.sleep(0.02)
    shutil.copy(file, file.with_suffix(".older"))


def _older_file(site: Site) -> None:
    """The broker dies and comes back with what it kept then."""
    site.broker.kill()
    file = _saved(site)
    file.with_suffix(".older").replace(file)
    site.broker.start()


def _saved(site: Site) -> Path:
    return site.broker.config.parent / "mosquitto.db"


def _set_clock(site: Site, fault: Fault, offset: str) -> None:
    """Step the clock of a process: one rename, so that it never reads half a number."""
    path: Path = site.witnessed(fault.target.removesuffix(" clock")) / "clock"
    draft = path.with_suffix(".new")
    draft.write_text(offset)
    draft.replace(path)


def _stop_server(site: Site) -> None:
    assert site.server is not None
    site.server.stop()


def _start_server(site: Site) -> None:
    assert site.server is not None
    site.server.start()


# fmt: off
ACTS: dict[str, tuple[Act, Act]] = {
    "kill":       (lambda s, f: _process(s, f).kill(), lambda s, f: _process(s, f).start()),
    "stop":       (lambda s, f: os.kill(_process(s, f).pid, signal.SIGSTOP),
                   lambda s, f: os.kill(_process(s, f).pid, signal.SIGCONT)),
    "cut":        (lambda s, f: _link(s, f).cut(), lambda s, f: _link(s, f).restore()),
    "stall":      (_stall, lambda s, f: _link(s, f).resume()),
    "half-close": (lambda s, f: _link(s, f).half_close(cast(Way, f.variant)),
                   lambda s, f: _link(s, f).reset()),
    "delay":      (lambda s, f: _delay(s, f, float(f.variant)), lambda s, f: _delay(s, f, 0.0)),
    "disk full":  (lambda s, _: _fill(s), lambda s, _: _free(s)),
    "read-only":  (lambda s, _: _protect(s), lambda s, _: _allow(s)),
    "empty":      (lambda s, _: _empty(s), lambda s, _: s.broker.start()),
    "older":      (lambda s, _: _keep_file(s), lambda s, _: _older_file(s)),
    "clock":      (lambda s, f: _set_clock(s, f, f.variant), lambda s, f: _set_clock(s, f, "0")),
    "bridge clock": (lambda s, f: _set_clock(s, f, f.variant), lambda s, f: _set_clock(s, f, "0")),
    "older card": (lambda s, f: keep_cards(s, f.target), lambda s, f: put_cards_back(s, f.target)),
    "twin":       (lambda s, f: start_twin(s, f.target), lambda s, f: end_twin(s, f.target)),
    "restart":    (lambda s, _: _stop_server(s), lambda s, _: _start_server(s)),
}
# fmt: on
"""Kind → (strike, heal)."""
