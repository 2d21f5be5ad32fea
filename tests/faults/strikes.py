"""How each kind of fault hurts, and how it is healed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import cast

from tests.brokers import Broker
from tests.faults.plan import Fault
from tests.faults.relay import WAYS, Relay, Way
from tests.faults.site import Program, Site

Act = Callable[[Site, Fault], None]


def strike(site: Site, fault: Fault) -> None:
    """Hurt."""
    ACTS[fault.kind][0](site, fault)


def heal(site: Site, fault: Fault) -> None:
    """End the hurt."""
    ACTS[fault.kind][1](site, fault)


def _process(site: Site, fault: Fault) -> Program | Broker:
    return site.broker if fault.target == "broker" else site.programs[fault.target]


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


def _set_clock(site: Site, fault: Fault, offset: str) -> None:
    """Step the clock of a meter process: one rename, so that it never reads half a number."""
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
    "clock":      (lambda s, f: _set_clock(s, f, f.variant), lambda s, f: _set_clock(s, f, "0")),
    "restart":    (lambda s, _: _stop_server(s), lambda s, _: _start_server(s)),
}
# fmt: on
"""Kind → (strike, heal)."""
