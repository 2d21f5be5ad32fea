"""A meter's state as values of data objects: value, quality and time (IEC 61850-7-3).

The model tables of ``scl_builder`` say which source feeds which data object; here stands what each source
gives. Quality follows the value: good; invalid while there is no value (and failure when the sensor should
have given it), and once the meter is withdrawn or kept out; questionable + oldData when the meter is
offline or silent or the broker is away. Time is the meter's, with clock-not-synchronized when its birth
or the reading itself says so; what the gateway knows by itself has the time and the clock of its host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from broker.contract.alarms import Severity
from broker.contract.fleet import Fleet, MeterState, State
from broker.contract.quantities import HOUSEHOLD
from broker.contract.reading import Reading
from broker.contract.relay import Position
from mms_bridge.datamodel.behaviour import Behaviour, behaviour_of
from mms_bridge.datamodel.billing import billing_values, tariff_value
from mms_bridge.datamodel.moment import T_NOT_SYNCHRONIZED, Moment, milliseconds, time_quality
from mms_bridge.datamodel.value import OLD, Key, Quality, Value
from scl_builder.model import logical_devices
from scl_builder.model.data_object import LogicalNode
from scl_builder.model.logical_devices import Profile, profile_of
from scl_builder.model.measuring import way_of, ways
from scl_builder.model.tariff_in_force import gateway_nodes

ON = int(Behaviour.ON)
OK, WARNING, ALARM = 1, 2, 3  # HealthKind
HEALTH = {None: OK, Severity.WARNING: WARNING, Severity.ALARM: ALARM}
DBPOS = {Position.OPEN: 1, Position.CLOSED: 2}
DBPOS_INTERMEDIATE = 0

INTERNAL_CLOCK, LOCAL_AREA_CLOCK = 1, 2  # ClockSyncKind; whether it is global the kernel does not know

FAILED = Quality.INVALID | Quality.FAILURE


class Binding(NamedTuple):
    """One place that takes a value, and what feeds it."""

    key: Key
    field: str
    whole: bool
    """The attribute is an INT64: a count in steps of pulsQty, which is 1."""


class Made(NamedTuple):
    """A value that is computed from quantities of a reading."""

    field: str
    of: tuple[str, ...]
    how: Callable[..., float]


@dataclass(frozen=True)
class Feed:
    """What feeds the logical device of a meter whose birth names certain quantities."""

    groups: Mapping[str, tuple[Binding, ...]]
    """Source group ("reading", "relay", …) → what it feeds."""
    names: tuple[str, ...]
    """The quantities of a reading that are looked at, and no others."""
    made: tuple[Made, ...]
    failed: frozenset[str]
    """Fields that the sensor should give: where they have no value, it has failed."""

    @cached_property
    def measured(self) -> Callable[[Reading], Sequence[float | None]]:
        """The values of ``names``."""
        get: Callable[[Reading], Any] = attrgetter(*self.names) if self.names else lambda _: ()
        return get if len(self.names) != 1 else lambda reading: (get(reading),)

    def told(self, reading: Reading) -> dict[str, float | None]:
        """The values of the model's fields."""
        told: dict[str, float | None] = dict(zip(self.names, self.measured(reading), strict=True))
        for name, of, how in self.made:
            values = [value for quantity in of if (value := told[quantity]) is not None]
            told[name] = how(*values) if len(values) == len(of) else None
        return told


def bindings(table: tuple[LogicalNode, ...]) -> Mapping[str, tuple[Binding, ...]]:
    """Source group ("reading", "relay", …) -> what it feeds of a table."""
    found: dict[str, list[Binding]] = {}
    for node in table:
        for obj in node.objects:
            for fed in obj.fed:
                group, _, field = fed.source.partition(".")
                whole = fed.cdc.btype(fed.value.path) == "INT64"
                found.setdefault(group, []).append(Binding((node.name, fed.name), field, whole))
    return {group: tuple(items) for group, items in found.items()}


def _feed(meter: MeterState) -> Feed:
    """What feeds the meter's logical device."""
    return _of_quantities(_expected(meter), logical_devices.PROFILES)


def _bindings(meter: MeterState) -> Mapping[str, tuple[Binding, ...]]:
    return _feed(meter).groups


@lru_cache(maxsize=1024)
def _of_quantities(quantities: tuple[str, ...], _profiles: tuple[Profile, ...]) -> Feed:
    groups, given = bindings(profile_of(quantities).every_node), frozenset(quantities)
    fields = dict.fromkeys(field for _, field, _ in groups.get("reading", ()))
    chosen = {name: way_of(name, given) or ways(name)[-1] for name in fields}
    return Feed(
        {"reading": (), **groups},
        tuple(dict.fromkeys(name for way in chosen.values() for name in way.of)),
        tuple(Made(name, way.of, way.how) for name, way in chosen.items() if way.of != (name,)),
        frozenset(name for name, way in chosen.items() if given.issuperset(way.of)),
    )


@lru_cache(maxsize=1024)
def _elsewhere(profile: Profile) -> tuple[tuple[Key, Value], ...]:
    """What other meters have and one of this profile does not: invalid, without a time."""
    own = set(_running(profile))
    every = (key for other in logical_devices.PROFILES for key in _running(other))
    return tuple((key, Value(None, Quality.INVALID, 0)) for key in dict.fromkeys(every) if key not in own)


def _running(profile: Profile) -> Iterator[Key]:
    """What changes with the meter's readings."""
    groups = bindings(profile.every_node)
    return (key for group in ("reading", "demand", "tariff") for key, _, _ in groups.get(group, ()))


GATEWAY_BINDINGS = bindings(gateway_nodes(tariffs=1))


