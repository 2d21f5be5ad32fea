"""What docs/conformance.md says of the server's behaviour, asked of the server by an independent client."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest_asyncio
from open61850.data import (
    BitStringData,
    BoolData,
    FloatData,
    IECData,
    IntData,
    OctetStringData,
    TimestampData,
    UIntData,
    VisibleStringData,
)
from open61850.mms import DataAccessError, MmsClient, ObjectName, decode_report, is_report, rcb
from open61850.mms.association import AssociationParameters
from open61850.mms.model import discover
from open61850.mms.report import Report
from open61850.mms.types import PrimitiveType

from mms_bridge.guard.judge import SERVED
from tests.support.brokers import Broker
from tests.support.mms import DEADLINE, DrivenMeter, Scene, eventually, scene
from tools.docs import conformance_pixit

DOMAINS = 9  # object class of GetNameList
READING = {"voltage": 230.0, "current": 1.0, "power": 200.0, "power_factor": 0.9, "frequency": 50.0}


@pytest_asyncio.fixture
async def served(broker: Broker) -> AsyncIterator[tuple[Scene, DrivenMeter]]:
    """A bridge that serves one meter."""
    async with scene(broker) as running:
        meter = await running.add_meter(1)
        await meter.read(**READING)
        await running.publish_cid()
        (await running.associate()).close()
        yield running, meter


async def test_negotiated_limits(served: tuple[Scene, DrivenMeter]) -> None:
    running, _ = served
    with await running.associate() as client:
        told = client.association
        assert told is not None
        assert (told.max_pdu_size, told.max_outstanding_called, told.nesting_level) == (
            conformance_pixit.PDU_SIZE,
            conformance_pixit.OUTSTANDING,
            conformance_pixit.NESTING,
        )
        bits = range(8 * len(told.services_supported))
        assert [bit for bit in bits if told.services_supported[bit // 8] & (0x80 >> bit % 8)] == list(SERVED)


OTHERS = AssociationParameters(
    calling_session_selector=b"\x07\x07",
    called_session_selector=b"\x08\x08",
    calling_presentation_selector=b"\x07\x07\x07\x07",
    called_presentation_selector=b"\x08\x08\x08\x08",
)
"""Selectors that no file has."""


async def test_whatever_selectors_a_client_sends_it_is_served(served: tuple[Scene, DrivenMeter]) -> None:
    running, _ = served

    def work() -> None:
        with MmsClient.connect("127.0.0.1", running.port, timeout=DEADLINE, association=OTHERS) as client:
            assert len(client.get_name_list(DOMAINS)) == 2

    await asyncio.to_thread(work)


def written(client: MmsClient) -> list[str]:
    """Every attribute that takes a value of its type; controls aside."""
    taken = []
    for node in discover(client, types=True).logical_nodes():
        for reference in node.references():
            kind = node.type_of(reference)
            assert isinstance(kind, PrimitiveType)
            if reference.fc == "CO" or kind.kind == "mms-string":
                continue  # this client does not write mms-string as the standard has it
            (error,) = client.write_many([reference], [VALUES[kind.kind]])
            if error != DataAccessError(3):  # object-access-denied
                taken.append(f"{reference}: {error}")
    return taken


VALUES: dict[str, IECData] = {
    "boolean": BoolData(True),
    "integer": IntData(1),
    "unsigned": UIntData(1),
    "float": FloatData(1.0),
    "bit-string": BitStringData(b"\x40", 6),
    "octet-string": OctetStringData(b"x"),
    "visible-string": VisibleStringData("x"),
    "utc-time": TimestampData(datetime(2026, 11, 24, tzinfo=UTC)),
}


async def test_no_data_can_be_written(served: tuple[Scene, DrivenMeter]) -> None:
    running, _ = served
    with await running.associate() as client:
        assert await asyncio.to_thread(written, client) == []


async def test_a_second_change_within_buf_tm_sends_what_waits(served: tuple[Scene, DrivenMeter]) -> None:
    running, meter = served
    arrived: queue.Queue[tuple[float, Report]] = queue.Queue()

    def take(message: object) -> None:
        if is_report(message):  # type: ignore[arg-type]
            arrived.put((time.monotonic(), decode_report(message)))  # type: ignore[arg-type]

    async def changed(voltage: float) -> float:
        begun = time.monotonic()
        await meter.read(**{**READING, "voltage": voltage})
        return begun

    with MmsClient.connect("127.0.0.1", running.port, timeout=DEADLINE, on_information_report=take) as client:
        block = await asyncio.to_thread(block_of_voltage, client)
        long = rcb.RcbSettings(None, None, None, buf_tm_ms=600_000, general_interrogation=False)
        await asyncio.to_thread(rcb.enable, client, block, long)
        await changed(231.0)
        await eventually(lambda: client.read(f"{meter.domain}/MMXN1.Vol.mag.f[MX]") == FloatData(231.0))
        assert arrived.empty(), "the first change waits"
        await changed(232.0)
        _, report = await asyncio.to_thread(arrived.get, True, DEADLINE)
        assert len(report.entries) == 1, "the second one sends it, long before bufTm is over"
        await eventually(lambda: client.read(f"{meter.domain}/MMXN1.Vol.mag.f[MX]") == FloatData(232.0))
        assert arrived.empty(), "and waits itself"
        await asyncio.to_thread(rcb.disable, client, block)
        short = rcb.RcbSettings(None, None, None, buf_tm_ms=1000, general_interrogation=False)
        await asyncio.to_thread(rcb.enable, client, block, short)
        begun = await changed(233.0)
        at, _ = await asyncio.to_thread(arrived.get, True, DEADLINE)
        assert at - begun >= 1.0, "until bufTm is over"


def block_of_voltage(client: MmsClient) -> ObjectName:
    """A URCB whose data set has a voltage."""
    for node in discover(client).logical_nodes():
        for reference in node.control_blocks("RP"):
            data_set = rcb.read_status(client, reference.object_name).dat_set or ""
            domain, _, item = data_set.partition("/")
            members = client.get_data_set_members(ObjectName(item, domain))
            if any(member.item.endswith("$Vol") for member in members):
                return reference.object_name
    raise AssertionError("no URCB has a voltage")
