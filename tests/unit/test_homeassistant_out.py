"""Our meters in Home Assistant: the rules of DEVICES.md 1.6.1, and templates rendered with Jinja."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from adapters.families.homeassistant import HomeAssistant, Settings
from adapters.family import Outgoing
from adapters.homeassistant.announcer import Announcer
from adapters.homeassistant.config import CLASSES, config, object_id
from admin.commands.homeassistant import run
from admin.deployments import DIR, IDENTITY
from broker.contract.birth import Birth, Hardware
from broker.contract.errors import ConfigurationError
from broker.contract.messages import MAX_COMMAND_VALIDITY, utc_now
from broker.contract.quantities import QUANTITIES, Kind
from broker.contract.reading import Reading
from broker.contract.relay import Command, Position
from broker.contract.topics import Topics

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
TOPICS = Topics()
BIRTH = Birth(
    name="House 1",
    address="North street",
    hardware=Hardware(vendor="Peacefair", model="PZEM-004T v3", serial="E-1"),
    firmware="0.1.0",
    quantities=tuple(QUANTITIES),
    interval=60,
    session="s1",
    ts=utc_now(),
)
NAMES = re.compile(r"[a-zA-Z0-9_-]+")
ALLOWED: dict[str, set[str | None]] = {
    "energy": {"Wh"}, "reactive_energy": {"varh"}, "power": {"W"}, "voltage": {"V"}, "current": {"A"},
    "reactive_power": {"var"}, "apparent_power": {"VA"}, "frequency": {"Hz"}, "power_factor": {None},
}  # fmt: skip
"""Device class → units, of Home Assistant's table (DEVICES.md 1.6.1)."""


def rendered(template: str, **names: Any) -> str:
    """As Home Assistant renders a template."""
    return ImmutableSandboxedEnvironment().from_string(template).render(**names)


def components(birth: Birth = BIRTH, *, switch: bool = False) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = config(METER, birth, TOPICS, switch=switch)["components"]
    return found


def changed(**fields: Any) -> Birth:
    return BIRTH.model_copy(update=fields)


def test_the_message_of_a_meter_follows_the_rules() -> None:
    told = config(METER, BIRTH, TOPICS, switch=True)
    assert json.loads(json.dumps(told)) == told
    assert told["device"] == {
        "identifiers": [object_id(METER)], "name": "House 1", "manufacturer": "Peacefair",
        "model": "PZEM-004T v3", "serial_number": "E-1", "sw_version": "0.1.0",
        "suggested_area": "North street",
    }  # fmt: skip
    assert told["origin"]["name"] == "meter61850"
    assert NAMES.fullmatch(object_id(METER))
    parts = told["components"]
    assert len({part["unique_id"] for part in parts.values()}) == len(parts) == len(BIRTH.quantities) + 1
    assert all(
        NAMES.fullmatch(name) and part["platform"] in ("sensor", "switch") for name, part in parts.items()
    )


@pytest.mark.parametrize("name", QUANTITIES)
def test_class_unit_and_state_class_of_each_quantity(name: str) -> None:
    part, row = components()[name], QUANTITIES[name]
    device_class = part.get("device_class")
    if device_class is not None:
        assert part.get("unit_of_measurement") in ALLOWED[device_class]
    else:
        assert row.unit in ("VAh", "%")
    counts = row.kind is Kind.REGISTER
    assert part["state_class"] == ("total_increasing" if counts else "measurement")
    assert part.get("expire_after") == (None if counts else 180)


def test_every_class_is_one_of_home_assistants() -> None:
    assert set(CLASSES.values()) == set(ALLOWED)


def test_only_what_the_birth_names_and_no_switch_by_default() -> None:
    assert set(components(changed(quantities=("voltage", "energy", "of_a_newer_meter")))) == {
        "voltage",
        "energy",
    }
    assert "relay" not in components()
    assert "relay" not in components(changed(relay=False), switch=True)


def test_values_and_availability_as_rendered() -> None:
    reading = Reading(epoch=1, seq=1, ts=utc_now(), voltage=229.6)
    value_json = json.loads(reading.payload())
    parts = components()
    assert rendered(parts["voltage"]["value_template"], value_json=value_json) == "229.6"
    assert rendered(parts["power"]["value_template"], value_json=value_json) == "None"  # unknown, not 0
    (available,) = config(METER, BIRTH, TOPICS)["availability"]
    assert available["topic"] == f"sm/v1/{METER}/status"
    for online, word in ((True, "online"), (False, "offline")):
        assert rendered(available["value_template"], value_json={"online": online}) == word


