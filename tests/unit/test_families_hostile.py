"""Whatever is published: no family raises, no value is infinite or out of its limits, memory is bounded."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.families.registry import family
from adapters.family import Family, Finding, Point
from broker.contract.relay import Position
from tests.support.samples import ANYTHING, RAW, Row, check_values, mutated, rows

SAMPLES = {
    "tasmota": ("tasmota_plug", "tasmota_three_phase"),
    "shelly1": ("shelly_gen1_3em", "shelly_gen1_plug_s"),
    "shelly2": ("shelly_gen2_plus1pm", "shelly_gen2_pro3em", "shelly_gen2_em1_pm1"),
    "homeassistant": ("esphome_pzem",),
    "zigbee2mqtt": ("zigbee2mqtt_plug",),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "tasmota": {
        "devices": {
            "tasmota_D4E5F6": {"discovery": False, "signed_reactive": True},
            "tasmota_77AA01": {"discovery": False, "map": {"SML.Total_in": "energy_import kWh"}},
        }
    },
    "shelly2": {"source": "meter61850/a1"},
}
MESSAGES = {name: [row for sample in samples for row in rows(sample)] for name, samples in SAMPLES.items()}
each = pytest.mark.parametrize("name", SAMPLES)


def fresh(name: str) -> Family:
    """A family with the options of its samples."""
    kind = family(name)
    return kind.make(kind.options.model_validate(OPTIONS.get(name, {})))


def take(made: Family, row: Row, *, now: float) -> None:
    """A message, and what time brings after it."""
    check_values(list(made.take(row.topic, row.payload, retained=row.retain, now=now)))
    check_values(list(made.due(now + 1)))


@each
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_a_message_that_was_changed(name: str, data: st.DataObject) -> None:
    """All messages of the samples in turn, a few of them changed."""
    made, messages = fresh(name), list(MESSAGES[name])
    for at in data.draw(st.sets(st.integers(0, len(messages) - 1), min_size=1, max_size=3)):
        row = messages[at]
        messages[at] = Row(row.topic, data.draw(mutated(row.payload)), data.draw(st.booleans()))
    for at, row in enumerate(messages):
        take(made, row, now=float(at))


@each
@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_octets_and_json_of_any_kind(name: str, data: st.DataObject) -> None:
    made = fresh(name)
    for row in MESSAGES[name]:
        take(made, row, now=0)
    row = data.draw(st.sampled_from(MESSAGES[name]))
    payload = data.draw(RAW | ANYTHING.map(lambda told: json.dumps(told).encode()))
    take(made, Row(row.topic, payload), now=1)
    take(made, Row(data.draw(st.text(max_size=30)) + row.topic[-8:], payload), now=2)


@each
@given(key=st.text(max_size=20))
def test_a_metering_point_that_is_not_known(name: str, key: str) -> None:
    made = fresh(name)
    made.switch(key, Position.OPEN, token="t", now=0)
    assert list(made.ask(key, now=0)) == []


def tasmota_flood(number: int) -> list[Row]:
    mac = f"{number:012X}"
    told = json.loads(rows("tasmota_plug")[0].payload) | {"mac": mac, "t": mac}
    return [
        Row(f"tele/early{number}/LWT", b"Online"),
        Row(f"tasmota/discovery/{mac}X/sensors", rows("tasmota_plug")[1].payload),
        Row(f"tasmota/discovery/{mac}/config", json.dumps(told).encode()),
    ]


def shelly1_flood(number: int) -> list[Row]:
    return [Row(f"shellies/a{number}/{below}", b"5") for below in ("online", "relay/0/power", "emeter/7/pf")]


def shelly2_flood(number: int) -> list[Row]:
    """Devices, and prefixes that may be one."""
    return [
        Row(f"shellyplus1pm-{number:012x}/online", b"true"),
        Row(f"shellyplus1pm-{number:012x}/status/em:0", b'{"errors":[]}'),
        Row(f"{number}/online", b"true"),
    ]


FLOODS: dict[str, Callable[[int], list[Row]]] = {
    "tasmota": tasmota_flood,
    "shelly1": shelly1_flood,
    "shelly2": shelly2_flood,
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of_devices_is_bounded_and_spares_those_that_measure(name: str) -> None:
    kind = family(name)
    make: Callable[..., Family] = kind.make
    made = make(kind.options.model_validate(OPTIONS.get(name, {})), limit=10)
    for row in MESSAGES[name]:
        take(made, row, now=0)
    findings = [
        step
        for number in range(300)
        for row in FLOODS[name](number)
        for step in (*made.take(row.topic, row.payload, retained=False, now=number), *made.due(number))
    ]
    assert any(isinstance(step, Finding) and step.cause == "too many devices" for step in findings)
    held = {attribute: len(value) for attribute, value in vars(made).items() if hasattr(value, "__len__")}
    assert max(held.values()) <= 100, held
    for row in MESSAGES[name]:
        known = made.take(row.topic, row.payload, retained=False, now=400)
        assert not any(isinstance(step, Point) for step in known), "it was known"
