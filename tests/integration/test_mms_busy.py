"""A pending operate makes the tick short, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from open61850.mms import MmsClient

from broker.contract.birth import Birth, Hardware
from broker.contract.messages import Message, utc_now
from broker.contract.relay import Command, Position, Relay
from broker.contract.result import Outcome, Result
from broker.contract.status import Status
from broker.contract.topics import Topic
from mms_bridge.gateway import Gateway
from mms_bridge.run import _keep_ticking
from mms_bridge.settings import MmsSettings
from scl_builder.build.builder import build_cid
from scl_builder.build.project import ControlModel, Ied, Meter, Project
from tests.integration.test_mms_addcauses import NOT_SUPPORTED
from tests.support.brokers import free_port
from tests.support.mms import DEADLINE, DrivenMeter, eventually, meter_id
from tests.support.mms_control import Desk

METER = meter_id(1)


@asynccontextmanager
async def served(
    model: ControlModel,
    *,
    limit: float = 0.5,
    tick: float = 1.0,
    change: Callable[[bytes], bytes] = lambda cid: cid,
) -> AsyncIterator[tuple[Gateway, Desk]]:
    """A gateway without MQTT that ticks once a second unless told, and a desk; one meter, closed."""
    settings = MmsSettings(control_tick=0.01, operate_limit=limit)
    settings = settings.model_copy(update={"tick": tick})  # may be longer than any of the settings' own
    gateway = Gateway(settings, identity=("test", "test", "0"))
    gateway.set_broker(up=True)
    port = free_port()
    meters = (Meter(METER, "M1"),)
    project = Project("test", 1, (Ied("SMGW001", "127.0.0.1", port, meters),), control_model=model)
    gateway.take(Topic("cid", "SMGW001"), change(build_cid(project, "SMGW001")), retained=True)
    hardware = Hardware(serial="1")
    told: dict[str, Message] = {
        "birth": Birth(name="h", hardware=hardware, firmware="1", interval=10, session="s", ts=utc_now()),
        "status": Status(online=True, session="s", ts=utc_now()),
        "relay": Relay(position=Position.CLOSED, operations=0, ts=utc_now()),
    }
    for kind, message in told.items():
        gateway.take(Topic(kind, METER), message.payload(), retained=True)
    ticking = asyncio.create_task(_keep_ticking(gateway, settings))
    client = await asyncio.to_thread(MmsClient.connect, "127.0.0.1", port, timeout=60.0)
    driven = DrivenMeter(None, None, METER)  # type: ignore[arg-type]  # only its name is asked for
    try:
        yield gateway, Desk(client, driven)
    finally:
        await asyncio.to_thread(client.close)
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
        gateway.close()


async def sent(gateway: Gateway) -> Command:
    """The command that the gateway publishes next."""
    outgoing = await asyncio.wait_for(gateway.outbox.get(), DEADLINE)
    assert isinstance(outgoing, tuple)
    assert isinstance(outgoing[1], Command)
    return outgoing[1]


def answer(gateway: Gateway, command: Command) -> None:
    """Done, and in position."""
    relay = Relay(position=command.position, operations=1, ts=utc_now())
    gateway.take(Topic("relay", METER), relay.payload(), retained=False)
    result = Result(command_id=command.command_id, outcome=Outcome.DONE, ts=utc_now())
    gateway.take(Topic("result", METER), result.payload(), retained=False)


@pytest.mark.parametrize("model", ["direct-with-enhanced-security", "direct-with-normal-security"])
async def test_it_is_short_while_a_client_waits_and_not_after(model: ControlModel) -> None:
    async with served(model, limit=60) as (gateway, desk):
        assert not gateway.control.busy
        operating = asyncio.create_task(desk.operate(False))
        command = await sent(gateway)
        assert gateway.control.busy
        assert 0 <= gateway.control.asked_in() <= 0.011
        answer(gateway, command)
        assert await operating is None
        if "enhanced" in model:
            assert await desk.termination() is None
        assert not gateway.control.busy


async def test_a_refusal_leaves_no_short_tick() -> None:
    async with served("direct-with-normal-security") as (gateway, desk):
        assert await desk.operate(True) == 5
        assert not gateway.control.busy


async def test_a_client_that_has_gone_is_waited_for_no_longer_than_the_limit() -> None:
    async with served("direct-with-enhanced-security") as (gateway, desk):
        assert await desk.operate(False) is None
        await sent(gateway)
        await asyncio.to_thread(desk.client.close)
        await eventually(lambda: not gateway.control.busy)


async def test_a_client_that_has_gone_keeps_nobody_out_once_its_command_has_ended() -> None:
    async with served("direct-with-enhanced-security", limit=30.0) as (gateway, desk):
        assert await desk.operate(False) is None
        command = await sent(gateway)
        await asyncio.to_thread(desk.client.close)
        await eventually(lambda: gateway.associations == 0)
        assert gateway.control.busy, "the meter may still answer"
        answer(gateway, command)
        await eventually(lambda: not gateway.control.busy)
        endpoint = gateway.ieds["SMGW001"].endpoint
        assert endpoint is not None
        with await asyncio.to_thread(MmsClient.connect, *endpoint, timeout=60.0) as client:
            other = Desk(client, desk.meter)
            assert await other.operate(True) is None
            answer(gateway, await sent(gateway))
            assert await other.termination() is None


class OwnDevice(DrivenMeter):
    """Not a meter: the IED's own logical device."""

    @property
    def domain(self) -> str:
        """Its MMS name."""
        return "SMGW001GW"


def with_more_to_operate(cid: bytes) -> bytes:
    """In the IED's own device."""
    mark = b'<DO name="Ind2" '
    assert mark in cid
    return cid.replace(mark, b'<DO name="SPCSO1" type="SPC_direct"/>\n' + mark)


async def test_what_can_be_operated_in_a_device_that_is_no_meter_stops_no_tick() -> None:
    model: ControlModel = "direct-with-normal-security"
    async with served(model, limit=60, tick=0.1, change=with_more_to_operate) as (gateway, desk):
        own = OwnDevice(None, None, METER)  # type: ignore[arg-type]  # as above
        assert await Desk(desk.client, own, "GGIO1$CO$SPCSO1").operate(True) == NOT_SUPPORTED
        operating = asyncio.create_task(desk.operate(False))
        answer(gateway, await sent(gateway))
        assert await operating is None, "it ticks on"
