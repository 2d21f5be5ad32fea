"""The process of an adapter.

>>> main(AdapterSettings.load(Path("adapters.toml")))  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

from adapters.adapter import Adapter, admitted
from adapters.enrolling import Admission, Entrance
from adapters.observed import Counted, Place, observed
from adapters.settings import AdapterSettings
from broker.signals import stop_on_signals


def main(
    settings: AdapterSettings, *, entrance: Entrance | None = None, metrics: Place | None = None
) -> None:
    """`run` in an event loop of its own."""
    with asyncio.Runner(loop_factory=_light_loop()) as runner:
        runner.run(run(settings, entrance=entrance, metrics=metrics))


def _light_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, with which a thousand connections cost an eighth less, where the extra of the server is."""
    try:
        import uvloop  # noqa: PLC0415 - a Raspberry Pi may have none
    except ImportError:
        return None
    return uvloop.new_event_loop


async def run(
    settings: AdapterSettings,
    *,
    entrance: Entrance | None = None,
    metrics: Place | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Be the meters until SIGTERM or SIGINT (or ``stop``); Meter61850Error if we cannot start.

    ``entrance``: meters without an identity enrol there first. ``metrics``: address and port to serve them.
    """
    # A thousand meters live long: looking through them for cycles took an eighth of the time.
    gc.set_threshold(50_000, 50, 50)
    adapter = Adapter(settings, admit=Admission(entrance) if entrance else admitted)
    with observed(metrics, lambda: _counted(adapter)):
        await adapter.run(stop or stop_on_signals())


def _counted(adapter: Adapter) -> Counted:
    from adapters import metrics  # noqa: PLC0415 - needs the extra of the server

    return Counted(metrics.samples(adapter), lambda: metrics.healthy(adapter))
