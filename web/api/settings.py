"""The settings that the service runs with, and where each comes from; secrets are not shown.

>>> rows = setting_rows(WebSettings(port=8062), {})  # doctest: +SKIP
>>> [(row["name"], row["value"], row["source"]) for row in rows][3]  # doctest: +SKIP
('METER61850_WEB_PORT', '8062', 'command line')
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from starlette.responses import Response

from broker import environment
from broker.attribute_docstrings import attribute_docstrings
from broker.contract.errors import ConfigurationError, CredentialError
from broker.mqtt.identity import CONNECTION, IdentityFolder
from broker.mqtt.settings import MqttSettings
from web.api.common import also, problems
from web.auth.guard import Administrator
from web.parts import parts_of
from web.serving.answers import XML, answer
from web.settings import WebSettings

router = APIRouter(tags=["operations"])

HIDDEN = "set, not shown"
DEPLOYMENT = "METER61850_DIR"
"""Names the folder whose ``meter61850.env`` was put into our environment."""
_OTHER_NAMES = {"METER61850_WEB_DATABASE_URL": "METER61850_DATABASE_URL"}
"""Variables of the command line, which gives the setting to the service."""
Source = Literal["default", "environment", "file", "command line"]


class SettingRow(BaseModel):
    """One setting."""

    name: str
    """The environment variable that sets it."""
    value: str
    """As text; empty: none. A secret is not shown."""
    source: Source
    file: str
    """The file that it comes from; empty for other sources."""
    meaning: str


class SettingList(BaseModel):
    """All settings of the web service."""

    settings: list[SettingRow]


@router.get("/settings", response_model=SettingList, responses={**problems(406), **also(XML)})
def settings(request: Request, _caller: Administrator) -> Response:
    """The settings of the web service and where each comes from. Nobody can change them here."""
    rows = setting_rows(parts_of(request).settings, os.environ)
    return answer(request, {"settings": rows}, root="settings")


def setting_rows(settings: WebSettings, variables: Mapping[str, str]) -> list[dict[str, str]]:
    """Every setting, also those of the broker's address and of the calendar. It reads small files."""
    files = _files(settings.mqtt, variables)
    models = (settings, settings.mqtt, settings.calendar)
    return [row for model in models for row in _rows(model, variables, files)]


def _rows(
    model: BaseSettings, variables: Mapping[str, str], files: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, str]]:
    meanings = attribute_docstrings(type(model))
    prefix = str(model.model_config.get("env_prefix", ""))
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseSettings):
            continue
        variable = prefix + name.upper()
        variable = _OTHER_NAMES.get(variable, variable)
        source, file = _source(field, variable, value, variables, files)
        shown = _shown(name, value)
        meaning = meanings.get(name, "").replace("``", "")
        yield {"name": variable, "value": shown, "source": source, "file": file, "meaning": meaning}


def _source(
    field: FieldInfo,
    variable: str,
    value: Any,
    variables: Mapping[str, str],
    files: Mapping[str, Mapping[str, Any]],
) -> tuple[Source, str]:
    """Where ``value`` comes from, and the file."""
    text = variables.get(variable)
    if text is not None and _means(field, text, value):
        file = next((file for file, told in files.items() if told.get(variable) == text), "")
        return ("file", file) if file else ("environment", "")
    for file, told in files.items():
        if variable in told and text is None and _means(field, told[variable], value):
            return "file", file
    if text is None and value == field.default:
        return "default", ""
    return "command line", ""


def _means(field: FieldInfo, told: Any, value: Any) -> bool:
    """Whether ``told``, of a variable or a file, is ``value``."""
    kind: Any = Annotated[field.annotation, field]
    try:
        found = TypeAdapter(kind).validate_python(told)
    except ValidationError:
        return False
    return found == value or (isinstance(value, str) and str(found).rstrip("/") == value)


def _files(mqtt: MqttSettings, variables: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """File → what it sets: the deployment's, and our identity's connection."""
    found: dict[str, dict[str, Any]] = {}
    if folder := variables.get(DEPLOYMENT):
        file = Path(folder) / environment.ENV
        try:
            found[str(file)] = dict(environment.read(file))
        except ConfigurationError:
            found[str(file)] = {}
    if mqtt.identity is not None:
        try:
            told = IdentityFolder.load(mqtt.identity).settings()
        except CredentialError:
            told = {}
        prefix = str(mqtt.model_config.get("env_prefix", ""))
        found[str(mqtt.identity / CONNECTION)] = {
            prefix + name.upper(): value for name, value in told.items() if value is not None
        }
    return found


def _shown(name: str, value: Any) -> str:
    """``value`` as text, without secrets."""
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return HIDDEN
    if name == "database_url":
        try:
            return make_url(str(value)).set(query={}).render_as_string(hide_password=True)
        except ArgumentError:
            return HIDDEN
    return str(value).lower() if isinstance(value, bool) else str(value)
