"""Who needs more than five clients of an IED runs a second ``mms run``: docs/scada.md says how."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

from open61850.mms import MmsClient, operate
from open61850.mms.control import Origin

from broker.contract.relay import Position
from broker.mqtt.settings import MqttSettings
from mms_bridge.settings import MmsSettings
from scl_builder.model.logical_devices import MAX_ASSOCIATIONS
from tests.support.brokers import Broker
from tests.support.mms import DrivenMeter, eventually, scene, threaded

SECOND = "127.0.0.2"
OPEN, CLOSED = b"\x40", b"\x80"


async def test_a_second_bridge_serves_five_more_clients(broker: Broker) -> None:
    """Another address, and by ``ieds`` another name for its status; both serve values and commands."""
    async with scene(broker) as running:
        meter = await running.add_meter(0)
        await running.publish_cid()
        mqtt = MqttSettings(host=broker.host, port=broker.port, prefix=running.topics.prefix)
        beside = {"mqtt": mqtt, "plain_bind": SECOND, "plain_rights": "control", "ieds": "SMGW001-SMGW999"}
        with threaded(MmsSettings.model_validate(beside)), ExitStack() as clients:
            first = [clients.enter_context(await running.associate()) for _ in range(MAX_ASSOCIATIONS)]
            second = [clients.enter_context(await running.associate(SECOND)) for _ in range(MAX_ASSOCIATIONS)]
            for number, (client, other) in enumerate(((first[0], second[0]), (second[1], first[1]))):
                closes = bool(number)
                await eventually(partial(_operated, client, meter, closes=closes))
                await eventually(partial(_stands, other, meter, CLOSED if closes else OPEN))
            assert [command.position for command in meter.commands] == [Position.OPEN, Position.CLOSED]


def _operated(client: MmsClient, meter: DrivenMeter, *, closes: bool) -> bool:
    operate(
        client,
        f"{meter.domain}/CSWI1.Pos",
        closes,
        origin=Origin(3, b"desk"),
        ctl_num=1,
        termination_timeout=60.0,
    )
    return True


def _stands(client: MmsClient, meter: DrivenMeter, position: bytes) -> bool:
    told: Any = client.read(f"{meter.domain}/XSWI1.Pos.stVal[ST]")
    return bool(told.value == position)
