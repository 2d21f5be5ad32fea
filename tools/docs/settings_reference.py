"""docs/settings.md, written from the services' settings: every environment variable, default, meaning."""

from __future__ import annotations

from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from adapters.homeassistant.service import HomeAssistantSettings
from adapters.sparkplug.settings import SparkplugSettings, TargetSettings
from admin.options import DATABASE
from bridge.billing_settings import BillingSettings
from bridge.credit.settings import CreditSettings
from bridge.settings import BridgeSettings
from broker.attribute_docstrings import attribute_docstrings
from broker.calendar import CalendarSettings
from broker.daemon.mosquitto import BrokerSettings
from broker.host_clock import ClockSettings
from broker.mqtt.settings import MqttSettings
from mms_bridge.settings import MmsSettings
from web.settings import WebSettings

_HEAD = """\
# Settings

`make docs` generates this file from the settings in the code: change it there. A service takes a setting
from its command line, then from the environment, then the default. A program does not start with an
unknown key in `meter.toml` or an invalid value, and names the key. Put passwords into the environment.

A meter has the file `meter.toml`; `meter61850 meter example` explains each key. Mosquitto's
`mosquitto.conf` follows from the settings of `meter61850 broker run`.
"""
_OF_THE_COMMAND = {"METER61850_DATABASE_URL": DATABASE}
"""Defaults that the command line sets."""
FROM_THE_COMMAND = frozenset(
    {
        "METER61850_BROKER_DATA_DIR",
        "METER61850_BROKER_USER",
        "METER61850_SPARKPLUG_FOLDER",
        "METER61850_WEB_DATABASE_URL",
    }
)
"""Fields that a command sets itself, so that the variable has no effect."""
ELSEWHERE = (MqttSettings, ClockSettings, CalendarSettings, CreditSettings, BillingSettings)
"""Fields of several services: two have a section of their own, the clock is among the bridge's."""
SERVICES: tuple[tuple[str, type[BaseSettings]], ...] = (
    ("The broker's address, for every service", MqttSettings),
    ("The utility's time zone and tariffs, for all that has days or tariffs", CalendarSettings),
    ("Prices, for `bridge run`, `web run` and `credit`", CreditSettings),
    ("`meter61850 broker run`", BrokerSettings),
    ("`meter61850 bridge run`", BridgeSettings),
    ("`meter61850 bridge run`: billing", BillingSettings),
    ("`meter61850 mms run`", MmsSettings),
    ("`meter61850 web run`", WebSettings),
    ("`meter61850 homeassistant run`", HomeAssistantSettings),
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
    inherited = {name for base in model.__bases__ if base in ELSEWHERE for name in base.model_fields}
    for name, field in model.model_fields.items():
        if name in inherited:
            continue
        variable = prefix + name.upper()
        if field.annotation in ELSEWHERE or variable in FROM_THE_COMMAND:
            continue
        default = None if field.default is PydanticUndefined else _OF_THE_COMMAND.get(variable, field.default)
        shown = "" if default is None else f"`{default}`"
        rows += f"| `{variable}` | {shown} | {meanings.get(name, '')} |\n"
    return f"\n## {title}\n\n| variable | default | meaning |\n|---|---|---|\n{rows}"
