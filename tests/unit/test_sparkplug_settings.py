"""Where the Sparkplug edge node may publish: nobody may on spBv1.0/ at the broker of a deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.sparkplug.settings import SparkplugSettings, TargetSettings
from admin.commands import sparkplug
from admin.deployments import DIR, IDENTITY
from broker.contract.errors import ConfigurationError
from broker.mqtt.settings import MqttSettings
from registrar.init_deployment import NewDeployment, new_deployment


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> MqttSettings:
    """The broker of a deployment, with the identity of one who may read there."""
    deployment = new_deployment(tmp_path_factory.mktemp("sparkplug") / "d", NewDeployment())
    return MqttSettings(identity=deployment.identity_folder("admin"))


def node(mqtt: MqttSettings, target: MqttSettings) -> SparkplugSettings:
    return SparkplugSettings(group="Village", node="office", mqtt=mqtt, target=target)


def test_a_deployments_broker_is_refused_as_target(source: MqttSettings) -> None:
    parts: dict[str, Any] = {name: getattr(source, name) for name in ("host", "port", "ca", "cert", "key")}
    for target in (source, MqttSettings(**parts), TargetSettings(identity=source.identity, host="other")):
        with pytest.raises(ValidationError, match=r"spBv1\.0/: give --target") as caught:
            node(source, target)
        assert f"{target.host}:{target.port}" in str(caught.value)


def test_another_broker_is_taken_also_one_with_certificates(source: MqttSettings) -> None:
    login: dict[str, Any] = {"ca": source.ca, "cert": source.cert, "key": source.key}
    for target in (TargetSettings(host="plant.local"), TargetSettings(host="plant.local", **login)):
        assert node(source, target).target.host == "plant.local"
    plain = MqttSettings(host="trial.local")
    assert node(plain, plain).target == plain


def test_a_deployment_without_its_identity_asks_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DIR, str(tmp_path))
    monkeypatch.delenv(IDENTITY, raising=False)
    with pytest.raises(ConfigurationError, match="identity add sparkplug --role operator"):
        sparkplug.run("Village", "office", target="plant.local")


@pytest.mark.parametrize(
    ("given", "environment", "place"),
    [
        (None, {}, None),
        ("plant.local", {}, ("plant.local", 1883)),
        ("plant.local:1884", {"HOST": "ignored"}, ("plant.local", 1884)),
        (None, {"HOST": "plant.local"}, ("plant.local", 1883)),
        (None, {"HOST": "plant.local", "PORT": "8883"}, ("plant.local", 8883)),
        (None, {"HOST": ""}, None),
    ],
)
def test_the_target_is_the_commands_or_the_environments(
    source: MqttSettings,
    monkeypatch: pytest.MonkeyPatch,
    given: str | None,
    environment: dict[str, str],
    place: tuple[str, int] | None,
) -> None:
    """The identity for our broker, with its port and login, has nothing to do with it."""
    monkeypatch.setenv(IDENTITY, str(source.identity))
    for name, value in environment.items():
        monkeypatch.setenv(f"METER61850_SPARKPLUG_TARGET_{name}", value)
    target = sparkplug._target(given)
    assert (target and (target.host, target.port)) == place
    assert target is None or (target.identity, target.ca) == (None, None)
