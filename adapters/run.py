"""The process of an adapter.

>>> asyncio.run(run(AdapterSettings.load(Path("adapters.toml"))))  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from adapters.adapter import Adapter, admitted
from adapters.enrolling import Admission, Entrance
from adapters.settings import AdapterSettings
from broker.signals import stop_on_signals


async def run(
    settings: AdapterSettings,
    *,
    entrance: Entrance | None = None,
    metrics: tuple[str, int] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Be the meters until SIGTERM or SIGINT (or ``stop``); Meter61850Error if we cannot start.

    ``entrance``: meters without an identity enrol there first. ``metrics``: address and port to serve them.
    """
    adapter = Adapter(settings, admit=Admission(entrance) if entrance else admitted)
    with ExitStack() as stack:
        if metrics is not None:
            from adapters import metrics as counted  # noqa: PLC0415 - needs the extra of the server
            from broker.metrics import MetricsServer  # noqa: PLC0415

            address, port = metrics
            samples = counted.samples(adapter)
            stack.enter_context(
                MetricsServer(port, samples, healthy=lambda: counted.healthy(adapter), address=address)
            )
        await adapter.run(stop or stop_on_signals())
