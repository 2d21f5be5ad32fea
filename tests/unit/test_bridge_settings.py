"""Settings of the bridge: what is impossible or unknown refuses to start, naming the key."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from bridge.settings import BridgeSettings
from bridge.store import database
from broker.contract.errors import ConfigurationError
from mms_bridge.settings import MmsSettings
from scl_builder.build.builder import build_cid
from scl_builder.build.project import Ied, Project
from scl_builder.model.logical_devices import OPERATE_TIMEOUT
from tests.support.scd import house


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batch_messages", 0),
        ("receive_maximum", 65_536),
        ("mms_port", 0),
        ("mms_host", "smgw.example"),
        ("report_instances", 100),
        ("control_model", "sbo"),
        ("max_meters_per_ied", 0),
        ("max_meters_per_ied", 101),
        ("databse_url", "sqlite:///x"),
    ],
)
def test_an_impossible_or_unknown_setting_names_its_key(key: str, value: object) -> None:
    with pytest.raises(ValidationError, match=key):
        BridgeSettings.model_validate({key: value})


def test_the_environment_sets_bridge_and_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER61850_DATABASE_URL", "postgresql://db/meters")
    monkeypatch.setenv("METER61850_MQTT_HOST", "broker.example")
    settings = BridgeSettings()
    assert (settings.database_url, settings.mqtt.host) == ("postgresql://db/meters", "broker.example")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("meter.sqlite", "is no URL"),
        ("mysql://db/meters", "mysql is not supported"),
        ("sqlite:////no/such/folder/meter.sqlite", "folder /no/such/folder does not exist"),
    ],
)
def test_a_database_url_of_no_use_says_so(url: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        database.connect(url)


@pytest.mark.parametrize(
    ("text", "length"),
    [("10m", timedelta(minutes=10)), ("36h", timedelta(hours=36)), ("2d", timedelta(days=2))],
)
def test_lengths_of_time(monkeypatch: pytest.MonkeyPatch, text: str, length: timedelta) -> None:
    monkeypatch.setenv("METER61850_PACK_AFTER", text)
    assert BridgeSettings().pack_after == length


@pytest.mark.parametrize("text", ["4m", "10", "10w", "-10m", "m"])
def test_impossible_lengths_of_time_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("METER61850_PACK_AFTER", text)
    with pytest.raises(ValidationError, match="pack_after"):
        BridgeSettings()


def test_one_operate_limit_for_file_and_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert BridgeSettings().mms_operate_limit == MmsSettings().operate_limit == OPERATE_TIMEOUT / 1000
    monkeypatch.setenv("METER61850_MMS_OPERATE_LIMIT", "20")
    assert BridgeSettings().mms_operate_limit == MmsSettings().operate_limit == 20
    plan = Project("p", 1, (Ied("SMGW001", "127.0.0.1", 102, (house(1),)),), operate_timeout=20_000)
    assert b"<Val>20000</Val>" in build_cid(plan, "SMGW001")
