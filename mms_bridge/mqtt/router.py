"""Router: passes every message, from either connection, to the gateway.

>>> Router(gateway, topics).take("sm/v1/…/reading", payload, retained=False)  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
from enum import Enum

from broker.contract.errors import ContractError
from broker.contract.topics import Topic, Topics
from mms_bridge.gateway import Gateway

MAX_ROUTES = 200_000
"""Topics remembered: the kinds of more than 20,000 meters, and a bound for invented ones."""


class BrokerConnection(Enum):
    """The connections to the broker."""

    COMMANDS = "commands, configuration, services"
    METERS = "what the meters tell"


class Router:
    """Parses topics, each once; what goes wrong with us, not with a message, ends :meth:`failure`."""

    def __init__(self, gateway: Gateway, topics: Topics) -> None:
        self._gateway = gateway
        self._topics = topics
        self._routes: dict[str, Topic] = {}
        self._links: set[BrokerConnection] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self, name: str, payload: bytes, *, retained: bool) -> None:
        """One message; never raises."""
        try:
            topic = self._routes.get(name) or self._route(name)
            if topic is not None:
                self._gateway.take(topic, payload, retained=retained)
        except Exception as error:  # noqa: BLE001 - the client's library would log it and go on: we end with it
            if not self._failed.done():
                self._failed.set_exception(error)

    def connected(self, link: BrokerConnection, *, up: bool) -> None:
        """A connection stands or is gone. Only with both is the broker there: with one we know half."""
        self._links = self._links | {link} if up else self._links - {link}
        if link is BrokerConnection.METERS and not up:
            self._gateway.fleet.forget_statuses()
        self._gateway.set_broker(up=self._links == set(BrokerConnection))

    async def failure(self) -> None:
        """Raises what :meth:`take` could not."""
        await self._failed

    def _route(self, name: str) -> Topic | None:
        try:
            topic = self._topics.parse(name)
        except ContractError as error:
            self._gateway.reject(name, error)
            return None
        if len(self._routes) >= MAX_ROUTES:
            self._routes.clear()
        self._routes[name] = topic
        return topic
