"""The simulator: plausible, consistent, reproducible, and the energy only rises."""

from __future__ import annotations

import random
import resource
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contract.errors import ConfigurationError
from broker.contract.messages import utc_now
from broker.contract.reading import Reading
from broker.contract.relay import Position
from meter_firmware.relay.pin import RelayError
from meter_firmware.sensors.household import HOUR, MEASURES, Household, frequency
from meter_firmware.sensors.simulated import SimulatedHardware
from meter_firmware.settings import SimulateSettings
from meter_firmware.simulate import allow_files, meter_ids, run, simulated_profile

MIDNIGHT = 1_795_478_400.0
"""2026-11-24T00:00:00Z."""
DAY = 24 * HOUR
HOUSES = st.builds(Household, seed=st.integers(0, 1000), number=st.integers(1, 10_000))
INSTANTS = st.floats(1.6e9, 4e9)


@given(house=HOUSES, t=INSTANTS)
def test_every_measurement_is_plausible_and_consistent(house: Household, t: float) -> None:
    measured = house.measure(t)
    Reading.model_validate({"epoch": 1, "seq": 1, "ts": utc_now(), **measured})
    assert {*measured} == {*MEASURES, "alarm"}
    voltage, current, factor = measured["voltage"], measured["current"], measured["power_factor"]
    assert 205 <= voltage <= 242
    assert 0 < current < 63
    assert 0.85 <= factor <= 1
    assert measured["power"] == pytest.approx(voltage * current * factor, abs=0.06)
    assert measured["frequency"] == pytest.approx(50, abs=0.05)


@given(house=HOUSES, t=INSTANTS, seconds=st.floats(0.05, 86_400))
def test_energy_only_rises_and_is_the_integral_of_the_power(
    house: Household, t: float, seconds: float
) -> None:
    steps = max(2000, int(seconds / 5))  # what flickers has a period of 42 s and more
    step = seconds / steps
    joules = sum(house.load(t + (i + 0.5) * step) for i in range(steps)) * step
    # 4e9 seconds of energy in a float leave about a µWh of noise.
    assert house.energy(t + seconds) - house.energy(t) == pytest.approx(joules / HOUR, rel=1e-3, abs=1e-5)
    assert house.energy(t + seconds) > house.energy(t)


def test_evenings_take_more_than_nights() -> None:
    town = [Household(seed=3, number=number) for number in range(1, 201)]
    night = sum(house.load(MIDNIGHT + 3 * HOUR) for house in town)
    evening = sum(house.load(MIDNIGHT + 18.5 * HOUR) for house in town)
    assert evening > 2 * night
    daily = [(house.energy(MIDNIGHT + DAY) - house.energy(MIDNIGHT)) / 1000 for house in town]
    assert 5 < sum(daily) / len(daily) < 25  # kWh


def test_the_same_seed_is_the_same_town_and_another_is_another() -> None:
    instants = [MIDNIGHT + random.Random(1).uniform(0, DAY) for _ in range(20)]
    first = [Household(seed=1, number=5).measure(t) for t in instants]
    assert first == [Household(seed=1, number=5).measure(t) for t in instants]
    assert first != [Household(seed=2, number=5).measure(t) for t in instants]
    assert first != [Household(seed=1, number=6).measure(t) for t in instants]


def test_the_frequency_is_the_grids() -> None:
    assert {Household(seed=1, number=n).measure(MIDNIGHT)["frequency"] for n in range(1, 20)} == {
        frequency(1, MIDNIGHT)
    }


def test_an_open_relay_cuts_the_house_off_and_the_counter_stands_still(tmp_path: Path) -> None:
    path, house = tmp_path / "hardware.json", Household(seed=1, number=1)
    hardware = SimulatedHardware(house, path)
    hardware.switch(Position.CLOSED, MIDNIGHT)
    before = hardware.measure(MIDNIGHT)
    hardware.switch(Position.OPEN, MIDNIGHT)
    cut = hardware.measure(MIDNIGHT + 5 * HOUR)
    assert cut | {"power": 0, "current": 0, "power_factor": 0, "energy": before["energy"]} == cut
    assert cut["voltage"] > 200
    again = SimulatedHardware(house, path)
    again.switch(Position.OPEN, MIDNIGHT + 6 * HOUR)  # at a restart the saved position is driven
    assert again.measure(MIDNIGHT + 7 * HOUR)["energy"] == before["energy"]
    again.switch(Position.CLOSED, MIDNIGHT + 8 * HOUR)
    later = again.measure(MIDNIGHT + 9 * HOUR)
    used = house.energy(MIDNIGHT + 9 * HOUR) - house.energy(MIDNIGHT + 8 * HOUR)
    assert later["energy"] - before["energy"] == pytest.approx(used, abs=1)
    assert later["power"]


