"""What a meter, and a simulation of many, must be told.

A meter reads ``meter.toml`` (:data:`EXAMPLE` is the reference); the MQTT part may also come from
the environment (``METER61850_MQTT_HOST`` and so on). Unknown keys and impossible values refuse to
start, naming the key.

>>> MeterSettings.load(Path("meter_firmware/meter.example.toml")).relay.pin
17
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from broker.contract.birth import Hardware
from broker.contract.errors import ConfigurationError
from broker.contract.messages import Text
from broker.mqtt.settings import MqttSettings
from broker.validation import first_complaint
from meter_firmware.enrolment.credentials import settle

EXAMPLE = Path(__file__).with_name("meter.example.toml")
"""The reference: every key, explained (`meter61850 meter example`)."""
Interval = Annotated[float, Field(ge=0.05, le=86_400)]
IDENTITY = "identity"
"""Name of the identity folder in a meter's data folder."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Identity(_Part):
    """Who and where; shown in the SCD and in every list."""

    name: Annotated[Text, Field(min_length=1)]
    owner: Text = ""
    address: Text = ""
    address_code: Text = ""


class HardwareSettings(_Part):
    """What is on the wall; ``serial`` belongs to this meter_id for ever."""

    vendor: Text = ""
    model: Text = ""
    serial: Annotated[Text, Field(min_length=1)]

    def as_message(self) -> Hardware:
        """As the birth tells it."""
        return Hardware(vendor=self.vendor, model=self.model, serial=self.serial)


class SensorSettings(_Part):
    """A sensor on a serial port, or on a TCP port. None stands for what is usual for its kind."""

    kind: str = "pzem004t"
    """What it is: one of `meter_firmware.sensors.kinds`."""
    port: str = "/dev/serial0"
    """Serial device; pyserial's ``socket://host:port`` is a gateway that passes serial bytes on."""
    host: Annotated[Text, Field(min_length=1)] | None = None
    """Name or address of a sensor on TCP; it stands instead of ``port``."""
    tcp_port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    address: Annotated[int, Field(ge=0, le=254)] | None = None
    """On the bus. Modbus: 1 … 247; a PZEM also answers 0xF8 when it is alone on its line."""
    baud_rate: Annotated[int, Field(ge=300, le=921_600)] | None = None
    frame: Annotated[str, Field(pattern=r"^[78][NEO][12]$")] | None = None
    """Data bits, parity (none, even, odd) and stop bits of the serial line: ``8N1``."""
    reverse: bool = False
    """The meter is wired the other way: what it calls import is export."""
    ratio: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] = 1.0
    """Of the current transformers (100:5 is 20), for a meter that does not apply it by itself."""

    @model_validator(mode="after")
    def _one_way_to_it(self) -> Self:
        if self.host is not None and "port" in self.model_fields_set:
            raise ValueError("give port (a serial device) or host (TCP), not both")
        if self.host is None and self.tcp_port is not None:
            raise ValueError("tcp_port needs host")
        return self


class RelaySettings(_Part):
    """Normally closed relay: de-energised means that the house has power."""

    kind: Literal["gpio", "simulated", "none"] = "gpio"
    """``none``: the meter only measures, and refuses every command."""
    pin: Annotated[int, Field(ge=0, le=27)] = 17
    """BCM number."""
    active_low: bool = False
    local: bool = False
    """Only a hand at the meter may switch: commands are refused."""


class OutboxSettings(_Part):
    """How long readings are kept and when they are sent again."""

    days: Annotated[float, Field(gt=0, le=3650)] = 30
    resend_after: Annotated[float, Field(ge=0.05, le=3600)] = 30
    """Seconds without ``stored`` after which a reading is sent again."""

    def capacity(self, interval: float) -> int:
        """Readings that the outbox holds at ``interval`` seconds."""
        return max(1, int(self.days * 86_400 / interval))


class MeterSettings(BaseSettings):
    """One meter."""

    model_config = SettingsConfigDict(env_prefix="METER61850_METER_", extra="forbid", frozen=True)

    identity: Identity
    hardware: HardwareSettings
    sensor: SensorSettings = SensorSettings()
    relay: RelaySettings = RelaySettings()
    outbox: OutboxSettings = OutboxSettings()
    interval: Interval = 10
    """Seconds between readings."""
    data_dir: Path = Path("/var/lib/meter61850/meter")
    clock_synchronized: bool | None = None
    """Whether NTP keeps the clock; None: ask the kernel."""
    clock_wait: Annotated[float, Field(ge=0, le=86_400)] = 180
    """Seconds after the start of the machine for which NTP is awaited before anything is published."""
    mqtt: MqttSettings = Field(default_factory=MqttSettings)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The settings in a TOML file; ConfigurationError names the file and the key.

        A meter that is enrolled (`meter61850 meter enrol`) connects as itself.
        """
        try:
            return cls(**_as_itself(tomllib.loads(path.read_text(encoding="utf-8-sig"))))
        except OSError as error:
            raise ConfigurationError(
                f"{path}: {error.strerror}: begin with `meter61850 meter example > {path}`"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} is not TOML: {error}") from error
        except ValidationError as error:
            raise ConfigurationError(f"{path}: {_first(error)}") from error


USUAL_SEED = 1
"""Of the simulated meters of `up`, and when nobody says another."""


class SimulateSettings(BaseSettings):
    """``n`` meters in one process; the same seed and data_dir are the same meters again."""

    model_config = SettingsConfigDict(env_prefix="METER61850_SIMULATE_", extra="forbid", frozen=True)

    n: Annotated[int, Field(ge=1, le=100_000)] = 10
    first: Annotated[int, Field(ge=1)] = 1
    """Number of the first meter: other processes may simulate the others."""
    seed: Annotated[int, Field(ge=0)] = USUAL_SEED
    interval: Interval = 10
    kind: str | None = None
    """Wired meters of this kind of sensor, each simulated on a wire of its own; None: PZEM without a wire."""
    solar: bool = False
    """With a kind of three phases: the third feeds in."""
    data_dir: Path = Path("data/meters")
    outbox: OutboxSettings = OutboxSettings()
    identities: Path | None = None
    """Folder with an identity folder for each meter, called by its meter_id; ``mqtt`` for all otherwise."""
    mqtt: MqttSettings = Field(default_factory=MqttSettings)


def _as_itself(told: dict[str, Any]) -> dict[str, Any]:
    """``told``, with the identity that enrolment has left in the data folder, unless it names another."""
    mqtt = told.get("mqtt", {})
    default = MeterSettings.model_fields["data_dir"].default
    folder = Path(told.get("data_dir", default)) / IDENTITY
    if not isinstance(mqtt, dict) or ("identity" not in mqtt and not folder.exists()):
        return told
    folder = Path(mqtt.get("identity", folder))
    settle(folder)
    return told | {"mqtt": mqtt | {"identity": folder}}


def _first(error: ValidationError) -> str:
    """The first complaint, in one line that names the key."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}: `meter61850 meter example` shows all keys"
    return first_complaint(error)
