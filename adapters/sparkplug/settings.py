"""Settings of Sparkplug B out: keyword arguments (the CLI), then ``METER61850_SPARKPLUG_*``.

>>> SparkplugSettings(group="Village", node="office").state.name
'sparkplug-Village-office.json'
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters.sparkplug.edge_node import REBIRTH_SECONDS
from adapters.sparkplug.names import checked_name
from broker.mqtt.settings import MqttSettings


class TargetSettings(MqttSettings):
    """Another broker, to which the edge node publishes (``--target``)."""

    model_config = SettingsConfigDict(env_prefix="METER61850_SPARKPLUG_TARGET_", extra="forbid", frozen=True)


class SparkplugSettings(BaseSettings):
    """Where the meters are heard, and as which edge node they are told."""

    model_config = SettingsConfigDict(env_prefix="METER61850_SPARKPLUG_", extra="forbid", frozen=True)

    mqtt: MqttSettings = Field(default_factory=MqttSettings)
    target: MqttSettings = Field(default_factory=MqttSettings)
    """The broker to which the edge node publishes: the same, or another one."""
    group: str
    """Group id of the edge node."""
    node: str
    """Its edge node id; no other program may use the same."""
    host: str = ""
    """Primary host: births wait for its STATE, and the node is offline while it is. Empty: none."""
    folder: Path = Path("data")
    """Where bdSeq is kept."""
    rebirth_seconds: Annotated[float, Field(ge=0, le=3600)] = REBIRTH_SECONDS
    """At least between two births on request."""
    stale_intervals: Annotated[float, Field(ge=1, le=1000)] = 3.0
    """Reading intervals without a reading after which values are null, as in MMS."""

    @field_validator("group")
    @classmethod
    def _group_is_a_name(cls, group: str) -> str:
        return checked_name(group, what="group")

    @field_validator("node")
    @classmethod
    def _node_is_a_name(cls, node: str) -> str:
        return checked_name(node, what="node")

    @field_validator("host")
    @classmethod
    def _host_is_a_name(cls, host: str) -> str:
        return checked_name(host, what="host") if host else host

    @model_validator(mode="after")
    def _target_lets_us_publish(self) -> Self:
        """An identity is for a broker of ours, which drops what is published on spBv1.0/ without a word."""
        source, target = self.mqtt, self.target
        same = (target.host, target.port) == (source.host, source.port)
        if target.identity or (same and target.cert):
            raise ValueError(
                f"target {target.host}:{target.port} is the broker of a deployment, where no identity may "
                "publish on spBv1.0/: give --target HOST[:PORT], another broker"
            )
        return self

    @property
    def state(self) -> Path:
        """The file with the last bdSeq."""
        words = [re.sub(r"[^0-9A-Za-z_.]", "_", name) for name in (self.group, self.node)]
        return self.folder / f"sparkplug-{'-'.join(words)}.json"
