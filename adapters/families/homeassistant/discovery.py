"""A discovery message as what it describes: a device, and its sensors and switches that concern a meter.

The rules are those of Home Assistant 2026.2.3 (``components/mqtt/discovery.py``, ``schemas.py``): short keys,
``~``, components of one device in one message, keys that all components share. What has no device is ignored.

>>> told = {"device": {"ids": "a1"}, "dev_cla": "power", "unit_of_meas": "W", "stat_t": "n/p", "uniq_id": "x"}
>>> description("homeassistant/sensor/n/p/config", told, platform="sensor").entities[0].named.quantity
'power'
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from adapters.families.homeassistant.abbreviations import DEVICE_KEYS, expanded, long_keys
from adapters.families.homeassistant.evaluation import NoValueError
from adapters.families.homeassistant.naming import CLASSES, Named, named
from adapters.families.homeassistant.template import Template, UnsafeTemplateError
from adapters.family import Finding
from adapters.measured import UnreadableError, text

MAX_ENTITIES = 128
"""Of one device."""
OURS = "meter61850"
"""Name of the origin of our own meters' discovery: they are meters already."""
DEVICE = "device"


def _topic(told: str) -> str:
    if not told or len(told) > 512 or set(told) & set("+#\0") or told.startswith("$"):
        raise ValueError(f"{told[:80]!r} is no topic to read or write")
    return told


def _words(told: Any) -> Any:
    return str(told) if isinstance(told, bool | int | float) else told


def _identifiers(told: Any) -> Any:
    return [told] if isinstance(told, str | int) else told


Topic = Annotated[str, AfterValidator(_topic)]
Word = Annotated[str, BeforeValidator(_words), Field(max_length=512)]
Line = Annotated[str, BeforeValidator(lambda told: text(_words(told)))]


