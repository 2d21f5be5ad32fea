"""Which metric is which quantity, and in which unit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sparkplug.mapping import Channel, Names, UnitError
from broker.contract.quantities import QUANTITIES

NAMES = Names({}, {})
SPELLINGS = {
    "Voltage/L1": "voltage_l1", "VoltageL1": "voltage_l1", "L1-N Voltage": "voltage_l1",
    "Voltage L1-L2": "voltage_l12", "Voltage_L31": "voltage_l31", "Current/N": "current_n",
    "Current Neutral": "current_n", "Power": "power", "Power/Total": "power", "Active Power": "power",
    "ActivePower_L3": "power_l3", "Real Power": "power", "Reactive Power L2": "reactive_power_l2",
    "ApparentPower": "apparent_power", "Power Factor": "power_factor", "PF/L1": "power_factor_l1",
    "Frequency": "frequency", "Energy": "energy", "Energy/Import": "energy_import",
    "Active Energy Imported Total": "energy_import", "Energy Export T1": "energy_export_t1",
    "Energy/Export/L2": "energy_export_l2", "Reactive Energy Import": "reactive_import",
    "Apparent Energy": "apparent_energy",
}  # fmt: skip
NONE = (
    "", "Setpoint/Voltage", "Voltage/Max", "Temperature", "Power/L1-L2", "Power/Import", "Energy/L1", "kWh",
    "Reactive", "Power/Power", "Energy/Delivered", "Voltage/L4", "x" * 300, "Voltage/L1/L2/L3", "Factor",
)  # fmt: skip


@pytest.mark.parametrize("name", QUANTITIES)
def test_every_canonical_name_is_its_quantity(name: str) -> None:
    assert NAMES.quantity(name) == name


@pytest.mark.parametrize(("name", "quantity"), SPELLINGS.items())
def test_common_spellings(name: str, quantity: str) -> None:
    assert NAMES.quantity(name) == quantity


@pytest.mark.parametrize("name", NONE)
def test_what_is_not_known_as_a_whole_is_none(name: str) -> None:
    assert NAMES.quantity(name) is None


@given(st.text(max_size=60))
def test_any_name_is_a_quantity_or_none(name: str) -> None:
    assert NAMES.quantity(name) in {None, *QUANTITIES}


@pytest.mark.parametrize(
    ("name", "unit", "factor"),
    [("Energy/Import", "kWh", 1e3), ("Energy/Import", "Wh", 1.0), ("Energy/Import", "MWh", 1e6),
     ("Power", "kW", 1e3), ("Power", "mW", 1e-3), ("Power", "MW", 1e6), ("Reactive Power", "kvar", 1e3),
     ("Reactive Power", "kVAr", 1e3), ("PF", "%", 0.01), ("PF", "1", 1.0), ("thd_u_l1", "%", 1.0)],
)  # fmt: skip
def test_units(name: str, unit: str, factor: float) -> None:
    channel = NAMES.channel(name, {"engUnit": unit})
    assert channel is not None
    assert (channel.factor, channel.doubt) == (factor, "")


@pytest.mark.parametrize(("name", "unit"), [("Power", "kWh"), ("Power", "°C"), ("Voltage", "W"), ("PF", "V")])
def test_a_unit_of_something_else_is_refused(name: str, unit: str) -> None:
    with pytest.raises(UnitError, match=unit):
        NAMES.channel(name, {"Unit": unit})


def test_the_configuration_comes_first_and_a_register_without_unit_is_a_doubt() -> None:
    names = Names({"A1": "energy_import", "Power": ""}, {"A1": "kWh"})
    assert names.channel("A1", {"engUnit": "Wh"}) == Channel("energy_import", 1e3)
    assert names.channel("Power", {}) is None
    doubted = NAMES.channel("Energy/Import", {})
    assert doubted == Channel("energy_import", 1.0, "the unit of Energy/Import is not told: taken as Wh")
