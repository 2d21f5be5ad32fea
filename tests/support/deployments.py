"""A real deployment for tests: `init` into a temporary folder, on free ports, with its Mosquitto running.

>>> with deployed(tmp_path) as site:  # doctest: +SKIP
...     site.meter("3f2504e0-4f89-41d3-9a0c-0305e82c3301")
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from broker.contract.enrolment_codes import EnrolmentCode
from broker.contract.roles import Role
from broker.mqtt.settings import MqttSettings
from registrar.deployment import Deployment
from registrar.enrolment_codes import keep
from registrar.identities import Identity
from registrar.init_deployment import NewDeployment, new_deployment
from tests.support.brokers import DEADLINE, free_port
from tests.support.forked import Forked


@dataclass
class Site:
    """A deployment, and the process of its broker."""

    deployment: Deployment
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self.deployment.folder

    def settings(self, name: str, *, version: int = 5) -> MqttSettings:
        """The connection of one identity."""
        return MqttSettings.model_validate(
            {"identity": self.deployment.identity_folder(name), "version": version}
        )

    def add(self, name: str, role: Role, *scope: str, address_code: str = "") -> MqttSettings:
        """A new identity with a certificate; the broker learns of it with :meth:`publish`."""
        identity = Identity(name, role, scope, address_code=address_code)
        self.deployment.enlist(identity, self.deployment.identity_folder(name))
        return self.settings(name)

    def add_token_meter(self, meter_id: str) -> MqttSettings:
        """A meter with a password instead of a certificate."""
        identity = Identity(meter_id, Role.METER)
        with self.deployment.identity_store.change() as change:
            change.add(identity)
            self.deployment.give_token(identity, self.deployment.identity_folder(meter_id), change)
        return self.settings(meter_id)

    def login(self, slot: str) -> MqttSettings:
        """Make the enrolment code that ``slot`` is of; the connection that uses it."""
        code = EnrolmentCode(slot.partition("-")[0], 2, "2" * 17)
        keep(self.deployment.identity_store, code, valid=timedelta(days=1), automatic=False, who="test")
        told = self.deployment.connection(Role.METER, token=True)
        ca = self.deployment.identity_folder("admin") / "ca.crt"
        return MqttSettings.model_validate({**told, "username": slot, "password": code.secret, "ca": ca})

    def start(self) -> None:
        """Start the broker; returns when all its doors are open."""
        environment = {**os.environ, **self.deployment.environment}
        with self.log.open("ab") as log:
            command = ("broker", "run", "--broker", "mosquitto")
            self.process = Forked("admin", *command, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + DEADLINE
        while self.log.read_text().count("mosquitto version 2") < 1 or "running" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the broker as systemd does."""
        if self.process is not None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(DEADLINE)
            self.process.kill()
            self.process = None


@contextmanager
def deployed(tmp: Path, *, started: bool = True) -> Iterator[Site]:
    """A new deployment below ``tmp``; its broker runs until the end."""
    first = free_port(4)
    plan = NewDeployment(services_port=first, port=first + 1, password_port=first + 2, mms_tls_port=first + 3)
    site = Site(new_deployment(tmp / "deployment", plan), tmp / "mosquitto.log")
    site.log.touch()
    if started:
        site.start()
    try:
        yield site
    finally:
        site.stop()