def test_the_switch_sends_a_command_of_ours_with_a_fresh_id_and_expiry() -> None:
    relay = components(switch=True)["relay"]
    assert (relay["retain"], relay["optimistic"]) == (False, False)
    assert rendered(relay["value_template"], value_json={"position": "open"}) == relay["state_off"]
    moment = utc_now()
    names = {"utcnow": lambda: moment, "timedelta": timedelta}
    told = rendered(relay["command_template"], value=relay["payload_off"], **names)
    command = Command.model_validate_json(told)
    assert (command.position, command.issued_at) == (Position.OPEN, moment)
    assert timedelta(0) < command.expires_at - command.issued_at <= MAX_COMMAND_VALIDITY
    _, pressed, meter = command.command_id.split("-", 2)  # a scene switches many in a millisecond
    assert abs(int(pressed) - moment.timestamp() * 1000) <= 1
    assert meter == METER


def test_our_adapter_leaves_it_alone() -> None:
    family = HomeAssistant(Settings())
    payload = json.dumps(config(METER, BIRTH, TOPICS, switch=True)).encode()
    family.take(f"homeassistant/device/{object_id(METER)}/config", payload, retained=True, now=0)
    assert list(family.due(10)) == []
    assert len(family.subscriptions()) == 2


def born(announcer: Announcer, birth: Birth | None = BIRTH, *, retained: bool = True) -> None:
    payload = b"" if birth is None else birth.payload()
    announcer.take(TOPICS.meter(METER, "birth"), payload, retained=retained)


def published(announcer: Announcer) -> list[Outgoing]:
    """What is due, which the broker then has."""
    messages = announcer.due()
    for message in messages:
        announcer.published(message)
    assert announcer.due() == []
    return messages


def test_a_meter_is_announced_once_renewed_and_removed() -> None:
    announcer = Announcer(TOPICS)
    born(announcer)
    (message,) = published(announcer)
    assert (message.topic, message.retain) == (f"homeassistant/device/{object_id(METER)}/config", True)
    born(announcer, changed(session="s2", ts=datetime.now(UTC)), retained=False)
    assert published(announcer) == []  # the same meter at its next connect
    born(announcer, changed(name="House 2", ts=datetime.now(UTC)), retained=False)
    (renamed,) = published(announcer)
    assert b"House 2" in renamed.payload
    announcer.take("homeassistant/status", b"offline", retained=False)
    assert published(announcer) == []
    announcer.take("homeassistant/status", b"online", retained=False)
    assert published(announcer) == [renamed]
    born(announcer, None, retained=False)
    assert published(announcer) == [Outgoing(message.topic, b"", retain=True)]
    assert announcer.count == 0


def test_a_meter_that_the_registrar_keeps_out_is_removed() -> None:
    announcer = Announcer(TOPICS)
    born(announcer)
    published(announcer)
    access = json.dumps({"allowed": False, "ts": "2026-11-23T12:00:00.000Z"}).encode()
    announcer.take(TOPICS.meter(METER, "access"), access, retained=False)
    (message,) = published(announcer)
    assert message.payload == b""


def test_what_an_earlier_run_has_announced_in_vain_is_removed_and_others_are_left_alone() -> None:
    announcer = Announcer(TOPICS)
    gone = "3f2504e0-4f89-41d3-9a0c-0305e82c3302"
    ours = json.dumps(config(gone, BIRTH, TOPICS)).encode()
    foreign = json.dumps(config(METER, BIRTH, Topics("other/v1"))).encode()
    for meter_id, payload in ((gone, ours), (METER, foreign)):
        announcer.take(announcer.config_topic(meter_id), payload, retained=True)
    for name in ("m61850_x", "somebody", "m61850_"):
        announcer.take(f"homeassistant/device/{name}/config", ours, retained=True)
    assert published(announcer) == [Outgoing(announcer.config_topic(gone), b"", retain=True)]


def test_a_message_of_a_second_program_like_this_one_starts_no_quarrel() -> None:
    announcer = Announcer(TOPICS)
    born(announcer)
    (message,) = published(announcer)
    other = json.dumps(config(METER, BIRTH, TOPICS, switch=True)).encode()
    announcer.take(message.topic, other, retained=False)
    assert published(announcer) == []


@pytest.mark.parametrize("payload", [b"[", b"{}", b"\xff", b'{"name":5}'])
def test_a_birth_that_cannot_be_read_is_counted(payload: bytes) -> None:
    announcer = Announcer(TOPICS)
    announcer.take(TOPICS.meter(METER, "birth"), payload, retained=True)
    announcer.take("sm/v1/nonsense/birth", b"", retained=True)
    assert published(announcer) == []
    assert announcer.counters["rejected"] == 2


def test_a_deployment_that_has_no_identity_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DIR, "/var/lib/meter61850")
    monkeypatch.delenv(IDENTITY, raising=False)
    with pytest.raises(ConfigurationError, match="identity add homeassistant --role homeassistant"):
        run()
