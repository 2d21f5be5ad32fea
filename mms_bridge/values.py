"""A meter's state as values of data objects: value, quality and time (IEC 61850-7-3).

The model tables of ``scl_builder`` say which source feeds which data object; here stands what each
source gives. Quality follows the value: good; invalid while there is no value (and failure when the
sensor should have given it), and once the meter is withdrawn; questionable + oldData when the meter is
offline or silent or the broker is away. Time is the meter's, with clock-not-synchronized when its birth
said so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from broker.messages import QUANTITIES, Position, Reading
from mms_bridge.fleet import Fleet, Meter
from mms_bridge.native import Quality
from mms_bridge.server import Key, Value
from scl_builder.tables import GATEWAY_LD, METER_LD, LogicalNode

ON, OFF = 1, 5  # BehaviourModeKind
OK, WARNING, ALARM = 1, 2, 3  # HealthKind
DBPOS = {Position.OPEN: 1, Position.CLOSED: 2}
DBPOS_INTERMEDIATE = 0

T_SYNCHRONIZED, T_NOT_SYNCHRONIZED = 0x8A, 0x2A
"""Time quality: leap seconds known and 1 ms; or clock-not-synchronized."""

OLD = Quality.QUESTIONABLE | Quality.OLD_DATA
FAILED = Quality.INVALID | Quality.FAILURE


def bindings(tables: tuple[LogicalNode, ...]) -> Mapping[str, tuple[tuple[Key, str], ...]]:
    """Source group ("reading", "relay", …) -> ((logical node, data object), field) of a table."""
    found: dict[str, list[tuple[Key, str]]] = {}
    for node in tables:
        for obj in node.objects:
            if obj.source:
                group, _, name = obj.source.partition(".")
                found.setdefault(group, []).append(((node.name, obj.name), name))
    return {group: tuple(items) for group, items in found.items()}


METER_BINDINGS = bindings(METER_LD)
GATEWAY_BINDINGS = bindings(GATEWAY_LD)


def milliseconds(ts: datetime) -> int:
    """``ts`` as milliseconds since 1970."""
    return round(ts.timestamp() * 1000)


def reading_values(meter: Meter, *, broker_up: bool) -> Iterator[tuple[Key, Value]]:
    """What the latest reading says, as data objects; all invalid before the first one."""
    reading = meter.reading
    if reading is None or meter.withdrawn is not None:
        for key, _ in METER_BINDINGS["reading"]:
            yield key, Value(None, Quality.INVALID, _withdrawn_ms(meter))
        return
    good = Quality.GOOD if broker_up and meter.online and not meter.stale else OLD
    t_ms, t_quality = milliseconds(reading.ts), _time_quality(meter)
    expected = QUANTITIES if meter.birth is None else meter.birth.quantities
    for key, name in METER_BINDINGS["reading"]:
        value, made_of = _quantity(reading, name)
        if value is None:
            missing = FAILED if made_of.issubset(expected) else Quality.INVALID
            yield key, Value(None, missing, t_ms, t_quality)
        else:
            # BCR.actVal is an INT64 in steps of pulsQty = 1 Wh
            yield key, Value(round(value) if name == "energy" else value, good, t_ms, t_quality)


def relay_values(meter: Meter, *, broker_up: bool) -> Iterator[tuple[Key, Value]]:
    """What the relay topic says, as data objects; invalid before it was heard."""
    relay = meter.relay
    if relay is None or meter.withdrawn is not None:
        for key, name in METER_BINDINGS["relay"]:
            value = DBPOS_INTERMEDIATE if name == "position" else None
            yield key, Value(value, Quality.INVALID, _withdrawn_ms(meter))
        return
    quality = Quality.GOOD if broker_up and meter.online else OLD
    t_ms, t_quality = milliseconds(relay.ts), _time_quality(meter)
    told = {
        "position": DBPOS[relay.position],
        "operations": relay.operations,
        "local": relay.local,
        "block_open": False,
        "block_close": False,
    }
    for key, name in METER_BINDINGS["relay"]:
        yield key, Value(told[name], quality, t_ms, t_quality)


def health_values(meter: Meter, *, broker_up: bool, now: datetime) -> Iterator[tuple[Key, Value]]:
    """What the gateway itself knows of the meter: behaviour and health; always good, at ``now``."""
    healthy = broker_up and meter.online and not meter.stale
    told = {
        ("service", "beh"): ON if meter.withdrawn is None else OFF,
        ("service", "health"): OK if broker_up else ALARM,
        ("meter", "health"): OK if healthy else ALARM,
    }
    for (group, field), value in told.items():
        for key, name in METER_BINDINGS[group]:
            if name == field:
                yield key, Value(value, Quality.GOOD, milliseconds(now))


def all_values(meter: Meter, *, broker_up: bool, now: datetime) -> Iterator[tuple[Key, Value]]:
    """Everything that feeds one meter's logical device."""
    yield from reading_values(meter, broker_up=broker_up)
    yield from relay_values(meter, broker_up=broker_up)
    yield from health_values(meter, broker_up=broker_up, now=now)


def gateway_values(
    meters: Sequence[Meter], fleet: Fleet, *, revision: int, now: datetime
) -> Iterator[tuple[Key, Value]]:
    """The gateway's own logical device: its ``meters``, and what it knows of broker and bridge."""
    told = {
        "beh": ON,
        "health": ALARM if not fleet.broker_up else OK if fleet.bridge_up else WARNING,
        "meters": len(meters),
        "meters_online": sum(meter.online for meter in meters),
        "meters_stale": sum(meter.stale for meter in meters),
        "revision": revision,
        "broker_up": fleet.broker_up,
        "bridge_up": fleet.bridge_up,
    }
    hearsay = Quality.GOOD if fleet.broker_up else OLD  # told over the broker, not seen
    for group in ("service", "gateway"):
        for key, name in GATEWAY_BINDINGS[group]:
            quality = hearsay if name in ("bridge_up", "revision") else Quality.GOOD
            yield key, Value(told[name], quality, milliseconds(now))


def _quantity(reading: Reading, name: str) -> tuple[float | None, set[str]]:
    """A quantity of the model, and those of the contract that it is made of."""
    if name != "apparent_power":
        return getattr(reading, name), {name}
    volts, amperes = reading.voltage, reading.current
    return None if volts is None or amperes is None else volts * amperes, {"voltage", "current"}


def _withdrawn_ms(meter: Meter) -> int:
    """When the meter was withdrawn; 0 if it was not."""
    return 0 if meter.withdrawn is None else milliseconds(meter.withdrawn)


def _time_quality(meter: Meter) -> int:
    return T_SYNCHRONIZED if meter.clock_synchronized else T_NOT_SYNCHRONIZED
