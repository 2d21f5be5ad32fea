"""The table of quantities: what its rows must be, and that rows are only appended."""

from __future__ import annotations

import re

import pytest

from bridge.ingest.parse import OTHER
from bridge.store.pack_format import StoredReading
from broker.contract.quantities import NAME, QUANTITIES, Kind, Quantity
from broker.contract.reading import KNOWN, Reading
from meter_firmware.sensors.modbus.devices.pzem004t import PZEM004T, TABLE

RELEASED = {
    "voltage": "V",
    "current": "A",
    "power": "W",
    "power_factor": "",
    "frequency": "Hz",
    "energy": "Wh",
}
"""On the wire, in databases and in packs of every release: neither name nor unit nor order changes."""


def test_what_was_released_stays() -> None:
    assert [(row.name, row.unit) for row in QUANTITIES.values()][: len(RELEASED)] == [*RELEASED.items()]


@pytest.mark.parametrize("row", QUANTITIES.values(), ids=lambda row: row.name)
def test_a_row_can_be_what_follows_from_it(row: Quantity) -> None:
    assert re.match(NAME, row.name)
    assert row.name not in {*KNOWN} - {*QUANTITIES}, "a field of a reading that is no quantity"
    assert row.lowest < row.highest
    assert row.kind is Kind.MEASUREMENT or row.lowest == 0
    assert 0 <= row.decimals <= 9
    assert row.label


def test_a_reading_has_them_in_the_order_of_the_table() -> None:
    assert tuple(Reading.model_fields) == (
        "epoch", "seq", "ts", *QUANTITIES, "alarm", "clock_synchronized", "instance", "repeated",
    )  # fmt: skip
    assert ("meter", *StoredReading._fields)[OTHER] == "other"


def test_a_birth_names_what_the_sensor_measures_in_that_order() -> None:
    assert {row.quantity for row in TABLE} == {*PZEM004T.measures}
    assert PZEM004T.measures == tuple(RELEASED)
