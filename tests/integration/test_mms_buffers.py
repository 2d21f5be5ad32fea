"""What happens before a client comes is buffered, as much as the conformance statement promises."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable

import pytest
from open61850.mms import MmsClient, decode_report, is_report, rcb

from broker.contract.birth import Birth, Hardware
from broker.contract.messages import Message, utc_now
from broker.contract.relay import Position, Relay
from broker.contract.status import Status
from broker.contract.topics import Topic
from mms_bridge.gateway import Gateway
from mms_bridge.libiec61850.report_buffers import FULL_ENTRIES, octets
from mms_bridge.settings import MmsSettings
from scl_builder.build.builder import build_cid
from scl_builder.build.project import Ied, Meter, Project
from tests.integration.test_mms_reports import POSITIONS
from tests.support.brokers import free_port
from tests.support.mms import DEADLINE, meter_id

METER = meter_id(1)


def served(settings: MmsSettings, port: int) -> Gateway:
    """A gateway without MQTT, with an IED of one meter."""
    gateway = Gateway(settings, identity=("test", "test", "0"))
    gateway.set_broker(up=True)
    ied = Ied("SMGW001", "127.0.0.1", port, (Meter(METER, "M1"),))
    gateway.take(Topic("cid", "SMGW001"), build_cid(Project("t", 1, (ied,)), "SMGW001"), retained=True)
    hardware = Hardware(serial="s")
    birth = Birth(name="b", hardware=hardware, firmware="b", interval=10, session="s", ts=utc_now())
    told: dict[str, Message] = {"birth": birth, "status": Status(online=True, session="s", ts=utc_now())}
    for kind, message in told.items():
        gateway.take(Topic(kind, METER), message.payload(), retained=True)
    return gateway


async def ticking(gateway: Gateway, done: Callable[[], bool]) -> None:
    """Run the periodic tasks until ``done``; TimeoutError if that takes too long."""
    async with asyncio.timeout(DEADLINE):
        while not done():
            gateway.tick()
            await asyncio.sleep(0.02)


def received(port: int, count: int) -> set[bytes | None]:
    """EntryIDs of so many reports that a client finds which has never been here; Empty without them."""
    arrived: queue.Queue[bytes | None] = queue.Queue()

    def take(message: object) -> None:
        if is_report(message):  # type: ignore[arg-type]
            arrived.put(decode_report(message).entry_id)  # type: ignore[arg-type]

    with MmsClient.connect("127.0.0.1", port, timeout=DEADLINE, on_information_report=take) as client:
        as_configured = rcb.RcbSettings(
            trg_ops=None, opt_flds=None, intg_pd_ms=None, general_interrogation=False
        )
        rcb.enable(client, POSITIONS, as_configured)
        return {arrived.get(timeout=DEADLINE) for _ in range(count)}


async def test_positions_are_buffered_before_any_client_comes() -> None:
    port = free_port()
    gateway = served(MmsSettings(plain_bind="127.0.0.1"), port)
    try:
        ied = gateway.ieds["SMGW001"]
        assert not ied.generations, "the server begins beside the messages"
        await ticking(gateway, lambda: len(ied.generations) == 1)
        for number in range(FULL_ENTRIES + 1):
            position = (Position.OPEN, Position.CLOSED)[number % 2]
            relay = Relay(position=position, operations=number, local=False, session="s", ts=utc_now())
            gateway.take(Topic("relay", METER), relay.payload(), retained=False)
            gateway.tick()
        client = asyncio.create_task(asyncio.to_thread(received, port, FULL_ENTRIES))
        await ticking(gateway, client.done)
        assert len(await client) == FULL_ENTRIES
    finally:
        gateway.close()


async def test_an_ied_that_shall_wait_for_its_first_client_waits() -> None:
    port = free_port()
    gateway = served(MmsSettings(begin_at_once=False), port)
    try:
        client = asyncio.create_task(asyncio.to_thread(lambda: MmsClient.connect("127.0.0.1", port).close()))
        assert not gateway.ieds["SMGW001"].generations
        await ticking(gateway, client.done)
        assert len(gateway.ieds["SMGW001"].generations) == 1
    finally:
        gateway.close()


@pytest.mark.parametrize(("members", "kilobytes"), [(1, 19), (50, 333), (100, 653)])
def test_the_size_follows_the_largest_data_set(members: int, kilobytes: int) -> None:
    assert round(octets(members) / 1000) == kilobytes
