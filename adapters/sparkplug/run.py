"""The process that is our Sparkplug edge node.

>>> asyncio.run(run(SparkplugSettings(group="Village", node="office")))  # doctest: +SKIP
"""

from __future__ import annotations

from adapters.observed import Counted, Place, observed
from adapters.sparkplug.service import Service, serve
from adapters.sparkplug.settings import SparkplugSettings
from broker.signals import stop_on_signals


async def run(settings: SparkplugSettings, *, metrics: Place | None = None) -> None:
    """Until SIGTERM or SIGINT; ConfigurationError when bdSeq cannot be kept."""
    service = Service(settings)
    with observed(metrics, lambda: _counted(service)):
        await serve(settings, stop_on_signals(), service=service)


def _counted(service: Service) -> Counted:
    from adapters.sparkplug import metrics  # noqa: PLC0415 - needs the extra of the server

    return Counted(metrics.samples(service), lambda: metrics.healthy(service))
