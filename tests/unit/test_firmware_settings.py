"""Settings: the example is the reference, and what is wrong is named."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from broker.contract.errors import ConfigurationError
from meter_firmware.settings import MeterSettings, OutboxSettings, SimulateSettings

EXAMPLE = Path(__file__).parents[2] / "meter_firmware" / "meter.example.toml"
MINIMAL = '[identity]\nname = "a"\n[hardware]\nserial = "1"\n'


def uncommented(text: str) -> str:
    """The example with its commented keys switched on."""
    return re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)


def keys(model: type[BaseModel], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= keys(field.annotation, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


def keys_in(table: dict[str, Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in table.items():
        found |= keys_in(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name}
    return found


def load(tmp_path: Path, text: str) -> MeterSettings:
    path = tmp_path / "meter.toml"
    path.write_text(text)
    return MeterSettings.load(path)


def test_the_example_loads() -> None:
    settings = MeterSettings.load(EXAMPLE)
    assert settings.hardware.as_message().serial == "PZEM-000001"
    assert (settings.sensor.kind, settings.relay.kind, settings.relay.pin) == ("pzem004t", "gpio", 17)


def test_the_example_shows_every_key_and_its_commented_ones_are_the_defaults(tmp_path: Path) -> None:
    text = uncommented(EXAMPLE.read_text())
    assert keys_in(tomllib.loads(text)) == keys(MeterSettings)
    files: tuple[str, ...] = ("identity", "ca", "cert", "key")  # there are none here
    files += ('host = "192', "tcp_port")  # instead of port
    shown = load(tmp_path, "\n".join(line for line in text.splitlines() if not line.startswith(files)))
    plain = MeterSettings.load(EXAMPLE)
    own: Any = {"mqtt": {"username", "password"}, "clock_synchronized": True}
    own["sensor"] = {"address", "baud_rate", "frame"}  # by default its kind's
    assert shown.model_dump(exclude=own) == plain.model_dump(exclude=own)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (MINIMAL.replace("[identity]", "intervall = 5\n[identity]"), "unknown key 'intervall'"),
        (MINIMAL + "[sensor]\nprot = 1\n", "unknown key 'sensor.prot'"),
        (MINIMAL + "[mqtt]\nhots = 1\n", "mqtt.hots"),
        (MINIMAL.replace("[identity]", "interval = 0\n[identity]"), "interval: "),
        (MINIMAL + "[sensor]\naddress = 255\n", "sensor.address: "),
        (MINIMAL + '[sensor]\nport = "/dev/ttyUSB0"\nhost = "m.example"\n', "sensor: give port "),
        (MINIMAL + "[sensor]\ntcp_port = 502\n", "sensor: tcp_port needs host"),
        (MINIMAL + '[sensor]\nframe = "9N1"\n', "sensor.frame: "),
        (MINIMAL + "[sensor]\nratio = 0\n", "sensor.ratio: "),
        (MINIMAL + '[relay]\nkind = "servo"\n', "relay.kind: "),
        (MINIMAL + "[relay]\npin = 40\n", "relay.pin: "),
        (MINIMAL.replace('"a"', '""'), "identity.name: "),
        (MINIMAL.replace('serial = "1"', ""), "hardware.serial: "),
        ("[identity\n", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert named in message
    assert "meter.toml" in message
    assert "\n" not in message


def test_a_missing_file_tells_where_to_begin(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="meter61850 meter example > "):
        MeterSettings.load(tmp_path / "none.toml")


def test_the_broker_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER61850_MQTT_HOST", "broker.example")
    monkeypatch.setenv("METER61850_MQTT_PORT", "8883")
    assert load(tmp_path, MINIMAL).mqtt.host == "broker.example"
    from_both = load(tmp_path, MINIMAL + '[mqtt]\nhost = "here"\n').mqtt
    assert (from_both.host, from_both.port) == ("here", 8883)


def test_the_outbox_holds_thirty_days_at_the_interval() -> None:
    assert OutboxSettings().capacity(10) == 259_200
    assert OutboxSettings(days=0.001).capacity(3600) == 1


def test_impossible_simulations_are_refused() -> None:
    with pytest.raises(ValidationError):
        SimulateSettings(n=0)
