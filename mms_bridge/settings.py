"""Settings of the MMS bridge: keyword arguments (the CLI), then ``METER61850_MMS_*``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from broker.settings import MqttSettings, Port


class MmsSettings(BaseSettings):
    """What the MMS bridge needs; where it listens stands in each CID's Communication section."""

    model_config = SettingsConfigDict(env_prefix="METER61850_MMS_", extra="forbid", frozen=True)

    mqtt: MqttSettings = Field(default_factory=MqttSettings)
    metrics_port: Port | None = None
    """Where /metrics and /healthz are served; nowhere unless told."""
    metrics_address: str = "127.0.0.1"
    """Local address for them; 0.0.0.0 in a container."""
    bind: str | None = None
    """Local address to listen on; by default the IP that the CID tells the clients."""
    tick: Annotated[float, Field(ge=0.01, le=1.0)] = 0.1
    """Seconds between periodic tasks (integrity reports, select timeouts)."""
    control_tick: Annotated[float, Field(ge=0.005, le=1.0)] = 0.01
    """The same while a command is under way."""
    operate_limit: Annotated[float, Field(gt=0, le=60)] = 5.0
    """Seconds that a meter has to obey and answer; then the operate ends negatively."""
    stale_intervals: Annotated[float, Field(ge=1, le=1000)] = 3.0
    """Reading intervals without a reading after which the values are questionable."""
