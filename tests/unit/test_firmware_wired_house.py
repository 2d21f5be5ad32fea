"""A simulated house behind a wired meter: consistent in its phases and directions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contract.messages import utc_now
from broker.contract.quantities import QUANTITIES
from broker.contract.reading import Reading
from meter_firmware.sensors.household import Household
from meter_firmware.sensors.wired_house import WiredHouse

EVERYTHING = tuple(QUANTITIES)
INSTANTS = st.floats(1.7e9, 3e9)
PHASES = ("l1", "l2", "l3")


@given(number=st.integers(1, 1000), t=INSTANTS, solar=st.booleans())
def test_every_measurement_is_valid_and_its_phases_add_up(number: int, t: float, solar: bool) -> None:
    told = WiredHouse(seed=1, number=number, measures=EVERYTHING, solar=solar).measure(t)
    Reading.model_validate({"epoch": 1, "seq": 1, "ts": utc_now(), **told})
    assert set(told) == {*EVERYTHING, "alarm"}
    for name in ("power", "apparent_power", "reactive_power", "energy_import", "energy_export"):
        assert told[name] == pytest.approx(sum(told[f"{name}_{phase}"] for phase in PHASES), abs=0.2)
    assert (told["power_l3"] < 0) == solar
    assert told["energy_import_t1"] + told["energy_import_t2"] == told["energy_import"]


@given(number=st.integers(1, 1000), t=INSTANTS, seconds=st.floats(0.1, 1e6))
def test_registers_only_rise(number: int, t: float, seconds: float) -> None:
    house = WiredHouse(seed=1, number=number, measures=EVERYTHING, solar=True)
    before, after = house.measure(t), house.measure(t + seconds)
    registers = [row.name for row in QUANTITIES.values() if row.kind.value == "register"]
    assert [name for name in registers if after[name] < before[name]] == []


def test_a_single_phase_meter_sees_the_house_of_the_same_number() -> None:
    told = WiredHouse(seed=1, number=3, measures=("power", "energy")).measure(1.8e9)
    house = Household(seed=1, number=3).measure(1.8e9)
    assert told == {name: house[name] for name in ("power", "energy", "alarm")}
