"""Home Assistant discovery: every message of ESPHome's sample, and the rules of DEVICES.md 1.6.2."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

import pytest

from adapters.families.homeassistant import HomeAssistant, Settings
from adapters.family import Available, Finding, Gone, Outgoing, Point, Refused, Step, Switched, Values
from broker.contract.relay import Position
from tests.support.samples import FOLDER, Row, played, rows

KEY = "a0b0c0d0e0f4"
MEASURES = ("voltage", "current", "power", "power_factor", "frequency", "energy")
POINT = Point(
    KEY, "Meter North", "Espressif", "esp32dev", KEY, "2026.10.0 (Oct 20 2026, 10:11:12)", MEASURES, True,
    doubts=("switch 'Main Relay' is taken as the relay",),
)  # fmt: skip
ESPHOME = rows("esphome_pzem")
CONFIGS = [row for row in ESPHOME if row.topic.endswith("/config")]
RELAY = "meter-north/switch/main_relay"
ODD_KEYS = (
    "dev_cla", "unit_of_meas", "stat_t", "val_tpl", "uniq_id", "dev", "avty", "p", "o", "~", "exp_aft",
)  # fmt: skip
DEVICE = {"ids": ["box"], "name": "Box"}


def config(key: str = "power", /, *, device: Any = DEVICE, platform: str = "sensor", **told: Any) -> Row:
    """One sensor's discovery message."""
    usual = {"uniq_id": key, "name": key, "stat_t": f"box/{key}", "dev_cla": "power", "unit_of_meas": "W"}
    return Row(
        f"homeassistant/{platform}/box/{key}/config", json.dumps(usual | {"dev": device} | told).encode()
    )


def take(family: HomeAssistant, *messages: Row, now: float = 0.0) -> list[Step]:
    return list(chain(*played(family, messages, now=now)))


def made(*messages: Row, **settings: Any) -> tuple[HomeAssistant, list[Step]]:
    """A family that has heard the messages, and what it said of them in the end."""
    family = HomeAssistant(Settings(**settings))
    return family, [*take(family, *messages), *family.due(2)]


def point(*messages: Row, **settings: Any) -> Point:
    """The only metering point in them."""
    (found,) = (step for step in made(*messages, **settings)[1] if isinstance(step, Point))
    return found


def measured(family: HomeAssistant, *messages: Row) -> list[dict[str, float | bool]]:
    """The readings of messages, also of those that wait for their second to be over."""
    steps = [*take(family, *messages, now=10), *family.due(12)]
    return [step.measured for step in steps if isinstance(step, Values)]


def test_the_esphome_node_of_the_sample() -> None:
    family = HomeAssistant(Settings())
    assert list(chain(*played(family, CONFIGS))) == []
    assert list(family.due(0.5)) == []
    assert list(family.due(1.0)) == [POINT]
    rest = [row for row in ESPHOME if row not in CONFIGS]
    read = {
        "voltage": 229.6, "current": 2.836, "power": 631.6, "energy": 38795.0, "frequency": 50.0,
        "power_factor": 0.97,
    }  # fmt: skip
    assert played(family, rest, now=2.0) == [
        [Available(KEY, True)],
        *[[]] * 6,
        [Values(KEY, read)],  # the power comes again: another reading
        [Switched(KEY, Position.CLOSED)],
        [Switched(KEY, Position.OPEN)],
        [],  # esphome/discover
        [Available(KEY, False)],
    ]
    (lost,) = family.due(3.0)
    assert lost == Finding("value is no number", f"{KEY}: power 'nan'")


def test_the_subscriptions_grow_with_what_is_announced() -> None:
    family = HomeAssistant(Settings())
    before = family.subscriptions()
    assert family.subscriptions() is before
    take(family, *CONFIGS)
    assert set(family.subscriptions()) - set(before) == {
        row.topic for row in ESPHOME if row.topic.startswith("meter-north/")
    }
    take(family, *(Row(row.topic, b"") for row in CONFIGS))
    assert family.subscriptions() == before


def test_a_switch_is_confirmed_by_its_state_and_not_by_one_that_was_retained() -> None:
    family, _ = made(*CONFIGS)
    wished = family.switch(KEY, Position.OPEN, token="c1", now=3)
    assert wished == [Outgoing(f"{RELAY}/command", b"OFF", qos=0)]
    retained = family.take(f"{RELAY}/state", b"OFF", retained=True, now=4)
    assert retained == [Switched(KEY, Position.OPEN, confirmed=False)]
    assert take(family, Row(f"{RELAY}/state", b"OFF"), now=5) == [Switched(KEY, Position.OPEN)]