def test_energy_rises_over_any_switching_and_restarts(tmp_path: Path) -> None:
    draw, house = random.Random(4), Household(seed=1, number=1)
    shown: list[float] = []
    t = MIDNIGHT
    hardware = SimulatedHardware(house, tmp_path / "hardware.json")
    for _ in range(300):
        t += draw.uniform(1, 600)
        if draw.random() < 0.2:
            hardware = SimulatedHardware(house, tmp_path / "hardware.json")
        hardware.switch(draw.choice(list(Position)), t)
        shown.append(hardware.measure(t)["energy"])
    assert all(earlier <= later for earlier, later in pairwise(shown))
    assert shown[-1] > shown[0]


def test_a_clock_that_is_set_back_does_not_turn_the_counter_back(tmp_path: Path) -> None:
    hardware = SimulatedHardware(Household(seed=1, number=1), tmp_path / "hardware.json")
    later = hardware.measure(MIDNIGHT + DAY)["energy"]
    assert hardware.measure(MIDNIGHT)["energy"] == later


def test_a_damaged_memory_is_an_error_of_the_relay(tmp_path: Path) -> None:
    (tmp_path / "hardware.json").write_text("{")
    with pytest.raises(RelayError, match=r"hardware\.json"):
        SimulatedHardware(Household(seed=1, number=1), tmp_path / "hardware.json").drive(Position.OPEN)


def test_meters_are_reproducible_distinct_and_split_over_processes() -> None:
    town = meter_ids(SimulateSettings(n=1000, seed=7))
    assert town == meter_ids(SimulateSettings(n=1000, seed=7))
    assert town[400:] == meter_ids(SimulateSettings(n=600, first=401, seed=7))
    assert len({*town, *meter_ids(SimulateSettings(n=1000, seed=8))}) == 2000
    assert {UUID(meter_id).version for meter_id in town} == {4}


def test_profiles_differ_in_what_must_differ() -> None:
    settings = SimulateSettings(n=1000, seed=7)
    profiles = [simulated_profile(settings, number) for number in range(1, 1001)]
    assert profiles == [simulated_profile(settings, number) for number in range(1, 1001)]
    assert len({profile.hardware.serial for profile in profiles}) == 1000
    assert len({profile.identity.address for profile in profiles}) == 1000
    assert {profile.identity.address_code for profile in profiles} == {"7500", "7501", "7502", "7503"}
    profiles[0].birth(ip="127.0.0.1", session="s")


def test_the_houses_of_another_seed_have_other_names_and_addresses() -> None:
    """The README adds one to those of `up`: what says House 1 means one house."""
    usual, other = (
        [simulated_profile(settings, number).identity for number in range(1, 101)]
        for settings in (SimulateSettings(n=100), SimulateSettings(n=100, seed=7))
    )
    assert (usual[0].name, other[0].name) == ("House 1", "House 7-1")
    assert {one.name for one in usual}.isdisjoint(one.name for one in other)
    assert {one.address for one in usual}.isdisjoint(one.address for one in other)


@pytest.fixture
def file_limit() -> Iterator[tuple[int, int]]:
    """The limit of open files, put back afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_of_open_files_is_raised_or_told(file_limit: tuple[int, int]) -> None:
    _, hard = file_limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    allow_files(300)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 300
    allow_files(10)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 300
    with pytest.raises(ConfigurationError, match="ulimit"):
        allow_files(2**40)


async def test_more_wired_meters_than_a_process_can_wait_for_are_refused(tmp_path: Path) -> None:
    settings = SimulateSettings(n=81, kind="p1", data_dir=tmp_path)
    with pytest.raises(ConfigurationError, match="81 wired meters: at most 80 in one process"):
        await run(settings)
