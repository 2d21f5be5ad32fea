"""zigbee2mqtt, one or several of them on a broker: each below a base topic of its own.

>>> Zigbee2Mqtt(Settings()).subscriptions()
('zigbee2mqtt/#',)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from adapters.families.registry import FamilyKind, Options, register
from adapters.families.zigbee2mqtt.bridge import Bridge
from adapters.family import Finding, Refused, Step
from broker.contract.relay import Position

MAX_DEVICES = 2000
"""Beyond the few hundred that one coordinator can have."""


class Settings(Options):
    """Keys of ``family = "zigbee2mqtt"`` in adapters.toml."""

    base_topic: Annotated[str, Field(pattern=r"^[0-9A-Za-z_.-]+(/(\+|[0-9A-Za-z_.-]+))*$", max_length=64)] = (
        "zigbee2mqtt"
    )
    """``mqtt.base_topic`` of zigbee2mqtt; ``zigbee/+`` for several: ``zigbee/house``, ``zigbee/barn``."""


class Zigbee2Mqtt:
    """All devices of the zigbee2mqtt below the base topic."""

    name = "zigbee2mqtt"

    def __init__(self, settings: Settings, *, limit: int = MAX_DEVICES) -> None:
        self._words = settings.base_topic.split("/")
        self._limit = limit
        self._bridges: dict[str, Bridge] = {}

    def subscriptions(self) -> tuple[str, ...]:
        """Everything below the base topic: friendly names have any number of levels."""
        return (f"{'/'.join(self._words)}/#",)

    def connected(self, now: float) -> Sequence[Step]:
        """The list of devices is retained: nothing is to be asked."""
        return ()

    def take(self, topic: str, payload: bytes, *, retained: bool, now: float) -> Sequence[Step]:
        """A message of a bridge or of a device."""
        words = topic.split("/")
        base, rest = words[: len(self._words)], words[len(self._words) :]
        if not rest or any(word not in ("+", part) for word, part in zip(self._words, base, strict=True)):
            return ()
        bridge = self._bridges.get("/".join(base))
        if bridge is None:
            if rest not in (["bridge", "devices"], ["bridge", "state"]):
                return ()
            if len(self._bridges) >= self._limit:
                return [Finding("too many devices", f"{topic}: more than {self._limit} bridges")]
            bridge = self._bridges["/".join(base)] = Bridge("/".join(base), limit=0)
        if rest == ["bridge", "devices"]:
            bridge.limit = self._limit - sum(len(one) for one in self._bridges.values() if one is not bridge)
        return bridge.take(topic, payload, retained=retained, now=now)

    def due(self, now: float) -> Sequence[Step]:
        """What became of the wishes to switch."""
        return [step for bridge in self._bridges.values() for step in bridge.due(now)]

    def switch(self, key: str, position: Position, *, token: str, now: float) -> Sequence[Step]:
        """``/set``; a :class:`Refused` for a device that cannot confirm it."""
        bridge = self._bridge_of(key)
        if bridge is None:
            return [Refused(key, "no zigbee2mqtt has this device", token)]
        return bridge.switch(key, position, token=token, now=now)

    def ask(self, key: str, *, now: float) -> Sequence[Step]:
        """``/get`` for the relay's position."""
        bridge = self._bridge_of(key)
        return () if bridge is None else bridge.ask(key, now=now)

    def _bridge_of(self, key: str) -> Bridge | None:
        return next((bridge for bridge in self._bridges.values() if key in bridge), None)


register(FamilyKind(name="zigbee2mqtt", title="zigbee2mqtt", options=Settings, make=Zigbee2Mqtt))
