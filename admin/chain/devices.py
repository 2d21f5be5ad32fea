"""Other makers' devices beside the meters of ``up``, all simulated: ``up --with-devices``.

One device of each family that has a simulated one publishes on a plain broker of its own, as at home, and an
adapter makes meters of them; a wired meter with three phases is read over a simulated serial line.

>>> [part.name for part in Devices(Path("data/devices"), port=8885, interval=2.0).parts(mqtt=())]
['devices-broker', 'devices', 'adapter', 'wired']
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from adapters.points import meter_id_of
from adapters.simulated.device import device_families
from adapters.simulated.program import DevicesSettings, simulated_devices, source_lines
from admin.chain.supervisor import HOST, Part
from admin.deployments import DIR, IDENTITY
from admin.options import BrokerKind
from broker import durable
from meter_firmware.settings import IDENTITY as IDENTITY_FOLDER
from meter_firmware.settings import SimulateSettings
from meter_firmware.simulate import meter_ids

WIRED_KIND = "sdm630"
WIRED_SEED = 630
"""Another town than that of the simulated meters."""
BROKER = "devices-broker"


@dataclass(frozen=True)
class Devices:
    """What to start, and where."""

    folder: Path
    port: int
    """Of the devices' broker."""
    interval: float
    kind: BrokerKind = BrokerKind.MOSQUITTO

    @cached_property
    def _settings(self) -> DevicesSettings:
        return DevicesSettings(families=tuple(device_families()), interval=self.interval)

    @cached_property
    def keys(self) -> list[tuple[str, str]]:
        """Family and key of each device on MQTT."""
        return [
            (family, device.key)
            for family in self._settings.families
            for device in simulated_devices(self._settings.model_copy(update={"families": (family,)}))
        ]

    @property
    def wired(self) -> SimulateSettings:
        """The wired meter."""
        return SimulateSettings(
            n=1, seed=WIRED_SEED, kind=WIRED_KIND, interval=self.interval, data_dir=self.folder / "wired"
        )

    def adapted(self) -> dict[str, Path]:
        """meter_id of each device's meter → where the adapter looks for its identity."""
        ids = [meter_id_of(family, key) for family, key in self.keys]
        return {meter_id: self._adapter_data / meter_id / IDENTITY_FOLDER for meter_id in ids}

    def meter_ids(self) -> list[str]:
        """Of all that become of the devices."""
        return [*self.adapted(), *meter_ids(self.wired)]

    @property
    def _adapter_data(self) -> Path:
        return self.folder / "adapter"

    @property
    def config(self) -> Path:
        """The adapter's settings."""
        return self.folder / "adapters.toml"

    def write_config(self, *, port: int) -> None:
        """The adapter's settings, which people may look at; ``port`` is that of the meters' broker."""
        version = 4 if self.kind is BrokerKind.EMBEDDED else 5
        lines = [
            "# Written by meter61850 up --with-devices, at each start",
            f"data_dir = '{self._adapter_data.absolute()}'",
            "clock_synchronized = true",
            "[mqtt]",
            *(f"host = '{HOST}'", f"port = {port}", f"version = {version}"),
        ]
        for family in self._settings.families:
            lines += source_lines(family, interval=self.interval, host=HOST, port=self.port)
            lines += ["[[accept]]", f"family = '{family}'", "switch = true"]
        text = "\n".join(lines) + "\n"
        tomllib.loads(text)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        durable.replace(self.config, text.encode(), mode=durable.PUBLIC)

    def parts(self, *, mqtt: Sequence[str], identities: Path | None = None) -> tuple[Part, ...]:
        """The children in the order of their start; ``mqtt``: how to reach the meters' broker."""
        plain = {DIR: "", IDENTITY: ""}
        broker = ("--broker", self.kind, "--data-dir", str(self.folder / "broker"), "--port", str(self.port))
        devices = (
            *(word for family in self._settings.families for word in ("--family", family)),
            *("--interval", str(self.interval), "--mqtt", f"{HOST}:{self.port}", "--mqtt-version", "4"),
        )
        wired = self.wired
        meter = (
            *("-n", "1", "--seed", str(wired.seed), "--kind", WIRED_KIND, "--solar"),
            *("--interval", str(self.interval), "--data-dir", str(wired.data_dir)),
            *(("--identities", str(identities)) if identities else mqtt),
        )
        return (
            Part(BROKER, ("broker", "run", *broker), 0.5, plain),
            Part("devices", ("adapter", "simulate", *devices), 0.5, plain),
            Part("adapter", ("adapter", "run", "--config", str(self.config)), 1.1, plain),
            Part("wired", ("meter", "simulate", *meter), 1.1, plain),
        )