def test_a_retained_position_is_known_with_the_device_and_a_retained_value_is_none() -> None:
    family = HomeAssistant(Settings())
    take(family, *CONFIGS)
    assert list(family.take(f"{RELAY}/state", b"ON", retained=True, now=0)) == []
    assert list(family.take("meter-north/sensor/pzem_power/state", b"1", retained=True, now=0)) == []
    assert list(family.due(1)) == [POINT, Switched(KEY, Position.CLOSED)]
    assert list(family.due(5)) == []


@pytest.mark.parametrize(
    "changed", [{"opt": True}, {"ret": True}, {"cmd_t": "elsewhere/command"}, {"val_tpl": "{{ value }}"}]
)
def test_a_switch_that_does_not_confirm_is_not_switched(changed: dict[str, Any]) -> None:
    switch = json.loads(CONFIGS[-1].payload) | changed
    family, steps = made(*CONFIGS[:-1], Row(CONFIGS[-1].topic, json.dumps(switch).encode()))
    (found,) = (step for step in steps if isinstance(step, Point))
    assert not found.switch
    (answer,) = family.switch(KEY, Position.OPEN, token="c1", now=3)
    assert isinstance(answer, Refused)
    told = take(family, Row(f"{RELAY}/state", b"OFF"), now=5)
    assert not any(isinstance(step, Switched) and step.confirmed for step in told)


def test_the_operator_says_that_a_state_confirms() -> None:
    switch = config(
        "relay", platform="switch", command_topic="box/set", command_template='{"on": "{{ value }}"}',
        payload_on="1", payload_off="0",
    )  # fmt: skip
    family, _ = made(config(), switch, confirms={"box"})
    assert family.switch("box", Position.CLOSED, token="t", now=3) == [
        Outgoing("box/set", b'{"on": "1"}', qos=0)
    ]
    assert take(family, Row("box/relay", b"0")) == [Switched("box", Position.OPEN)]


def test_of_several_switches_the_operator_names_the_relay() -> None:
    switches = [
        Row(f"homeassistant/switch/box/{key}/config", json.dumps({
            "uniq_id": key, "name": key, "stat_t": f"box/switch/{key}/state",
            "cmd_t": f"box/switch/{key}/command", "dev": DEVICE,
        }).encode()) for key in ("lamp", "pump", "restart")
    ]  # fmt: skip
    assert point(config(), *switches[::2]).switch
    assert not point(config(), *switches).switch
    family, _ = made(config(), *switches, relays={"box/pump"})
    sent = family.switch("box", Position.CLOSED, token="t", now=3)
    assert sent == [Outgoing("box/switch/pump/command", b"ON", qos=0)]


def test_a_device_in_one_message_with_short_keys_and_a_base() -> None:
    told = {
        "dev": {"cns": [["mac", "A0:B0:C0:D0:E0:F5"]], "name": "Board"},
        "o": {"name": "someone"},
        "~": "boards/7",
        "stat_t": "boards/7/state",
        "avty": [{"t": "boards/7/alive", "val_tpl": "{{ value_json.up }}", "pl_avail": "True"}],
        "cmps": {
            "u": {"p": "sensor", "dev_cla": "voltage", "unit_of_meas": "mV", "uniq_id": "u",
                  "val_tpl": "{{ value_json.u }}"},
            "e": {"p": "sensor", "dev_cla": "energy", "unit_of_meas": "kWh", "uniq_id": "e",
                  "val_tpl": "{{ value_json.e | float }}"},
            "gone": {"p": "sensor"},
            "t": {"p": "sensor", "dev_cla": "temperature", "unit_of_meas": "°C", "uniq_id": "t"},
        },
    }  # fmt: skip
    family, steps = made(Row("homeassistant/device/board/config", json.dumps(told).encode()))
    (found,) = (step for step in steps if isinstance(step, Point))
    assert (found.key, found.quantities) == ("a0b0c0d0e0f5", ("voltage", "energy"))
    assert measured(family, Row("boards/7/state", b'{"u": 230100, "e": 132.71}')) == [
        {"voltage": 230.1, "energy": 132710.0}
    ]
    assert take(family, Row("boards/7/alive", b'{"up": true}')) == [Available("a0b0c0d0e0f5", True)]


def test_our_own_meters_are_not_taken_in_again() -> None:
    own = json.loads((rows_of_ours())[0]["payload"])
    assert own["o"]["name"] == "meter61850"
    assert made(*(Row(line["topic"], line["payload"].encode()) for line in rows_of_ours()))[1] == []


