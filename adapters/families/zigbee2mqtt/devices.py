"""A device of zigbee2mqtt: what ``bridge/devices`` says of it, and what is known of it now.

>>> described({"type": "Coordinator", "ieee_address": "0x00124b00000000aa"}) is None
True
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from adapters.families.zigbee2mqtt.exposes import Exposed, exposed
from adapters.families.zigbee2mqtt.switching import Wish
from adapters.family import Point, Step, Switched
from adapters.measured import Gathered, device_time, in_order, inner, text
from broker.contract.relay import Position


class Device:
    """One device; ``point`` is what it is as a metering point."""

    def __init__(self, point: Point, exposed: Exposed, *, name: str) -> None:
        self.point, self.exposed, self.name = point, exposed, name
        self.key = point.key
        self.available: bool | None = None
        """What its own topic says."""
        self.online: bool | None = None
        """As it was reported."""
        self.wish: Wish | None = None
        self.last: Switched | None = None
        self.foreign_until = 0.0
        self.has_json = False
        self._before: tuple[dict[str, Any], datetime | None] | None = None

    def inherit(self, before: Device | None) -> None:
        """What was known of it when the list of devices came again."""
        if before is None:
            return
        self.online, self.wish, self.last = before.online, before.wish, before.last
        self.available = before.available if before.name == self.name else None
        self.foreign_until, self.has_json, self._before = (
            before.foreign_until,
            before.has_json,
            before._before,
        )

    def position_in(self, told: dict[str, Any]) -> Position | None:
        """Where the message says that the relay is."""
        relay = self.exposed.relay
        if relay is None or relay.property not in told:
            return None
        value = told[relay.property]
        if type(value) is type(relay.on) and value == relay.on:
            return Position.CLOSED
        return Position.OPEN if type(value) is type(relay.off) and value == relay.off else None

    def at(self, position: Position, *, confirmed: bool, token: str | None = None) -> list[Step]:
        """Where its relay is, if that is new or answers a request."""
        now = Switched(self.key, position, confirmed, token)
        before, self.last = self.last, now
        return [] if token is None and before is not None and _plain(before) == _plain(now) else [now]

    def measured(self, told: dict[str, Any], *, echo: bool) -> list[Step]:
        """The reading in a state; none in what repeats the one before: an echo, or the same ``last_seen``."""
        told_values = {name: told[name] for name in self.exposed.measures if name in told}
        at = seen(told.get("last_seen"))
        before, self._before = self._before, (told_values, at)
        if before is None:
            repeats = echo
        else:
            repeats = before[0] == told_values and (echo or (at is not None and at == before[1]))
        if repeats:
            return []
        values = Gathered()
        for name, value in told_values.items():
            measure = self.exposed.measures[name]
            values.put(measure.quantity, value, factor=measure.factor)
        return values.steps(self.key, at=at, where=self.name)


def _plain(one: Switched) -> tuple[Position, bool]:
    return one.position, one.confirmed


def seen(told: Any) -> datetime | None:
    """``last_seen``: ISO 8601 with an offset, or milliseconds since 1970; None for anything else."""
    if isinstance(told, int) and not isinstance(told, bool) and 0 < told < 1e14:
        at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=told)
        return device_time(at.isoformat())
    return device_time(told) if isinstance(told, str) else None


def described(told: Any) -> Device | None:
    """The device in an entry of ``bridge/devices``; None for one that is no meter.

    Coordinator, disabled devices, devices without a definition, and devices that measure no load are none.
    """
    if not isinstance(told, dict) or told.get("type") == "Coordinator" or told.get("disabled") is True:
        return None
    key, name = told.get("ieee_address"), told.get("friendly_name")
    if not isinstance(key, str) or not isinstance(name, str) or not 0 < len(key) <= 32 or not _is_name(name):
        return None
    definition = inner(told, "definition")
    found = exposed(definition.get("exposes"))
    if not key.isalnum() or not found.is_meter:
        return None
    point = Point(
        key=key,
        name=text(name),
        vendor=text(definition.get("vendor")),
        model=text(definition.get("model")),
        serial=key,
        firmware=text(told.get("software_build_id")),
        quantities=in_order(one.quantity for one in found.measures.values()),
        switch=found.relay is not None and found.relay.gettable,
        doubts=found.doubts,
    )
    return Device(point, found, name=name)


def _is_name(name: str) -> bool:
    """Whether a friendly name may be in a topic that we publish."""
    return 0 < len(name) <= 255 and not set(name) & set("+#\0") and not name.startswith("bridge/")
