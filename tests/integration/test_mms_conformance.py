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
from open61850.mms.model import discover
from open61850.mms.report import Report
from open61850.mms.types import PrimitiveType

from tests.support.brokers import Broker
from tests.support.mms import DrivenMeter, Scene, scene
from tools.docs import conformance_pixit

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

    with MmsClient.connect("127.0.0.1", running.port, on_information_report=take) as client:
        block = await asyncio.to_thread(block_of_voltage, client)
        settings = rcb.RcbSettings(None, None, None, buf_tm_ms=1500, general_interrogation=False)
        await asyncio.to_thread(rcb.enable, client, block, settings)
        await meter.read(**{**READING, "voltage": 231.0})
        await asyncio.sleep(0.1)
        sent = time.monotonic()
        await meter.read(**{**READING, "voltage": 232.0})
        first, _ = await asyncio.to_thread(arrived.get, True, 1.0)
        assert first - sent < 0.5  # the first change did not wait for bufTm to be over
        second, report = await asyncio.to_thread(arrived.get, True, 3.0)
        assert second - sent > 1.0  # the second one did
        assert len(report.entries) == 1


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
