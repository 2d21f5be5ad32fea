"""docs/settings.md, written from the services' settings: every environment variable, default, meaning."""

from __future__ import annotations

from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from admin.options import DATABASE
from bridge.settings import BridgeSettings
from broker.mqtt.settings import MqttSettings
from mms_bridge.settings import MmsSettings
from tools.docs.topics import attribute_docstrings
from web.settings import WebSettings

_HEAD = """\
# Settings

Generated from the settings themselves by `make docs`: change it there. A service takes a setting from
its command line, then from the environment, then the default. Unknown keys in `meter.toml` and
impossible values refuse to start, naming the key. Passwords belong into the environment.

A meter has a file, `meter.toml`: `meter_firmware/meter.example.toml` explains each key. The broker has
`mosquitto.conf`, and the options of `meter61850 broker run` in [cli.md](cli.md).
"""
_OF_THE_COMMAND = {"METER61850_DATABASE_URL": DATABASE}
"""Defaults that the command line sets."""
SERVICES: tuple[tuple[str, type[BaseSettings]], ...] = (
    ("The broker's address, for every service", MqttSettings),
    ("`meter61850 bridge run`", BridgeSettings),
    ("`meter61850 mms run`", MmsSettings),
    ("`meter61850 web run`", WebSettings),
)


def settings_markdown() -> str:
    """The whole document."""
    return _HEAD + "".join(_section(title, model) for title, model in SERVICES)


def _section(title: str, model: type[BaseSettings]) -> str:
    meanings = attribute_docstrings(model)
    prefix = str(model.model_config.get("env_prefix", ""))
    rows = ""
    for name, field in model.model_fields.items():
        if field.default is PydanticUndefined:
            continue  # a group of settings with a section of its own
        variable = prefix + name.upper()
        default = _OF_THE_COMMAND.get(variable, field.default)
        shown = "" if default is None else f"`{default}`"
        rows += f"| `{variable}` | {shown} | {meanings.get(name, '')} |\n"
    return f"\n## {title}\n\n| variable | default | meaning |\n|---|---|---|\n{rows}"
