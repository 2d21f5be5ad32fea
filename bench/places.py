"""Where a benchmark runs: at a bare broker, or in a deployment with TLS, an identity for each, and rights.

>>> with deployment(Path("/tmp/bench")) as place:  # doctest: +SKIP
...     place.settings("bridge").tls()
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from admin.chain.parts import enlist_simulated
from broker.contract.roles import Role
from broker.mqtt.settings import MqttSettings
from meter_firmware.settings import SimulateSettings
from tests.support.brokers import mosquitto
from tests.support.deployments import Site, deployed

ISSUER = "issuer"


@dataclass(frozen=True)
class Place:
    """A running broker; ``port`` is where services connect."""

    port: int
    pid: int
    site: Site | None = None
    """Of a deployment."""

    def settings(self, name: str) -> MqttSettings:
        """The connection of one identity; without a deployment everyone's is the same."""
        return MqttSettings(port=self.port) if self.site is None else self.site.settings(name)

    def environment(self, name: str = "") -> dict[str, str]:
        """A process's, who is this."""
        if self.site is None:
            return dict(os.environ)
        folder = str(self.site.deployment.identity_folder(name)) if name else ""
        return {**os.environ, **self.site.deployment.environment, "METER61850_MQTT_IDENTITY": folder}

    def meters(self, settings: SimulateSettings) -> tuple[str, ...]:
        """Options of ``meter simulate``, whose meters get identities here."""
        if self.site is None:
            return ("--mqtt", f"127.0.0.1:{self.port}")
        enlist_simulated(self.site.deployment, settings)
        return ("--identities", str(self.site.folder / "identities"))


@contextmanager
def bare(folder: Path) -> Iterator[Place]:
    """Plain MQTT, no identities."""
    with mosquitto(folder) as broker:
        yield Place(broker.port, broker.pid)


@contextmanager
def deployment(folder: Path) -> Iterator[Place]:
    """As ``meter61850 init`` makes it, with an issuer of commands."""
    with deployed(folder, started=False) as site:
        site.add(ISSUER, Role.ISSUER)
        site.deployment.publish()
        site.start()
        assert site.process is not None
        (running,) = psutil.Process(site.process.pid).children()
        yield Place(site.deployment.ports["services"], running.pid, site)


PLACES = {"plain": bare, "tls": deployment}
