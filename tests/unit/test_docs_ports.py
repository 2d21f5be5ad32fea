"""The page about ports: its settings are good; each kind, cause of a fault and quantity is on it."""

from __future__ import annotations

import re
import tomllib

import pytest

from meter_firmware.sensors.kinds import kind
from meter_firmware.sensors.telegrams.obis import TABLE
from meter_firmware.settings import SensorSettings
from tests.support.project import ROOT

PAGE = (ROOT / "docs" / "connect-ports.md").read_text()
SENSORS = ROOT / "meter_firmware" / "sensors"
SOURCES = [*SENSORS.glob("*.py"), *(SENSORS / "telegrams").glob("*.py")]


def test_the_settings_of_the_page_open_a_sensor() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    settings = SensorSettings(**tomllib.loads(text)["sensor"])
    kind(settings.kind).open(settings).close()


@pytest.mark.parametrize("name", ["p1", "p1_v2", "sml", "iec62056_21", "mbus"])
def test_each_kind_is_on_the_page_with_its_line(name: str) -> None:
    source = (SENSORS / f"{name.removesuffix('_v2')}.py").read_text()
    lines = re.findall(r"baud_rate=([\d_]+), frame=\"(\w+)\"", source)
    baud_rate, frame = lines[1 if name == "p1_v2" else 0]
    assert re.search(rf"`{name}` \| {baud_rate.replace('_', '')} {frame}\b", PAGE)


def test_each_cause_of_a_fault_is_on_the_page() -> None:
    causes = {
        cause
        for file in SOURCES
        for cause in re.findall(r'SensorError\("(sensor [a-z ]+)"', file.read_text())
    }
    assert len(causes) >= 8
    assert [cause for cause in causes if cause not in " ".join(PAGE.split())] == []


def test_each_quantity_is_on_the_page() -> None:
    stems = {re.sub(r"_[lt]\d$", "", row.quantity) for row in TABLE}
    assert [stem for stem in stems if stem not in PAGE] == []
