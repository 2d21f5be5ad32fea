"""Each IED at an address of its own, all on one port: real sockets and an independent client."""

from __future__ import annotations

import asyncio

import aiomqtt
from open61850.mms import OBJECT_CLASS_DOMAIN, MmsClient

from broker.contract.topics import Topics
from broker.mqtt.settings import MqttSettings
from mms_bridge.settings import MmsSettings
from scl_builder.build.builder import build_cid
from scl_builder.build.project import Ied, Project
from tests.support.brokers import Broker, free_port
from tests.support.mms import DEADLINE, eventually, threaded

HOSTS = {"SMGW001": "127.0.0.11", "SMGW002": "127.0.0.12", "SMGW003": "127.0.0.13"}
"""Of this machine, all of them."""


def domains(host: str, port: int) -> list[str] | None:
    """The logical devices of the server there; None before it listens."""
    try:
        with MmsClient.connect(host, port, timeout=DEADLINE) as client:
            return sorted(client.get_name_list(OBJECT_CLASS_DOMAIN))
    except OSError:
        return None


async def publish(broker: Broker, topics: Topics, port: int, hosts: dict[str, str]) -> None:
    """A CID for each IED."""
    async with aiomqtt.Client(broker.host, broker.port) as client:
        for name, host in hosts.items():
            project = Project("town", 1, (Ied(name, host, port, ()),))
            await client.publish(topics.cid(name), build_cid(project, name), qos=1, retain=True)


async def served(port: int, hosts: dict[str, str]) -> None:
    """Until each address shows the IED that it is for, and nothing else."""
    for name, host in hosts.items():
        await eventually(lambda host=host, name=name: domains(host, port) == [f"{name}GW"])  # type: ignore[misc]


async def test_ieds_share_a_port_and_swap_their_addresses(broker: Broker) -> None:
    mqtt, port = MqttSettings(host=broker.host, port=broker.port, prefix="hosts"), free_port()
    with threaded(MmsSettings(mqtt=mqtt)):
        await publish(broker, mqtt.topics, port, HOSTS)
        await served(port, HOSTS)
        assert await asyncio.to_thread(domains, "127.0.0.14", port) is None, "nobody listens elsewhere"
        moved = dict(zip(HOSTS, [*list(HOSTS.values())[1:], "127.0.0.11"], strict=True))
        await publish(broker, mqtt.topics, port, {"SMGW003": "127.0.0.14"})
        await served(port, {"SMGW003": "127.0.0.14"})
        await publish(broker, mqtt.topics, port, dict(reversed(moved.items())))
        await served(port, moved)
