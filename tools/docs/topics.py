"""docs/topics.md, written from the contract itself: topics from ``SPECS``, payloads from the models.

>>> topics_markdown().splitlines()[0]
'# Topics and payloads'
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from broker.attribute_docstrings import attribute_docstrings
from broker.contract.roles import Role
from broker.contract.specs import ALL, SPECS

_HEAD = """\
# Topics and payloads

The contract between meters, bridge, MMS bridge and all other MQTT clients. `make docs` generates this file
from `broker/contract/`.

Topics are below a prefix; the default is `sm/v1`. Payloads are JSON objects. The SCD and the CIDs are XML; an
SCD of more than 256 KiB (about 220 meters) is the same document compressed with xz, and begins with
`FD 37 7A 58 5A 00`. Unknown fields are ignored. A message has at most 1 MiB. Times are UTC with milliseconds,
`2026-11-23T12:00:00.000Z`. A quantity that the sensor does not measure is absent, never 0. `session` is new
at every connect. A last will contains its session, so an old will cannot mark a new session as offline.

An empty retained payload on `birth` withdraws the meter (`meter61850 meters retire`); one on `block`
releases nothing. A retained `command` is refused. Everything works on MQTT 3.1.1; on MQTT 5 commands also
have a message expiry.

## Topics

The first writer is the sender; the others repeat a message that a broker has lost, clear it or correct it.
"Heard by" names the programs that subscribe, "may read it" the roles that the broker lets subscribe beside
them. The broker's access control list is made from this table; the administrator may read everything, and an
operator or command issuer may be confined to some meters. `<identity>` is the name of the identity that
writes.

| topic | written by | heard by | may read it | QoS | retained | payload |
|---|---|---|---|---|---|---|
"""
_ROLES = {
    Role.METER: "meter",
    Role.BRIDGE: "bridge",
    Role.MMS: "MMS bridge",
    Role.REGISTRAR: "registrar",
    Role.WEB: "web service",
    Role.ADMIN: "administrator",
    Role.OPERATOR: "operator",
    Role.ISSUER: "command issuer",
    Role.HOMEASSISTANT: "Home Assistant",
    Role.HOMEASSISTANT_ISSUER: "Home Assistant that may switch",
    Role.CREDIT: "credit service",
}
_LIMITS = (
    ("minimum", "≥ {}"),
    ("exclusiveMinimum", "> {}"),
    ("maximum", "≤ {}"),
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minItems", "at least {}"),
    ("maxItems", "at most {}"),
    ("pattern", "`{}`"),
)


def topics_markdown() -> str:
    """The whole document."""
    text = _HEAD
    for spec in SPECS.values():
        payload = f"[{spec.model.__name__}](#{spec.model.__name__.lower()})" if spec.model else "XML document"
        retained = "yes" if spec.retained else "**never**" if spec.live_only else "no"
        may_read = "all" if set(ALL) <= {*spec.heard_by, *spec.readers} else _words(spec.readers) or "—"
        text += f"| `{spec.pattern}` | {_words(spec.writers)} | {_words(spec.heard_by)} | {may_read} "
        text += f"| {spec.qos} | {retained} | {payload} |\n"
    return text + "\n## Payloads\n" + "".join(_section(model) for model in _models())


def _words(roles: Sequence[Role]) -> str:
    return ", ".join(_ROLES[role] for role in roles)


def _models() -> Iterator[type[Any]]:
    """The payloads in the order of the topics, each followed by the objects that it is the first to use."""
    seen: set[type[Any]] = set()
    for spec in SPECS.values():
        if spec.model is not None:
            yield from _with_parts(spec.model, seen)


def _with_parts(model: type[Any], seen: set[type[Any]]) -> Iterator[type[Any]]:
    if model in seen:
        return
    seen.add(model)
    yield model
    if issubclass(model, BaseModel):
        for name in _referenced(model.model_json_schema()["properties"]):
            yield from _with_parts(getattr(sys.modules[model.__module__], name), seen)


def _referenced(schema: Any) -> Iterator[str]:
    """Names of the definitions that a JSON schema refers to."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for value in schema.values():
            yield from _referenced(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _referenced(value)


def _section(model: type[Any]) -> str:
    text = f"\n### {model.__name__}\n\n{inspect.cleandoc(model.__doc__ or '')}\n\n"
    if issubclass(model, StrEnum):
        return text + "One of " + ", ".join(f"`{member.value}`" for member in model) + ".\n"
    schema = model.model_json_schema()
    required = set(schema.get("required", ()))
    meanings = attribute_docstrings(model)
    text += "| field | type | required | meaning |\n|---|---|---|---|\n"
    for name, field in schema["properties"].items():
        kind = _escaped(_kind(field))
        needed = "yes" if name in required else "no"
        meaning = meanings.get(name) or field.get("description", "")
        text += f"| `{name}` | {kind} | {needed} | {_escaped(meaning)} |\n"
    return text


def _kind(field: dict[str, Any]) -> str:
    """A JSON schema in words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(_kind(part) for part in field["anyOf"] if part.get("type") != "null")
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    kind = "time" if field.get("format") == "date-time" else str(field.get("type", "any"))
    if kind == "array":
        kind = f"array of {_kind(field['items'])}"
    if kind == "object" and isinstance(field.get("additionalProperties"), dict):
        kind = f"object of {_kind(field['additionalProperties'])}"
    limits = [form.format(_number(field[key])) for key, form in _LIMITS if key in field]
    return ", ".join((kind, *limits))


def _number(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
