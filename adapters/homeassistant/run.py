"""The process that announces our meters to Home Assistant.

>>> asyncio.run(run(HomeAssistantSettings()))  # doctest: +SKIP
"""

from __future__ import annotations

from adapters.homeassistant.service import HomeAssistantSettings, Progress, serve
from adapters.observed import Counted, Place, observed
from broker.signals import stop_on_signals


async def run(settings: HomeAssistantSettings, *, metrics: Place | None = None) -> None:
    """Until SIGTERM or SIGINT; NotAuthorizedError when the broker refuses what we publish."""
    progress = Progress()
    with observed(metrics, lambda: _counted(progress)):
        await serve(settings, stop_on_signals(), progress=progress)


def _counted(progress: Progress) -> Counted:
    from adapters.homeassistant import metrics  # noqa: PLC0415 - needs the extra of the server

    return Counted(metrics.samples(progress), lambda: metrics.healthy(progress))
