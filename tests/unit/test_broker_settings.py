"""How a program is told where the broker is: from the environment, and with what errors."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from broker.mqtt.settings import MqttSettings


def test_every_setting_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HOST": "10.0.0.9", "PORT": "8883", "VERSION": "4", "PREFIX": "town/v1"}.items():
        monkeypatch.setenv(f"METER61850_MQTT_{name}", value)
    settings = MqttSettings()
    assert (settings.host, settings.port, settings.version, settings.prefix) == (
        "10.0.0.9",
        8883,
        4,
        "town/v1",
    )


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"version": 3}, "version"),
        ({"version": "five"}, "version"),
        ({"port": 0}, "port"),
        ({"prefix": "a b"}, "prefix"),
        ({"hots": "x"}, "hots"),
    ],
)
def test_what_is_impossible_or_unknown_is_refused_by_name(wrong: dict[str, object], key: str) -> None:
    with pytest.raises(ValidationError, match=key):
        MqttSettings.model_validate(wrong)