def rows_of_ours() -> list[dict[str, Any]]:
    text = (FOLDER / "home_assistant_device_discovery.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("mode", "said", "online"),
    [
        ("all", [b"online"], False), ("all", [b"online", b"online"], True),
        ("all", [b"online", b"offline"], False), ("any", [b"online", b"offline"], True),
        ("latest", [b"online", b"offline"], False), ("latest", [b"offline", b"online"], True),
    ],
)  # fmt: skip
def test_availability_of_several_topics(mode: str, said: list[bytes], online: bool) -> None:
    topics = [{"topic": "box/a"}, {"topic": "box/b"}]
    family, _ = made(config(avty=topics, avty_mode=mode))
    steps = take(family, *(Row(f"box/{letter}", word) for letter, word in zip("ab", said, strict=False)))
    last = [step for step in steps if isinstance(step, Available)][-1]
    assert last == Available("box", online)


def test_a_value_that_expires_takes_the_device_away_until_the_next_one() -> None:
    family, _ = made(config(exp_aft=30))
    assert measured(family, Row("box/power", b"5")) == [{"power": 5.0}]
    assert list(family.due(39)) == []
    assert list(family.due(41)) == [Available("box", False)]
    assert take(family, Row("box/power", b"6"), now=50) == [Available("box", True)]


def test_phase_and_direction_are_read_out_of_names_and_are_doubts() -> None:
    def energy(name: str) -> Row:
        return config(name, dev_cla="energy", unit_of_meas="kWh")

    found = point(
        config("power_l1"), config("phase_b_power"), config("x_c_power"), config("total power"),
        energy("energy"), energy("energy exported"), energy("energy today"),
    )  # fmt: skip
    assert found.quantities == ("power", "power_l1", "power_l2", "power_l3", "energy_import", "energy_export")
    assert len(found.doubts) == 5


def test_two_sensors_of_one_quantity_and_what_the_operator_makes_of_them() -> None:
    both = (config("a"), config("b"))
    assert point(*both).doubts == ("'b' is left out: power is measured by another sensor",)
    family, _ = made(*both, quantities={"a": "", "box/b": "power_l2"})
    assert measured(family, Row("box/a", b"1"), Row("box/b", b"2")) == [{"power_l2": 2.0}]


def test_values_within_a_second_are_one_reading() -> None:
    family, _ = made(config(), config("u", dev_cla="voltage", unit_of_meas="V"))
    take(family, Row("box/power", b"5"), now=10)
    take(family, Row("box/u", b"230"), now=10.9)
    assert list(family.due(10.95)) == []
    assert list(family.due(11)) == [Values("box", {"power": 5.0, "voltage": 230.0})]
    take(family, Row("box/u", b"231"), now=11.1)
    assert list(family.due(12.1)) == [Values("box", {"voltage": 231.0})]  # the power is absent


def test_a_template_that_is_not_evaluated_is_a_finding_and_a_doubt() -> None:
    family, steps = made(config(), config("t", val_tpl="{{ states('sensor.x') }}"))
    (found,) = (step for step in steps if isinstance(step, Point))
    assert [step.cause for step in steps if isinstance(step, Finding)] == ["template is not evaluated"]
    assert "Call" in found.doubts[0]
    assert measured(family, Row("box/power", b"1")) == [{"power": 1.0}]


def test_a_device_that_measures_no_load_is_no_meter_and_an_empty_message_takes_it_away() -> None:
    volt = config("u", dev_cla="voltage", unit_of_meas="V")
    family, steps = made(volt)
    assert steps == []
    take(family, config(), now=3)
    assert [type(step) for step in family.due(5)] == [Point]
    take(family, Row(config().topic, b""), now=6)
    assert list(family.due(8)) == [Gone("box")]


def test_from_single_messages_to_one_of_the_device() -> None:
    """The way of DEVICES.md 1.6.1: the meter is the same, and never gone."""
    family, _ = made(config())
    whole = {"device": DEVICE, "origin": {"name": "x"}, "components": {
        "p": {"platform": "sensor", "unique_id": "power", "name": "power", "state_topic": "box/power",
              "device_class": "power", "unit_of_measurement": "W"}}}  # fmt: skip
    steps = take(
        family,
        Row(config().topic, b'{"migrate_discovery": true}'),
        Row("homeassistant/device/box/config", json.dumps(whole).encode()),
        Row(config().topic, b""),
        now=3,
    )
    assert [*steps, *family.due(5)] == []
    assert measured(family, Row("box/power", b"7")) == [{"power": 7.0}]


@pytest.mark.parametrize("odd", [[], {}, None, 5, True])
def test_a_key_of_another_type_costs_its_sensor(odd: Any) -> None:
    for key in ODD_KEYS:
        family, steps = made(config(), config("second", **{key: odd}))
        assert [type(step) for step in steps if isinstance(step, Point)] == [Point], key
        assert measured(family, Row("box/power", b"1")) == [{"power": 1.0}]
