"""A power cut at any moment of a rotation: the deployment can be used after it, and the rotation finished."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from broker import durable
from broker.contract.errors import ConfigurationError
from broker.daemon.mosquitto import BrokerSettings
from broker.mqtt import keypair
from broker.mqtt.identity import client_context
from broker.mqtt.settings import MqttSettings
from registrar import pki, rotation
from registrar.deployment import Deployment
from registrar.identities import SERVICES
from registrar.init_deployment import NewDeployment, new_deployment


class _PowerCut(BaseException):
    """Nothing is cleaned up after it."""


def cut_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``step`` files be put in their place, or removed, and no more."""
    left = step

    def limited(change: Callable[..., None]) -> Callable[..., None]:
        def changed(*paths: object) -> None:
            nonlocal left
            if left == 0:
                raise _PowerCut
            left -= 1
            change(*paths)

        return changed

    for name in ("replace", "rename"):
        monkeypatch.setattr(os, name, limited(getattr(os, name)))
    monkeypatch.setattr(Path, "unlink", limited(Path.unlink))


@pytest.mark.parametrize("what", [rotation.rotate_authority, rotation.retire_authority])
def test_it_may_come_between_any_two_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: Callable[[Deployment], object]
) -> None:
    """Each cut is followed by all that an administrator or a service does next."""
    deployment = new_deployment(tmp_path / "d", NewDeployment())
    step = 0
    while True:
        if what is rotation.retire_authority:
            with suppress(ConfigurationError):  # the one before is there still
                rotation.rotate_authority(deployment)
        else:
            with suppress(ConfigurationError):  # or is not
                rotation.retire_authority(deployment)
        with monkeypatch.context() as patched:
            cut_at(step, patched)
            try:
                what(deployment)
            except _PowerCut:
                step += 1
            else:
                break
        deployment = Deployment.open(tmp_path / "d")
        deployment.publish()
        for name in SERVICES:
            folder = deployment.identity_folder(name)
            client_context(folder / "ca.crt", folder / "client.crt", folder / "client.key")
        for pair in deployment.server_pairs():
            client_context(tmp_path / "d/ca/ca.crt", pair.with_suffix(".crt"), pair.with_suffix(".key"))
    assert step > 5


def test_a_service_that_starts_before_anybody_else_finishes_it(tmp_path: Path) -> None:
    deployment = new_deployment(tmp_path / "d", NewDeployment())
    authority, bridge = deployment.authority("services"), deployment.identity_folder("bridge")
    for key, certificate in [
        (bridge / "client.key", bridge / "client.crt"),
        (deployment.broker / "server.key", deployment.broker / "server.crt"),
    ]:
        made = pki.new_key()
        durable.replace(keypair.following(key), pki.key_pem(made), mode=durable.SECRET)
        issued = authority.issue("bridge", made.public_key())
        durable.replace(certificate, pki.pem(issued), mode=durable.PUBLIC)
    MqttSettings(identity=bridge)
    BrokerSettings(security=deployment.broker)
    assert not list((tmp_path / "d").rglob("*.next"))