class _Told(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class DeviceInfo(_Told):
    """What a message says of the device."""

    identifiers: Annotated[list[Word], BeforeValidator(_identifiers), Field(max_length=16)] = []
    connections: Annotated[list[tuple[Word, Word]], Field(max_length=16)] = []
    name: Line = ""
    manufacturer: Line = ""
    model: Line = ""
    sw_version: Line = ""
    serial_number: Line = ""

    @property
    def mac(self) -> str:
        """Its MAC address in 12 small hex digits; empty without one."""
        return next((plain_mac(value) for kind, value in self.connections if kind == "mac"), "")

    @property
    def tokens(self) -> frozenset[str]:
        """By which messages of one device are found."""
        ids = {f"id {plain_mac(one)}" for one in self.identifiers if one}
        return frozenset(ids | {f"{kind} {plain_mac(value)}" for kind, value in self.connections if value})


class _Availability(_Told):
    topic: Topic
    payload_available: Word = "online"
    payload_not_available: Word = "offline"
    value_template: Word | None = None


class _Component(_Told):
    """The keys of a sensor or switch that we need."""

    name: Line = ""
    unique_id: Line = ""
    device_class: Line = ""
    state_class: Line = ""
    unit_of_measurement: Line = ""
    state_topic: Topic | None = None
    value_template: Word | None = None
    last_reset_value_template: Word | None = None
    expire_after: Annotated[float, Field(ge=0, le=1e7)] = 0.0
    availability: Annotated[list[_Availability], Field(max_length=16)] = []
    availability_topic: Topic | None = None
    availability_template: Word | None = None
    availability_mode: Literal["all", "any", "latest"] = "latest"
    payload_available: Word = "online"
    payload_not_available: Word = "offline"
    command_topic: Topic | None = None
    command_template: Word | None = None
    payload_on: Word = "ON"
    payload_off: Word = "OFF"
    state_on: Word | None = None
    state_off: Word | None = None
    optimistic: bool = False
    retain: bool = False

    def sources(self) -> Iterator[Source]:
        """Where it says whether it is there."""
        for one in self.availability:
            words = {one.payload_available: True, one.payload_not_available: False}
            yield Source(one.topic, _template(one.value_template), words)
        if self.availability_topic and not self.availability:
            words = {self.payload_available: True, self.payload_not_available: False}
            yield Source(self.availability_topic, _template(self.availability_template), words)


@dataclass(frozen=True)
class Source:
    """A topic, how it is read, and which of its words means true or false."""

    topic: str
    template: Template | None
    words: dict[str, bool]


@dataclass(frozen=True)
class Switch:
    """How to switch a relay: topic and payloads."""

    topic: str
    on: str
    off: str
    confirms: bool
    """Its state is what the device did (ESPHome), and no echo of the wish."""


@dataclass(frozen=True)
class Entity:
    """A sensor or a switch."""

    id: str
    """Its discovery topic and its key in it."""
    name: str
    unique_id: str
    state: Source
    named: Named | None
    """What a sensor measures."""
    switch: Switch | None
    availability: tuple[Source, ...]
    mode: str
    expire_after: float
    balance: bool
    """A counter that may fall without having been reset."""


@dataclass(frozen=True)
class Description:
    """What one discovery message says."""

    info: DeviceInfo
    entities: tuple[Entity, ...]
    findings: tuple[Finding, ...]
    doubts: tuple[str, ...] = ()


def plain_mac(told: str) -> str:
    """A MAC address in 12 small hex digits; anything else as it is."""
    bare = re.sub(r"[:.-]", "", told).lower()
    return bare if re.fullmatch(r"[0-9a-f]{12}", bare) else told


def description(topic: str, told: dict[str, Any], *, platform: str) -> Description | None:
    """What the message on a discovery topic of ``platform`` describes; None without a device, or of ours.

    UnreadableError when it is no discovery message.
    """
    whole = expanded(told)
    device, origin = whole.get("device"), whole.get("origin")
    if not isinstance(device, dict) or (isinstance(origin, dict) and origin.get("name") == OURS):
        return None
    info = _valid(DeviceInfo, long_keys(device, DEVICE_KEYS), topic)
    if not info.tokens:
        return None
    found = Description(info, (), ())
    for key, component in _components(topic, whole, platform):
        found = _with(found, f"{topic}#{key}", component)
    return found


def _components(topic: str, whole: dict[str, Any], platform: str) -> list[tuple[str, dict[str, Any]]]:
    """Key and settings of each component; a component's own setting wins over the shared one."""
    if platform != DEVICE:
        return [("", whole | {"platform": platform})]
    parts = whole.get("components")
    if not isinstance(parts, dict) or len(parts) > MAX_ENTITIES:
        raise UnreadableError("discovery message is not valid", f"{topic}: 1 to {MAX_ENTITIES} components")
    shared = {key: value for key, value in whole.items() if key not in ("components", DEVICE, "origin")}
    own = ((key, expanded(part)) for key, part in parts.items() if isinstance(part, dict))
    return [(str(key)[:64], shared | part) for key, part in own if set(part) - {"platform"}]


def _with(found: Description, name: str, told: dict[str, Any]) -> Description:
    """``found`` with one more component, or with the reason why it is left out."""
    platform, kind = told.get("platform"), told.get("device_class")
    is_sensor = platform == "sensor" and isinstance(kind, str) and kind in CLASSES
    if not is_sensor and platform != "switch":
        return found
    try:
        entity = _entity(name, _valid(_Component, told, name), is_switch=not is_sensor)
    except UnreadableError as error:
        return replace(found, findings=(*found.findings, error.finding))
    except (UnsafeTemplateError, NoValueError) as error:
        left_out = f"{told.get('name') or name} is left out: {error}"
        finding = Finding("template is not evaluated", f"{name}: {error}")
        return replace(found, findings=(*found.findings, finding), doubts=(*found.doubts, text(left_out)))
    return found if entity is None else replace(found, entities=(*found.entities, entity))


def _valid(model: type[Any], told: dict[str, Any], where: str) -> Any:
    try:
        return model.model_validate({key: value for key, value in told.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        what = ".".join(str(part) for part in first["loc"])
        raise UnreadableError(
            "discovery message is not valid", f"{where[:200]}: {what}: {first['msg']}"
        ) from None


def _entity(name: str, told: _Component, *, is_switch: bool) -> Entity | None:
    """The sensor or switch; None for one without a topic or a known unit."""
    measures = None if is_switch else _named(told)
    if told.state_topic is None or (measures is None and not is_switch):
        return None
    on, off = told.state_on or told.payload_on, told.state_off or told.payload_off
    words = {on: True, off: False} if is_switch else {}
    return Entity(
        id=name,
        name=told.name,
        unique_id=told.unique_id,
        state=Source(told.state_topic, _template(told.value_template), words),
        named=measures,
        switch=_switch(told) if is_switch else None,
        availability=tuple(told.sources()),
        mode=told.availability_mode,
        expire_after=told.expire_after,
        balance=told.state_class == "total" and told.last_reset_value_template is None,
    )


def _named(told: _Component) -> Named | None:
    return named(told.device_class, told.unit_of_measurement, name=told.name, unique_id=told.unique_id)


def _switch(told: _Component) -> Switch | None:
    """None for one that is never to be switched from here: its commands would be retained, or it has none."""
    if told.command_topic is None or told.retain:
        return None
    on, off = told.payload_on, told.payload_off
    if told.command_template is not None:
        template = Template(told.command_template)
        on, off = template.command(on), template.command(off)
    return Switch(told.command_topic, on, off, confirms=not told.optimistic and is_esphome(told))


def is_esphome(told: _Component) -> bool:
    """Whether the topics are an ESPHome switch's: ``…/switch/<name>/state`` and ``…/command``."""
    state, command = told.state_topic or "", told.command_topic or ""
    head, _, last = state.rpartition("/")
    return last == "state" and command == f"{head}/command" and "/switch/" in head and not told.value_template


def _template(source: str | None) -> Template | None:
    return None if source is None or not source.strip() else Template(source)
