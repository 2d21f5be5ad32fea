"""Settings of the MMS bridge: keyword arguments (the CLI), then ``METER61850_MMS_*``."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from broker.settings import MqttSettings, Port
from mms_bridge.selection import IedSelection, selection


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
    ieds: Annotated[IedSelection, BeforeValidator(selection)] | None = None
    """Serve only these IEDs, such as SMGW001-SMGW100,SMGW150: several processes share a town."""
    drain_seconds: Annotated[float, Field(ge=1)] | None = None
    """Seconds for which an association may hold on to a replaced configuration; for ever unless told."""
    tick: Annotated[float, Field(ge=0.01, le=1.0)] = 0.1
    """Seconds between periodic tasks (integrity reports, select timeouts)."""
    control_tick: Annotated[float, Field(ge=0.005, le=1.0)] = 0.01
    """The same while a command is under way."""
    operate_limit: Annotated[float, Field(gt=0, le=60)] = 5.0
    """Seconds that a meter has to obey and answer; then the operate ends negatively."""
    stale_intervals: Annotated[float, Field(ge=1, le=1000)] = 3.0
    """Reading intervals without a reading after which the values are questionable."""

    @property
    def service(self) -> str:
        """Name of the service whose status we publish."""
        return "mms" if self.ieds is None else f"mms_{self.ieds.first}"
