"""docs/settings.md, written from the services' settings: every environment variable, default, meaning."""

from __future__ import annotations

from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from adapters.sparkplug.settings import SparkplugSettings, TargetSettings
from admin.options import DATABASE
from bridge.settings import BridgeSettings
from broker.daemon.mosquitto import BrokerSettings
from broker.mqtt.settings import MqttSettings
from mms_bridge.settings import MmsSettings
from tools.docs.topics import attribute_docstrings
from web.settings import WebSettings

_HEAD = """\
# Settings

`make docs` generates this file from the settings in the code: change it there. A service takes a setting
from its command line, then from the environment, then the default. A program does not start with an
unknown key in `meter.toml` or an invalid value, and names the key. Put passwords into the environment.

A meter has the file `meter.toml`; `meter_firmware/meter.example.toml` explains each key. Mosquitto's
`mosquitto.conf` follows from the settings of `meter61850 broker run`.
"""
_OF_THE_COMMAND = {"METER61850_DATABASE_URL": DATABASE}
"""Defaults that the command line sets."""
_FROM_THE_COMMAND = frozenset({"METER61850_BROKER_DATA_DIR", "METER61850_BROKER_USER"})
"""Fields that `broker run` sets itself, so that a variable has no effect."""
SERVICES: tuple[tuple[str, type[BaseSettings]], ...] = (
    ("The broker's address, for every service", MqttSettings),
    ("`meter61850 broker run`", BrokerSettings),
    ("`meter61850 bridge run`", BridgeSettings),
    ("`meter61850 mms run`", MmsSettings),
    ("`meter61850 web run`", WebSettings),
    ("`meter61850 sparkplug run`", SparkplugSettings),
    ("`meter61850 sparkplug run --target`: the other broker", TargetSettings),
)


def settings_markdown() -> str:
    """The whole document."""
    return _HEAD + "".join(_section(title, model) for title, model in SERVICES)


def _section(title: str, model: type[BaseSettings]) -> str:
    meanings = attribute_docstrings(model)
    prefix = str(model.model_config.get("env_prefix", ""))
    rows = ""
    for name, field in model.model_fields.items():
        variable = prefix + name.upper()
        if field.annotation is MqttSettings or variable in _FROM_THE_COMMAND:
            continue  # MqttSettings has its own section
        default = None if field.default is PydanticUndefined else _OF_THE_COMMAND.get(variable, field.default)
        shown = "" if default is None else f"`{default}`"
        rows += f"| `{variable}` | {shown} | {meanings.get(name, '')} |\n"
    return f"\n## {title}\n\n| variable | default | meaning |\n|---|---|---|\n{rows}"