def reading_values(meter: MeterState, *, broker_up: bool) -> Iterator[tuple[Key, Value]]:
    """What the latest reading says, as data objects; all invalid before the first one."""
    reading = meter.reading
    if reading is None or not meter.in_service:
        for key, _, _ in _bindings(meter)["reading"]:
            yield key, Value(None, Quality.INVALID, _out_ms(meter))
        return
    good = _quality(meter.state(broker_up=broker_up))
    t_ms, t_quality = milliseconds(reading.ts), _time_quality(meter)
    if reading.clock_synchronized is False:
        t_quality = T_NOT_SYNCHRONIZED
    feed = _feed(meter)
    told = feed.told(reading)
    for key, name, whole in feed.groups["reading"]:
        value = told[name]
        if value is None:
            missing = FAILED if name in feed.failed else Quality.INVALID
            yield key, Value(None, missing, t_ms, t_quality)
        else:
            yield key, Value(round(value) if whole else value, good, t_ms, t_quality)


def relay_values(meter: MeterState, *, broker_up: bool) -> Iterator[tuple[Key, Value]]:
    """What the topics relay and block say, as data objects; invalid before they were heard.

    Nothing is blocked where nothing was ever blocked, from the relay's time on.
    """
    if not meter.in_service:
        for key, name, _ in _bindings(meter)["relay"]:
            value = DBPOS_INTERMEDIATE if name == "position" else None
            yield key, Value(value, Quality.INVALID, _out_ms(meter))
        return
    quality = _quality(meter.relay_state(broker_up=broker_up))
    relay, block = meter.relay, meter.block
    told: dict[str, Value] = {"position": Value(DBPOS_INTERMEDIATE, Quality.INVALID, 0)}
    if relay is not None:
        t_ms, t_quality = milliseconds(relay.ts), _time_quality(meter)
        values = {"position": DBPOS[relay.position], "operations": relay.operations, "local": relay.local}
        values |= {"block_open": False, "block_close": False}
        told = {name: Value(value, quality, t_ms, t_quality) for name, value in values.items()}
    if block is not None and block.open_ts is not None:
        told["block_open"] = Value(block.open, quality, milliseconds(block.open_ts))
    if block is not None and block.close_ts is not None:
        told["block_close"] = Value(block.close, quality, milliseconds(block.close_ts))
    for key, name, _ in _bindings(meter)["relay"]:
        yield key, told.get(name, Value(None, Quality.INVALID, 0))


def health_values(meter: MeterState, *, broker_up: bool, now: Moment) -> Iterator[tuple[Key, Value]]:
    """What the gateway itself knows of the meter: behaviour and health; always good, at ``now``."""
    healthy = meter.state(broker_up=broker_up) is State.ONLINE
    told = {
        ("service", "beh"): behaviour_of(meter),
        ("service", "health"): OK if broker_up else ALARM,
        ("meter", "health"): HEALTH[meter.worst] if healthy else ALARM,
    }
    bound = _bindings(meter)
    for group in ("service", "meter"):
        for key, name, _ in bound[group]:
            yield key, Value(told[group, name], Quality.GOOD, *now)


def all_values(meter: MeterState, *, broker_up: bool, now: Moment) -> Iterator[tuple[Key, Value]]:
    """Everything that feeds one meter's logical device."""
    yield from reading_values(meter, broker_up=broker_up)
    yield from billing_values(meter, _bindings(meter), broker_up=broker_up)
    yield from relay_values(meter, broker_up=broker_up)
    yield from health_values(meter, broker_up=broker_up, now=now)


def newborn_values(meter: MeterState, *, broker_up: bool, now: Moment) -> Iterator[tuple[Key, Value]]:
    """After a birth: the rest is invalid, for an older configuration may have what it no longer measures."""
    yield from _elsewhere(profile_of(_expected(meter)))
    yield from all_values(meter, broker_up=broker_up, now=now)


def gateway_values(
    meters: Sequence[MeterState], fleet: Fleet, *, revision: int, now: Moment
) -> Iterator[tuple[Key, Value]]:
    """The gateway's own logical device: its ``meters``, and what it knows of broker and bridge."""
    told = {
        "beh": ON,
        "health": max(HEALTH[fleet.worst], OK if fleet.bridge_up else WARNING) if fleet.broker_up else ALARM,
        "meters": len(meters),
        "meters_online": sum(meter.online for meter in meters),
        "meters_stale": sum(meter.stale for meter in meters),
        "revision": revision,
        "broker_up": fleet.broker_up,
        "bridge_up": fleet.bridge_up,
        "time_sync": LOCAL_AREA_CLOCK if now.synchronized else INTERNAL_CLOCK,
    }
    hearsay = Quality.GOOD if fleet.broker_up else OLD  # told over the broker, not seen
    for group in ("service", "gateway"):
        for key, name, _ in GATEWAY_BINDINGS[group]:
            quality = hearsay if name in ("bridge_up", "revision") else Quality.GOOD
            yield key, Value(told[name], quality, *now)
    for key, _, _ in GATEWAY_BINDINGS["tariff"]:
        yield key, tariff_value(fleet)._replace(t_quality=now.t_quality)


def _expected(meter: MeterState) -> tuple[str, ...]:
    """The quantities that the meter's sensor gives."""
    return HOUSEHOLD if meter.birth is None else meter.birth.quantities


def _quality(state: State) -> Quality:
    return Quality.GOOD if state is State.ONLINE else OLD


def _out_ms(meter: MeterState) -> int:
    """Since when the meter is out of service; 0 if it is not."""
    return 0 if meter.out_since is None else milliseconds(meter.out_since)


def _time_quality(meter: MeterState) -> int:
    return time_quality(synchronized=meter.clock_synchronized)
