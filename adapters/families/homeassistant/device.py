"""A device that announces itself: its entities, what they make of it as a meter, and what is known of it now.

>>> device = Device(frozenset({"mac a0b0c0d0e0f4"}), Choice())
>>> device.key
'a0b0c0d0e0f4'
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from decimal import Decimal

from adapters.families.homeassistant.discovery import MAX_ENTITIES, Description, DeviceInfo, Entity
from adapters.family import Available, Finding, Point, Step, Switched
from adapters.measured import Gathered, in_order, measures_load, text
from broker.contract.quantities import QUANTITIES
from broker.contract.relay import Position

WINDOW = 1.0
"""Seconds in which values that come one by one are of one instant, and after which a device is complete."""
PATIENCE = 5.0
"""Seconds after which a device that goes on to announce itself is shown as far as it is known."""
_NO_RELAY = re.compile(r"restart|reboot|reset|safe.?mode|factory|led\b|status|update|child.?lock")
_UNSAFE = re.compile(r"[^0-9A-Za-z._:-]")


@dataclass(frozen=True)
class Choice:
    """What the operator decided (adapters.toml): each name is a unique_id, or ``key/unique_id``."""

    quantities: dict[str, str] = field(default_factory=dict)
    """Sensor → quantity; an empty one leaves the sensor out."""
    relays: frozenset[str] = frozenset()
    confirms: frozenset[str] = frozenset()
    """Keys of devices whose state topic shows what the relay did."""


@dataclass
class Meaning:
    """What the entities of a device make of it as a meter."""

    quantities: dict[str, tuple[str, Decimal]] = field(default_factory=dict)
    """Entity → quantity and factor."""
    relay: Entity | None = None
    doubts: list[str] = field(default_factory=list)


class Device:
    """One device; ``tokens`` are its identifiers and connections."""

    def __init__(self, tokens: frozenset[str], choice: Choice) -> None:
        self.tokens, self.key = tokens, key_of(tokens)
        self.info = DeviceInfo()
        self.told: dict[str, Description] = {}
        """Discovery topic → what it says."""
        self.entities: dict[str, Entity] = {}
        self.meaning = Meaning()
        self.point: Point | None = None
        """As it was reported; None: it was not yet."""
        self.announced: tuple[float, float] | None = None
        """When its first and last news came that are not reported yet."""
        self.window: Gathered | None = None
        self.window_until = 0.0
        self.there: dict[tuple[str, int], tuple[int, bool]] = {}
        """Entity and number of its availability → when in order, and what it said."""
        self.fresh: dict[str, float] = {}
        """Entity with ``expire_after`` → until when its value counts."""
        self.silent = False
        self.online: bool | None = None
        self.position: Switched | None = None
        self.asked_until = 0.0
        self._choice = choice

    def learn(self, topic: str, described: Description | None, *, now: float) -> None:
        """What one discovery topic says now; None: its message is gone."""
        if described is None:
            self.told.pop(topic, None)
        else:
            self.told[topic], self.info = described, described.info
            self.tokens |= described.info.tokens
        if self.point is None:
            self.key = key_of(self.tokens)
        self.entities = {one.id: one for said in self.told.values() for one in said.entities}
        self.there = {which: was for which, was in self.there.items() if which[0] in self.entities}
        self.fresh = {which: until for which, until in self.fresh.items() if which in self.entities}
        self.meaning = meaning(self, self._choice)
        self.announced = (self.announced[0] if self.announced else now, now)

    def routes(self) -> dict[str, tuple[str, str]]:
        """Entity that counts for the meter → where its state comes from, and where its commands go."""
        relay = self.meaning.relay.id if self.meaning.relay else ""
        counts = (
            one for one in self.entities.values() if one.id in self.meaning.quantities or one.id == relay
        )
        return {one.id: (one.state.topic, one.switch.topic if one.switch else "") for one in counts}

    def moved(self, before: dict[str, tuple[str, str]]) -> list[Step]:
        """What is to be told when the topics of a metering point are others than before."""
        now = {name: route for name, route in self.routes().items() if before.get(name, route) != route}
        if self.point is None or not now:
            return []
        name, route = next(iter(now.items()))
        detail = f"{self.key}: {name[-100:]} has {route[0]!r} {route[1]!r}, had {before[name]}"
        return [Finding("topics of a device have changed", detail)]

    def has_room(self, topic: str, described: Description) -> bool:
        """Whether there is room for what one more message describes."""
        others = [said for name, said in self.told.items() if name != topic]
        count = sum(len(said.entities) for said in others) + len(described.entities)
        return len(others) < MAX_ENTITIES and count <= MAX_ENTITIES

    def is_settled(self, now: float) -> bool:
        """Whether its news are complete."""
        if self.announced is None:
            return False
        first, last = self.announced
        return now >= last + WINDOW or now >= first + PATIENCE

    def as_point(self) -> Point | None:
        """The metering point; None for a device that measures no load."""
        names = in_order(name for name, _ in self.meaning.quantities.values())
        if not measures_load(names):
            return None
        info, relay = self.info, self.meaning.relay
        return Point(
            key=self.key,
            name=info.name or self.key,
            vendor=info.manufacturer,
            model=info.model,
            serial=info.serial_number or info.mac or self.key,
            firmware=info.sw_version,
            quantities=names,
            switch=relay is not None and relay.switch is not None and relay.switch.confirms,
            doubts=tuple(self.meaning.doubts),
        )

    def heard(self) -> list[Step]:
        """A change of whether it is there, if there is one and the device was reported."""
        available = self._available()
        wanted = available is not False and not self.silent
        if available is None and not self.fresh:
            return []
        if self.online is wanted or self.point is None:
            return []
        self.online = wanted
        return [Available(self.key, wanted)]

    def _available(self) -> bool | None:
        """What its availability topics say: there when one entity is; None: nothing yet."""
        found = [
            one
            for one in (self._entity_there(entity) for entity in self.entities.values())
            if one is not None
        ]
        return any(found) if found else None

    def _entity_there(self, entity: Entity) -> bool | None:
        said = [self.there.get((entity.id, number)) for number in range(len(entity.availability))]
        known = [one for one in said if one is not None]
        if not known:
            return None
        if entity.mode == "all":
            return len(known) == len(said) and all(there for _, there in known)
        return any(there for _, there in known) if entity.mode == "any" else max(known)[1]

    def at(self, position: Position, *, confirmed: bool) -> list[Step]:
        """Where its relay is."""
        self.position = Switched(self.key, position, confirmed)
        return [] if self.point is None else [self.position]

    def renewed(self, point: Point) -> list[Step]:
        """The metering point, with all that is known of it."""
        first, self.point = self.point is None, point
        if not first:
            return [point, *self.heard()]
        if self.position is not None:
            self.position = replace(self.position, key=self.key)
        return [point, *self.heard(), *([self.position] if self.position else [])]


def key_of(tokens: frozenset[str]) -> str:
    """The MAC address, else the first identifier, in letters that a file and a topic may have."""
    kind, _, name = min(
        tokens, key=lambda token: (not token.startswith("mac "), not token.startswith("id "), token)
    ).partition(" ")
    plain = _UNSAFE.sub("_", name)
    if plain == name and len(name) <= 64:
        return name
    return f"{plain[:48]}-{hashlib.sha256(f'{kind} {name}'.encode()).hexdigest()[:12]}"


def meaning(device: Device, choice: Choice) -> Meaning:
    """Which sensor measures which quantity, and which switch is the relay; what was guessed is a doubt."""
    found = Meaning(doubts=[doubt for said in device.told.values() for doubt in said.doubts])
    taken: dict[str, str] = {}
    # What has been measured stays: a message of somebody else does not displace it.
    had = device.meaning.quantities
    for entity in sorted(device.entities.values(), key=lambda one: (one.id not in had, one.id)):
        if entity.named is not None:
            _take_sensor(found, taken, entity, _chosen(choice.quantities, device, entity))
    if any(name.startswith("energy_export") for name in taken) and "energy" in taken:
        _as_import(found, taken["energy"])
    _find_relay(found, device, choice)
    found.doubts = [text(doubt) for doubt in found.doubts[:16]]
    return found


def _chosen(names: dict[str, str], device: Device, entity: Entity) -> str | None:
    return names.get(f"{device.key}/{entity.unique_id}", names.get(entity.unique_id))


def _take_sensor(found: Meaning, taken: dict[str, str], entity: Entity, chosen: str | None) -> None:
    assert entity.named is not None
    name = entity.named.quantity if chosen is None else chosen
    label = entity.name or entity.unique_id or entity.id
    if not name:
        return
    if name not in QUANTITIES or name in taken:
        why = f"{name} is measured by another sensor" if name in taken else f"there is no quantity {name}"
        found.doubts.append(f"{label!r} is left out: {why}")
        return
    taken[name] = entity.id
    found.quantities[entity.id] = (name, entity.named.factor)
    if entity.named.guess and chosen is None:
        found.doubts.append(f"{label!r} is taken as {name}, by its name")
    if entity.balance:
        found.doubts.append(f"{label!r} may fall without a reset: it may be a balance of import and export")


def _as_import(found: Meaning, entity: str) -> None:
    """A counter beside one of export counts import."""
    name, factor = found.quantities[entity]
    found.quantities[entity] = (f"{name}_import", factor)
    found.doubts.append("energy is taken as energy_import, because the device has energy_export too")


def _find_relay(found: Meaning, device: Device, choice: Choice) -> None:
    """The only switch that can be the relay, or the one that the operator chose."""
    switches = [one for one in device.entities.values() if one.switch is not None]
    chosen = [one for one in switches if {one.unique_id, f"{device.key}/{one.unique_id}"} & choice.relays]
    likely = chosen or [
        one for one in switches if not _NO_RELAY.search(f"{one.name} {one.unique_id}".lower())
    ]
    if len(likely) > 1:
        found.doubts.append(f"{len(likely)} switches: name the relay with `relays` in adapters.toml")
    if len(likely) != 1:
        return
    relay = likely[0]
    assert relay.switch is not None
    if device.key in choice.confirms:
        relay = replace(relay, switch=replace(relay.switch, confirms=True))
    found.relay = relay
    if not chosen:
        found.doubts.append(f"switch {relay.name or relay.unique_id!r} is taken as the relay")
    if relay.switch is not None and not relay.switch.confirms:
        found.doubts.append(
            "its relay is not switched: its state may be an echo (`confirms` in adapters.toml)"
        )
