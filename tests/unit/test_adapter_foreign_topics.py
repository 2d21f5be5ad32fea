"""A device's discovery message may name any topic; the adapter writes none of our meters' for it."""

from __future__ import annotations

import json

import pytest

from adapters.settings import SourceSettings
from adapters.source import Source
from broker.contract.relay import Position
from broker.mqtt.settings import MqttSettings


def described(command: str) -> tuple[tuple[str, dict[str, object]], ...]:
    """A device with a relay whose commands go to the topic ``command``."""
    device: dict[str, object] = {"device": {"identifiers": ["box"]}}
    power: dict[str, object] = {
        "device_class": "power",
        "unit_of_measurement": "W",
        "state_topic": "box/power",
    }
    relay: dict[str, object] = {"state_topic": "box/relay", "command_topic": command}
    return (
        ("homeassistant/sensor/box/power/config", device | power),
        ("homeassistant/switch/box/relay/config", device | relay),
    )


@pytest.mark.parametrize(
    ("command", "cause"),
    [("sm/v1/3f2504e0-4f89-41d3-9a0c-0305e82c3301/reading", "topic is of our meters"),
     ("plant/7/3f2504e0-4f89-41d3-9a0c-0305e82c3301/command", "topic is of our meters"),
     ("box/\x01set", "topic is not allowed"),
     ("box/set", "message was not sent")],
)  # fmt: skip
def test_no_message_goes_to_a_meter_of_ours(
    command: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("adapters.source.monotonic", lambda: now[0])
    settings = SourceSettings(name="s", family="homeassistant", options={"confirms": ["box"]})
    source = Source(settings, MqttSettings(), lambda *_: None, prefix="plant/7")
    for topic, told in described(command):
        source._take(topic, json.dumps(told).encode(), retained=True)
    now[0] = 2.0
    source._all(lambda: source._family.due(2.0))
    source.up = True
    assert "does not take the request" in source.switch("box", Position.OPEN, token="c1")
    assert source.aside.counts == {cause: 1}
