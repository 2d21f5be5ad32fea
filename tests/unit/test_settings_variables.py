"""Each variable that docs/settings.md names has an effect: no option's default stands before it."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings
from typer.main import get_command
from typer.testing import CliRunner

from tools.docs.settings_reference import ELSEWHERE, FROM_THE_COMMAND

NAMES = ("--group", "Village", "--node", "office")
SERVICES = {
    "bridge": ("bridge", ()), "mms": ("bridge", ()), "web": ("web", ()), "homeassistant": ("announcing", ()),
    "sparkplug": ("edge_node", NAMES),
}  # fmt: skip
"""Command → the program that it runs, and options that it needs."""


@pytest.mark.parametrize("service", SERVICES)
def test_without_an_option_a_variable_counts(
    service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in os.environ:
        if name.startswith("METER61850_"):
            monkeypatch.delenv(name)
    program, needed = SERVICES[service]
    module = import_module(f"admin.commands.{service}")
    started: list[BaseSettings] = []

    async def take(settings: BaseSettings, **_: Any) -> None:
        started.append(settings)

    monkeypatch.setattr(getattr(module, program), "run", started.append if service == "bridge" else take)
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(module.app, ["run", *needed], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    (settings,) = started
    group: Any = get_command(module.app)
    variables = {option.envvar for option in group.commands["run"].params}
    prefix = str(settings.model_config["env_prefix"])
    assert settings.model_fields_set, "the command gives some"
    deaf = {
        variable
        for name, field in type(settings).model_fields.items()
        if name in settings.model_fields_set and field.annotation not in ELSEWHERE
        if (variable := prefix + name.upper()) not in variables | FROM_THE_COMMAND
    }
    assert deaf == set(), "it is given by the command, and the variable is not asked"
    assert settings.mqtt.model_fields_set == set()  # type: ignore[attr-defined]
