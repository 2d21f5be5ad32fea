"""What the adapter must be told: brokers and families, and which devices become meters.

It reads ``adapters.toml`` (adapters.example.toml is the reference). An unknown key or an impossible value
refuses to start, with the name of the key.

>>> AdapterSettings.load(Path("adapters/adapters.example.toml")).source[0].family
'tasmota'
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters.acceptance import Rule
from adapters.families.registry import family
from broker.contract.errors import ConfigurationError
from broker.mqtt.settings import MqttSettings
from broker.validation import first_complaint
from meter_firmware.settings import Interval, OutboxSettings

EXAMPLE = "adapters/adapters.example.toml"


class SourceMqtt(MqttSettings):
    """A broker of the devices; its password may come from ``METER61850_SOURCE_MQTT_PASSWORD``."""

    model_config = SettingsConfigDict(env_prefix="METER61850_SOURCE_MQTT_", extra="forbid", frozen=True)


class SourceSettings(BaseModel):
    """One family of devices on one broker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]
    """For logs, metrics and files."""
    family: str
    """One of `adapters.families`."""
    interval: Interval = 60
    """Seconds between a device's messages, where its family does not tell; three of them without one are
    silence."""
    mqtt: SourceMqtt | None = None
    """The devices' broker; default: that of the meters."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The family's own keys."""

    @model_validator(mode="after")
    def _family_takes_the_options(self) -> Self:
        try:
            kind = family(self.family)
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        try:
            kind.options.model_validate(self.options)
        except ValidationError as error:
            raise ValueError(f"options of the family {self.family}: {first_complaint(error)}") from error
        return self


def _differ(sources: Sequence[SourceSettings]) -> Sequence[SourceSettings]:
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two sources are called {twice[0]!r}: give each a name of its own")
    return sources


class AdapterSettings(BaseSettings):
    """One adapter process."""

    model_config = SettingsConfigDict(env_prefix="METER61850_ADAPTER_", extra="forbid", frozen=True)

    source: Annotated[tuple[SourceSettings, ...], Field(min_length=1), AfterValidator(_differ)]
    accept: tuple[Rule, ...] = ()
    """Rules; what was accepted by command stands in a file in ``data_dir``."""
    data_dir: Path = Path("/var/lib/meter61850-adapter")
    """Folder of the meters' outboxes and identities: do not lose it."""
    outbox: OutboxSettings = OutboxSettings()
    clock_synchronized: bool | None = None
    """Whether NTP keeps this machine's clock; None: ask the kernel."""
    mqtt: MqttSettings = Field(default_factory=MqttSettings)
    """The broker of the meters."""

    @model_validator(mode="after")
    def _rules_name_sources(self) -> Self:
        for rule in self.accept:
            if why := self.no_source(rule.source, rule.family):
                raise ValueError(why)
        return self

    def no_source(self, name: str, family: str) -> str:
        """Why a rule for this family cannot name this source, or an empty text."""
        families = {source.name: source.family for source in self.source}
        if not name or families.get(name) == family:
            return ""
        known = ", ".join(families)
        return f"there is no source {name!r} of the family {family!r}: use one of {known}"

    @classmethod
    def load(cls, path: Path) -> Self:
        """The settings in a TOML file; ConfigurationError names the file and the key."""
        try:
            return cls(**tomllib.loads(path.read_text(encoding="utf-8-sig")))
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}: begin with a copy of {EXAMPLE}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} is not TOML: {error}") from error
        except ValidationError as error:
            raise ConfigurationError(f"{path}: {_first(error)}") from error

    def mqtt_of(self, source: SourceSettings) -> MqttSettings:
        """The broker on which this source's devices are."""
        return source.mqtt or self.mqtt


def _first(error: ValidationError) -> str:
    """The first complaint, in one line that names the key."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "extra_forbidden":
        return f"unknown key {'.'.join(str(part) for part in first['loc'])!r}: see {EXAMPLE}"
    value = first.get("input")
    told = f" (it is {value!r:.80})" if isinstance(value, str | int | float | bool) else ""
    return first_complaint(error) + told
