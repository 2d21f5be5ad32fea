"""Refusals that people tell: each under the own name, of the own meters, and not without end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import pytest

from admin.chain.parts import enlist_simulated
from admin.mqtt import refused_topic
from broker.contract.commands import new_command
from broker.contract.messages import utc_now
from broker.contract.relay import Command, Origin, OriginCategory, Position
from broker.contract.result import Refusal
from broker.contract.roles import Role
from broker.mqtt.settings import MqttSettings
from meter_firmware.settings import SimulateSettings
from meter_firmware.simulate import meter_ids
from registrar.identities import Identity
from registrar.retained_outbox import connected
from tests.support.chain import until
from tests.support.sites import Deployed, deployed

(METER,) = meter_ids(SimulateSettings(n=1, seed=1))
FOREIGN = "3f2504e0-4f89-41d3-9a0c-0305e82c3302"
DEADLINE = 60.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A simulated meter that has been there and is offline, a foreign one, and an issuer for each of them."""
    with deployed(tmp_path_factory.mktemp("site"), "bridge") as running:
        deployment = running.deployment
        enlist_simulated(deployment, SimulateSettings(n=1, seed=1))
        (own,) = [one for one in deployment.identity_store.identities(Role.METER) if one.name == METER]
        deployment.enlist(
            Identity(FOREIGN, Role.METER, address_code="0000"), deployment.identity_folder(FOREIGN)
        )
        for name, scope in (("otto", (own.address_code,)), ("eve", ("0000",)), ("all", ())):
            deployment.enlist(Identity(name, Role.ISSUER, scope), deployment.identity_folder(name))
        running.cli("identity", "list")
        running.simulate(1, interval=0.2)
        until(lambda: running.answer("meters", "list"), seconds=DEADLINE, why="the meter is known")
        running.stop("meters")
        yield running


def mqtt(site: Deployed, name: str) -> MqttSettings:
    """The connection of one of them."""
    return MqttSettings(identity=site.deployment.identity_folder(name))


def recorded(site: Deployed) -> list[tuple[str, str]]:
    """meter_id and outcome of each command in the ledger."""
    return [(row["meter_id"], row["outcome"]) for row in site.answer("commands")]


def refusal(meter_id: str) -> Refusal:
    """Of a command by somebody else."""
    origin = Origin(
        category=OriginCategory.REMOTE_CONTROL, identifier=f"SCADA {uuid4()}", via="mms 192.0.2.7"
    )
    wanted: Command = new_command(Position.OPEN, origin)
    return Refusal(meter_id=meter_id, command=wanted, reason="forged", ts=utc_now())


async def test_nobody_tells_of_a_foreign_meter_or_under_anothers_name(site: Deployed) -> None:
    """Of 1,000 forged ones none arrives; one of the own meter, sent last, does."""
    topics = mqtt(site, "eve").topics
    async with connected(mqtt(site, "eve")) as eve:
        names = ("cli", "mms", "web", "admin", "otto", "all", "eve")
        for topic in [
            *(topics.refused(name) for name in names),
            *(topics.refused(name, METER) for name in names),
            topics.refused("eve", FOREIGN),  # hers, but the payload is of another meter
        ]:
            for _ in range(70):
                await eve.publish(topic, refusal(METER).payload(), qos=1)
        await eve.publish(topics.refused("eve", FOREIGN), refusal(FOREIGN).payload(), qos=1)
    until(
        lambda: (FOREIGN, "refused") in recorded(site), seconds=DEADLINE, why="what is hers is in the ledger"
    )
    assert METER not in {meter_id for meter_id, _ in recorded(site)}


@pytest.mark.parametrize("name", ["otto", "all", "admin"])
def test_the_cli_tells_of_what_it_refused(site: Deployed, name: str) -> None:
    """Also for one who is confined to some meters."""
    before = recorded(site).count((METER, "refused"))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "admin", "relay", "open", METER],
        env=site.environment() | {"METER61850_MQTT_IDENTITY": str(site.deployment.identity_folder(name))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    until(lambda: recorded(site).count((METER, "refused")) == before + 1, seconds=DEADLINE, why="recorded")


def test_without_an_identity_it_is_the_clis() -> None:
    assert refused_topic(MqttSettings(), METER) == "sm/v1/service/cli/refused"
