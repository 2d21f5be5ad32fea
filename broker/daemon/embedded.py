"""The embedded broker, for a trial on a machine without Mosquitto: amqtt in our own process.

MQTT 3.1.1 only, on loopback, anonymous, everything in memory. What Mosquitto promises and this does
not is in docs/operator.md; no reading is lost by it, since a meter keeps each one until it is stored.

>>> asyncio.run(run(BrokerSettings(port=1883)))  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from amqtt.broker import Broker
from amqtt.errors import BrokerError
from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session

from broker.contract.errors import ConfigurationError, UnavailableError
from broker.daemon.mosquitto import BrokerSettings
from broker.daemon.ports import check_free
from broker.signals import stop_on_signals

log = logging.getLogger(__name__)

SESSION_EXPIRY = 3600
"""Seconds that the session of an absent client is kept; its queue has no other bound."""


class EverybodyHere(BaseAuthPlugin):  # type: ignore[misc]  # amqtt is untyped
    """Lets every program on this machine in, and keeps its session.

    amqtt's own plugin for anonymous clients drops the session of each client that goes away, and with
    it what waits for the bridge.
    """

    async def authenticate(self, *, session: Session) -> bool:
        """True: the listener is on loopback."""
        return True


def configuration(settings: BrokerSettings) -> dict[str, Any]:
    """amqtt's configuration: one listener, no $SYS topics, no logging of each packet."""
    host = f"[{settings.bind}]" if ":" in settings.bind else settings.bind
    return {
        "listeners": {"default": {"type": "tcp", "bind": f"{host}:{settings.port}"}},
        "session_expiry_interval": SESSION_EXPIRY,
        "plugins": {f"{__name__}.{EverybodyHere.__name__}": {}},
    }


class EmbeddedBroker(Broker):  # type: ignore[misc]
    """amqtt's broker, which sends the retained messages of a topic filter to its subscribers only.

    amqtt 0.12 sends every client that connects all retained messages of everybody's filters: each
    meter would get the SCD and the readings of all others (MQTT 3.1.1, 3.3.1.3).
    """

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        subscribers = self.subscriptions.get(subscription[0], [])
        if any(subscriber.client_id == session.client_id for subscriber, _ in subscribers):
            await super()._publish_retained_messages_for_subscription(subscription, session)


async def serve(settings: BrokerSettings, *, stop: asyncio.Event, option: str) -> None:
    """Serve until ``stop``; PortTakenError names ``option``."""
    if not settings.loopback:
        raise ConfigurationError(
            f"bind={settings.bind}: the embedded broker knows no passwords and serves loopback only; "
            "install Mosquitto for the network"
        )
    check_free(settings.bind, settings.port, option=option)
    broker = EmbeddedBroker(configuration(settings))
    try:
        await broker.start()
    except BrokerError as error:
        raise UnavailableError(f"the embedded broker did not start: {error}") from error
    log.info("embedded broker serves MQTT 3.1.1 on %s:%d", settings.bind, settings.port)
    await stop.wait()
    await broker.shutdown()


async def run(settings: BrokerSettings, *, option: str = "--port") -> None:
    """Serve until SIGTERM or SIGINT; PortTakenError names ``option``."""
    await serve(settings, stop=stop_on_signals(), option=option)
