"""Our meters in Home Assistant, on a real Mosquitto with its access list: announced, switched, removed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import aiomqtt
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from adapters.homeassistant.announcer import Announcer
from adapters.homeassistant.service import HomeAssistantSettings, serve
from broker.contract.birth import Birth, Hardware
from broker.contract.errors import NotAuthorizedError
from broker.contract.messages import utc_now
from broker.contract.relay import Command
from broker.contract.roles import Role
from broker.mqtt.client import new_client
from broker.mqtt.settings import MqttSettings
from tests.support.deployments import Site, deployed

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
DEADLINE = 60.0
STATUS = "homeassistant/status"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A deployment with a meter, the announcing program, Home Assistant, and an operator."""
    with deployed(tmp_path_factory.mktemp("home"), started=False) as found:
        found.add(METER, Role.METER)
        found.add("homeassistant", Role.HOMEASSISTANT)
        found.add("ha", Role.HOMEASSISTANT_ISSUER)
        found.add("anna", Role.OPERATOR)
        found.deployment.publish()
        found.start()
        yield found


def birth(name: str) -> bytes:
    told = Birth(
        name=name, hardware=Hardware(serial="1"), firmware="1", interval=10, session="s", ts=utc_now()
    )
    return told.payload()


@asynccontextmanager
async def announcing(mqtt: MqttSettings, *, switches: bool = False) -> AsyncIterator[None]:
    """The program, until the end of the block."""
    stop = asyncio.Event()
    running = asyncio.create_task(serve(HomeAssistantSettings(mqtt=mqtt, switches=switches), stop))
    try:
        yield
        assert not running.done(), running
    finally:
        stop.set()
        with suppress(asyncio.CancelledError):
            await running


async def heard(client: aiomqtt.Client, topic: str) -> bytes:
    """The next payload on ``topic``."""
    async with asyncio.timeout(DEADLINE):
        async for message in client.messages:
            if message.topic.value == topic:
                assert isinstance(message.payload, bytes)
                return message.payload
    raise AssertionError


async def test_a_meter_is_announced_switched_and_removed(site: Site) -> None:
    ha, topics = site.settings("ha"), site.settings("ha").topics
    config = Announcer(topics).config_topic(METER)
    own = topics.meter(METER, "birth")
    async with new_client(site.settings(METER)) as meter, new_client(ha) as home:
        await home.subscribe("homeassistant/#", qos=1)
        await meter.subscribe(topics.meter(METER, "command"), qos=1)
        async with announcing(site.settings("homeassistant"), switches=True):
            await meter.publish(own, birth("House 1"), qos=1, retain=True)
            told = json.loads(await heard(home, config))
            assert told["device"]["name"] == "House 1"
            await home.publish(STATUS, b"online", qos=1)
            assert json.loads(await heard(home, config)) == told
            relay = told["components"]["relay"]
            template = ImmutableSandboxedEnvironment().from_string(relay["command_template"])
            sent = template.render(value=relay["payload_off"], utcnow=utc_now, timedelta=timedelta)
            await home.publish(relay["command_topic"], sent.encode(), qos=1)
            assert Command.model_validate_json(await heard(meter, relay["command_topic"])).position == "open"
        await meter.publish(own, b"", qos=1, retain=True)  # while nobody announces
        async with announcing(site.settings("homeassistant")):
            assert await heard(home, config) == b""


async def test_who_may_not_announce_is_told_so(site: Site) -> None:
    async with new_client(site.settings(METER)) as meter:
        topic = site.settings(METER).topics.meter(METER, "birth")
        await meter.publish(topic, birth("House 1"), qos=1, retain=True)
        with pytest.raises(NotAuthorizedError, match="does not let us publish on homeassistant/device"):
            await asyncio.wait_for(
                serve(HomeAssistantSettings(mqtt=site.settings("anna")), asyncio.Event()), DEADLINE
            )
        await meter.publish(topic, b"", qos=1, retain=True)
