"""The whole chain on one machine, as ``up`` starts it: broker, bridge, MMS bridge, web, simulated meters.

>>> [part.name for part in Chain(meters=3).parts(BrokerKind.EMBEDDED)]
['broker', 'bridge', 'mms', 'web', 'meters']
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from admin.options import BrokerKind
from admin.supervisor import Part
from broker.errors import UnavailableError
from broker.ports import check_free
from broker.settings import MqttSettings
from meter_firmware.settings import SimulateSettings
from meter_firmware.simulate import meter_ids

HOST = "127.0.0.1"
METERS_PER_IED = 50
SEED = 1
LISTEN_SECONDS = 10.0


@dataclass(frozen=True)
class Chain:
    """What to start, and where."""

    meters: int = 10
    interval: float = 2.0
    data_dir: Path = Path("data")
    mqtt_port: int = 1883
    mms_port: int = 10102
    web_port: int = 8061

    @property
    def database(self) -> str:
        """URL of the SQLite file."""
        return f"sqlite:///{self.data_dir}/meter61850.sqlite"

    @property
    def users(self) -> Path:
        """The web's accounts."""
        return self.data_dir / "web-users.json"

    @property
    def mms_ports(self) -> range:
        """One for each IED that the meters fill."""
        return range(self.mms_port, self.mms_port + math.ceil(self.meters / METERS_PER_IED))

    def check_ports(self) -> None:
        """PortTakenError names the first port that is in use, and the option to choose another."""
        check_free(HOST, self.mqtt_port, option="--mqtt-port")
        for port in self.mms_ports:
            check_free(HOST, port, option="--mms-port")
        check_free(HOST, self.web_port, option="--web-port")

    def mqtt(self, kind: BrokerKind) -> MqttSettings:
        """How to reach the broker; the embedded one knows no MQTT 5."""
        return MqttSettings(host=HOST, port=self.mqtt_port, version=4 if kind is BrokerKind.EMBEDDED else 5)

    def meter_ids(self) -> list[str]:
        """The simulated meters."""
        return meter_ids(SimulateSettings(n=self.meters, seed=SEED, data_dir=self.data_dir / "meters"))

    def parts(self, kind: BrokerKind) -> tuple[Part, ...]:
        """The children in the order of their start; their seconds to stop add up to less than five."""
        mqtt = ("--mqtt", f"{HOST}:{self.mqtt_port}", "--mqtt-version", str(self.mqtt(kind).version))
        broker = ("--broker", kind, "--port", str(self.mqtt_port), "--data-dir", str(self.data_dir))
        bridge = (
            *("--database", self.database, "--max-meters-per-ied", str(METERS_PER_IED)),
            *("--mms-host", HOST, "--mms-port", str(self.mms_port)),
        )
        web = ("--port", str(self.web_port), "--database", self.database, "--users", str(self.users))
        meters = (
            *("-n", str(self.meters), "--seed", str(SEED), "--interval", str(self.interval)),
            *("--data-dir", str(self.data_dir / "meters")),
        )
        # fmt: off
        return (
            Part("broker", ("broker", "run", *broker), 0.9),
            Part("bridge", ("bridge", "run", *mqtt, *bridge), 1.3, {"METER61850_DRAIN_SECONDS": "0.8"}),
            Part("mms", ("mms", "run", *mqtt), 0.9),
            Part("web", ("web", "run", *mqtt, *web), 0.6),
            Part("meters", ("meter", "simulate", *mqtt, *meters), 1.1),
        )
        # fmt: on


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold ``data_dir`` for ourselves: two chains would be the same meters twice; UnavailableError."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UnavailableError(
                f"another `up` uses {data_dir}: stop it, or choose another folder with --data-dir DIR"
            ) from error
        yield


async def listening(port: int) -> None:
    """Wait until something accepts connections on ``port``; UnavailableError after 10 s."""
    deadline = time.monotonic() + LISTEN_SECONDS
    while time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise UnavailableError(f"nothing listens on port {port} after {LISTEN_SECONDS:g} s")
