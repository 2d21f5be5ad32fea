"""The page about wired meters: its settings are good, and each kind on Modbus is on it."""

from __future__ import annotations

import re
import tomllib

import pytest

from meter_firmware.sensors.kinds import kind, kinds
from meter_firmware.sensors.modbus.registration import MODELS
from meter_firmware.settings import SensorSettings
from tests.support.project import ROOT

PAGE = (ROOT / "docs" / "connect-wired.md").read_text()
SETTINGS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
kinds()


@pytest.mark.parametrize("text", SETTINGS)
def test_settings_of_the_page_open_a_sensor(text: str) -> None:
    settings = SensorSettings(**tomllib.loads(text)["sensor"])
    sensor = kind(settings.kind).open(settings)
    assert sensor.measures
    sensor.close()


def test_every_family_has_settings() -> None:
    assert len(SETTINGS) >= PAGE.count("\n## ") - 4


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_on_modbus_is_on_the_page(name: str) -> None:
    family = {"sdm120", "sdm220", "sdm230", "sdm54", "pzem017"}
    assert f"`{name}`" in PAGE or f'"{name}"' in PAGE or (name in family and name[3:].upper() in PAGE.upper())


def test_every_cause_of_a_fault_is_on_the_page() -> None:
    sources = "".join(file.read_text() for file in (ROOT / "meter_firmware/sensors/modbus").glob("*.py"))
    causes = set(re.findall(r'"(sensor (?:does|refuses|answer|port|is of)[^":]*|values are [^"]*)"', sources))
    assert len(causes) >= 6
    assert [cause for cause in causes if f"| {cause} |" not in PAGE] == []


def test_the_kinds_that_the_example_names_exist() -> None:
    text = (ROOT / "meter_firmware" / "meter.example.toml").read_text()
    (listed,) = re.findall(r"# .*Some kinds: (.*?)\.\n\[sensor\]", text, re.DOTALL)
    names = re.sub(r"\(.*?\)|#", "", listed).replace("\n", " ").split(",")
    assert len(names) > 10
    assert {name.strip() for name in names} <= set(MODELS)
