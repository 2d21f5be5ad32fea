"""Settings of the bridge: keyword arguments (the CLI), then the environment (``METER61850_…``).

>>> BridgeSettings(max_meters_per_ied=20).database_url
'sqlite:///meter61850.sqlite'
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated

from pydantic import Field, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from broker.settings import MqttSettings, Port
from scl_builder.project import MAX_REPORT_INSTANCES, ControlModel


class BridgeSettings(BaseSettings):
    """MQTT → database → SCL."""

    model_config = SettingsConfigDict(env_prefix="METER61850_", extra="forbid", frozen=True)

    mqtt: MqttSettings = Field(default_factory=MqttSettings)
    database_url: str = "sqlite:///meter61850.sqlite"
    """``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/NAME``."""
    client_id: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "meter61850-bridge"
    """The broker keeps the session of this client id while the bridge is away: one bridge, one id."""
    session_expiry: Annotated[int, Field(ge=60, lt=2**32)] = 7 * 86_400
    """Seconds for which the broker keeps it (MQTT 5)."""

    batch_messages: Annotated[int, Field(ge=1, le=30_000)] = 5000
    """Messages in one commit, about."""
    batch_seconds: Annotated[float, Field(ge=0, le=10)] = 0.05
    """Seconds for which a message may wait for others to be committed with it."""
    queue_bytes: Annotated[int, Field(ge=1024 * 1024)] = 64 * 1024 * 1024
    """Bytes of messages that may wait for the database; then the broker keeps the rest."""
    receive_maximum: Annotated[int, Field(ge=1, le=65535)] = 10_000
    """Unacknowledged messages that the broker may send (MQTT 5): two batches."""
    drain_seconds: Annotated[float, Field(ge=0, le=60)] = 2.0
    """Seconds for which a stop may wait for what has been received to be stored."""
    status_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """Seconds between two publications of our status."""

    project_name: Annotated[str, StringConstraints(min_length=1, max_length=255)] = "meter61850"
    """Name of the SCD."""
    max_meters_per_ied: Annotated[int, Field(ge=1, le=1000)] = 50
    mms_host: IPv4Address = IPv4Address("127.0.0.1")
    """Address at which SCADA reaches the MMS servers; it stands in the SCD."""
    mms_port: Port = 102
    """MMS port of the first IED; the next ones follow."""
    report_instances: Annotated[int, Field(ge=1, le=MAX_REPORT_INSTANCES)] = 1
    control_model: ControlModel = "sbo-with-enhanced-security"
