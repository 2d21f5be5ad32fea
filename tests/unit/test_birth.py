"""A birth: what it means where it says nothing."""

from __future__ import annotations

from bridge.store.measured import measured
from bridge.store.tables import Meter
from broker.contract.birth import Birth, Hardware
from broker.contract.messages import utc_now
from tests.unit.test_quantities import RELEASED


def test_a_birth_of_old_firmware_names_no_quantities_and_means_the_six_of_before() -> None:
    birth = Birth(
        name="h", hardware=Hardware(serial="1"), firmware="0", interval=10, session="s", ts=utc_now()
    )
    assert birth.quantities == tuple(RELEASED)
    assert measured(Meter(meter_id="m", quantities="", first_seen=0, last_seen=0)) == tuple(RELEASED)


def test_a_meter_has_what_its_birth_names_in_the_order_of_the_table() -> None:
    named = "energy_import,voltage_l1,of_a_newer_meter,power"
    assert measured(Meter(meter_id="m", quantities=named, first_seen=0, last_seen=0)) == (
        "power",
        "voltage_l1",
        "energy_import",
    )
