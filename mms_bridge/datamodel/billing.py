"""Figures for bills (topic ``billing``) as values: frozen registers, demand, registers per tariff.

A frozen register is a count that stood there, whatever the meter does now: its BCR has one q, which is that
of the running register. What runs (demand, registers per tariff) is old when the meter is silent, as its
readings are: the figures end with its last interval.

>>> billing_handlers(fleet, of_meter=refresh, of_server=recount)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from broker.contract.billing import Billing, TariffInForce
from broker.contract.fleet import Fleet, MeterState, State
from broker.contract.topics import Handler, Topic
from mms_bridge.datamodel.moment import milliseconds
from mms_bridge.datamodel.value import OLD, Key, Quality, Value
from scl_builder.model.measuring import way_of

NOT_FROZEN, UNKNOWN = Value(0, Quality.KEPT, 0), Value(None, Quality.INVALID, 0)
WELL_KNOWN = ("measured", "interpolated")
"""Marks of intervals whose energy is between two known registers."""


def billing_handlers(
    fleet: Fleet, *, of_meter: Callable[[MeterState], None], of_server: Callable[[], None]
) -> dict[str, Handler]:
    """By kind of topic; ``of_meter`` and ``of_server`` write the values that have changed."""

    def take_billing(topic: Topic, payload: bytes, *, retained: bool) -> None:
        meter = fleet.meter(topic.name)
        meter.billing = Billing.model_validate_json(payload) if payload else None
        of_meter(meter)

    def take_tariff(topic: Topic, payload: bytes, *, retained: bool) -> None:
        fleet.tariff = TariffInForce.model_validate_json(payload) if payload else None
        of_server()

    return {"billing": take_billing, "tariff": take_tariff}


def tariff_value(fleet: Fleet) -> Value:
    """The number of the tariff in force; old without a bridge, which is what changes it."""
    if fleet.tariff is None:
        return UNKNOWN
    number = int(fleet.tariff.tariff.removeprefix("T"))
    quality = Quality.GOOD if fleet.broker_up and fleet.bridge_up else OLD
    return Value(number, quality, milliseconds(fleet.tariff.since))


def billing_values(
    meter: MeterState, bound: Mapping[str, Sequence[tuple[Key, str, bool]]], *, broker_up: bool
) -> Iterator[tuple[Key, Value]]:
    """The registers at the end of the last period, 0 at time 0 where there is none; what was computed."""
    billing = meter.billing
    registers = billing.frozen.registers if billing is not None else {}
    for key, name, _ in bound.get("billing", ()):
        way = way_of(name, frozenset(registers))
        if billing is None or way is None:
            yield key, NOT_FROZEN
        else:
            count = round(way.how(*(registers[one] for one in way.of)))
            yield key, Value(count, Quality.KEPT, milliseconds(billing.frozen.end))
    state = meter.state(broker_up=broker_up)
    good = Quality.GOOD if state is State.ONLINE else Quality.INVALID if state is State.WITHDRAWN else OLD
    computed = _computed(billing, good) if billing is not None else {}
    for group in ("demand", "tariff"):
        for key, name, _ in bound.get(group, ()):
            yield key, computed.get(name, NOT_FROZEN if name.endswith("_frozen") else UNKNOWN)


def _computed(billing: Billing, good: Quality) -> dict[str, Value]:
    """Field → value, ``good`` at best; the registers per tariff are as old as the latest interval."""
    found = dict[str, Value]()
    for name, peak in (("mean", billing.demand), ("maximum", billing.running.maximum)):
        if peak is not None:
            quality = good if good or peak.mark in WELL_KNOWN else Quality.QUESTIONABLE
            found[name] = Value(peak.power, quality, milliseconds(peak.end))
    at = billing.demand.end if billing.demand is not None else billing.running.start
    for suffix, period, quality, t in (
        ("", billing.running, good, at),
        ("_frozen", billing.frozen, Quality.KEPT, billing.frozen.end),
    ):
        for tariff, energy in period.tariffs.items():
            for way, value in (("import", energy.energy_import), ("export", energy.energy_export)):
                if value is not None:
                    field = f"{tariff.lower()}_{way}{suffix}"
                    found[field] = Value(round(value), quality, milliseconds(t))
    return found
