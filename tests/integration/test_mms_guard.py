"""What the library mishandles, over a real association: refused, answered once; the association goes on."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.support.brokers import Broker
from tests.support.mms import Scene, scene
from tests.support.mms_pdus import (
    CONCLUDED,
    ERROR,
    REJECT,
    RESPONSE,
    capture,
    command,
    confirmed,
    define,
    invoke_of,
    number,
    object_name,
    raw_client,
    read,
    text,
    tlv,
    write,
)

GATEWAY, NODE = "SMGW001GW", "LLN0"


@asynccontextmanager
async def served(broker: Broker) -> AsyncIterator[tuple[Scene, str]]:
    """A bridge with one meter, and the meter's domain."""
    async with scene(broker) as running:
        meter = await running.add_meter(1)
        await meter.read(voltage=230.0)
        await running.publish_cid()
        (await running.associate()).close()
        yield running, meter.domain


def block(attribute: str, kind: str = "BR$brcbPos01") -> bytes:
    """An attribute of a report control block of the gateway."""
    return object_name(GATEWAY, f"{NODE}${kind}${attribute}")


def oper(domain: str) -> bytes:
    """The meter's relay."""
    return object_name(domain, "CSWI1$CO$Pos$Oper")


Asked = Callable[[str], bytes]
VALUE = object_name("SMGW001GW", "LLN0$ST$Beh")
REQUESTS: dict[str, tuple[Asked, tuple[int, ...]]] = {
    "an Oper among several": (
        lambda d: write((object_name(d, "LLN0$DC$NamPlt$d"), text("x")), (oper(d), command(close=False))),
        (RESPONSE,),
    ),
    "two Opers": (lambda d: write(*[(oper(d), command(close=False))] * 2), (RESPONSE,)),
    "ctlNum 256": (lambda d: write((oper(d), command(close=False, ctl_num=256))), (RESPONSE,)),
    "ResvTms 32768": (lambda _: write((block("ResvTms"), number(32768))), (RESPONSE,)),
    "RptID of 300": (lambda _: write((block("RptID"), text("x" * 300))), (RESPONSE,)),
    "OptFlds of 5 bits": (lambda _: write((block("OptFlds"), tlv(0x84, b"\x03\xf8"))), (RESPONSE,)),
    "a list of the server": (lambda d: define(tlv(0x80, b"l"), object_name(d, "MMXN1$MX$Vol")), (ERROR,)),
    "a list of nothing": (lambda d: define(tlv(0x82, b"l"), object_name(d, "NONE1$MX$No")), (ERROR,)),
    "a list of an unknown device": (lambda _: define(tlv(0x82, b"l"), object_name("NO", "LLN0$A")), (ERROR,)),
    "attributes by address": (lambda _: tlv(0xA6, tlv(0xA1, number(7, 0x80))), (ERROR,)),
    "attributes of nothing": (lambda _: tlv(0xA6, tlv(0xA0, object_name("NO", "A"))), (ERROR,)),
    "read by address": (lambda _: tlv(0xA4, tlv(0xA1, tlv(0xA0, tlv(0x30, tlv(0xA1, number(7)))))), (ERROR,)),
    "read of the server": (lambda _: read(tlv(0x80, b"v")), (RESPONSE, ERROR)),
    "read of a list that is not there": (
        lambda _: tlv(0xA4, tlv(0xA1, tlv(0xA1, tlv(0x82, b"none")))), (RESPONSE, ERROR),
    ),
    "members of a list that is not there": (lambda _: tlv(0xAC, tlv(0x82, b"none")), (ERROR,)),
    "members of a list of the server": (lambda _: tlv(0xAC, tlv(0x80, b"none")), (ERROR,)),
    "names of no class": (
        lambda _: tlv(0xA1, tlv(0xA0, number(99, 0x80)), tlv(0xA1, tlv(0x80))), (ERROR, REJECT),
    ),
    "names of no device": (
        lambda _: tlv(0xA1, tlv(0xA0, number(0, 0x80)), tlv(0xA1, tlv(0x81, b"NO"))), (ERROR, REJECT),
    ),
    "nothing to read": (lambda _: tlv(0xA4), (RESPONSE, ERROR, REJECT)),
    "status": (lambda _: tlv(0x80, b"\0"), (RESPONSE,)),
    "FileOpen without a name": (lambda _: tlv(0xBF48, tlv(0xA0), number(0, 0x81)), (REJECT,)),
    "ReadJournal": (lambda d: tlv(0xBF41, tlv(0xA0, object_name(d, "LLN0$log"))), (REJECT,)),
}  # fmt: skip


async def test_each_request_has_one_answer_and_moves_nothing(broker: Broker) -> None:
    async with served(broker) as (running, domain):

        def work() -> None:
            with raw_client(running.port) as client:
                for name, (made, kinds) in REQUESTS.items():
                    assert client.ask(made(domain))[0] in kinds, name
                    assert client.ask(read(VALUE))[0] == RESPONSE, name  # no second answer came before

        await asyncio.to_thread(work)
        [meter] = running.meters.values()
        assert meter.commands == []


BEYOND = {
    "RptID": text("x" * 300),
    "OptFlds": tlv(0x84, b"\x03\xf8"),
    "TrgOps": tlv(0x84, b"\x00\xff"),
    "BufTm": number(2**32),
    "IntgPd": number(2**32),
}
BEYOND_OF_BRCB = {"ResvTms": number(32768), "EntryID": tlv(0x89, bytes(9))}


@pytest.mark.parametrize(
    ("kind", "reserve", "values"),
    [
        ("RP$urcbVol01", ("Resv", tlv(0x83, b"\xff")), BEYOND),
        ("BR$brcbPos01", ("ResvTms", number(60, 0x85)), BEYOND | BEYOND_OF_BRCB),
    ],
    ids=["URCB", "BRCB"],
)
async def test_values_beyond_their_type_are_not_stored(
    broker: Broker, kind: str, reserve: tuple[str, bytes], values: dict[str, bytes]
) -> None:
    """Of a block that the client has reserved: nothing but the value is wrong."""
    async with served(broker) as (running, _):

        def work() -> None:
            with raw_client(running.port) as client:
                assert client.ask(write((block(reserve[0], kind), reserve[1]))).endswith(b"\x81\0")
                for attribute, value in values.items():
                    before = client.ask(read(block(attribute, kind)))
                    refused = client.ask(write((block(attribute, kind), value)))
                    assert refused[-3:] == b"\x80\x01\x0b", attribute
                    assert client.ask(read(block(attribute, kind)))[6:] == before[6:], attribute

        await asyncio.to_thread(work)


async def test_ten_lists_of_an_association_and_an_eleventh_that_is_refused(broker: Broker) -> None:
    async with served(broker) as (running, domain):

        def work() -> None:
            member = object_name(domain, "MMXN1$MX$Vol")
            for _ in range(3):  # they end with their association
                with raw_client(running.port) as client:
                    told = [client.ask(define(tlv(0x82, b"l%d" % n), member))[0] for n in range(11)]
                    assert told == [RESPONSE] * 10 + [ERROR]

        await asyncio.to_thread(work)


async def test_a_conclude_is_answered_and_frees_the_place(broker: Broker) -> None:
    async with served(broker) as (running, _):

        def work() -> None:
            for _ in range(12):  # more than there are places
                with raw_client(running.port) as client:
                    client.send(bytes.fromhex("8b00"))
                    assert client.hear()[0] == CONCLUDED
                    with pytest.raises(EOFError):
                        client.hear()

        await asyncio.to_thread(work)


async def test_a_cancel_with_another_number_deselects_nothing(broker: Broker) -> None:
    async with served(broker) as (running, domain):

        def work() -> None:
            at = [object_name(domain, f"CSWI1$CO$Pos${name}") for name in ("SBOw", "Cancel", "Oper")]
            cancel = command(close=False, ctl_num=6, check=False)
            with raw_client(running.port) as client, raw_client(running.port) as other:
                assert client.ask(write((at[0], command(close=False, ctl_num=5)))).endswith(b"\x81\0")
                assert client.ask(write((at[1], cancel))).endswith(b"\x80\x01\x03")
                assert not other.ask(write((at[0], command(close=False)))).endswith(b"\x81\0")
                cancel = command(close=False, ctl_num=5, check=False)
                assert client.ask(write((at[1], cancel))).endswith(b"\x81\0")
                assert other.ask(write((at[0], command(close=False)))).endswith(b"\x81\0")

        await asyncio.to_thread(work)


async def test_class_4_is_refused(broker: Broker) -> None:
    async with served(broker) as (running, _):
        request = bytearray(capture("reads").opening[0])
        request[10] = 0x40
        with socket.create_connection(("127.0.0.1", running.port), timeout=60) as connection:
            connection.sendall(request)
            told = await asyncio.to_thread(connection.recv, 100)
            assert told[5] == 0x80  # DR
            assert await asyncio.to_thread(connection.recv, 100) == b""


async def test_pipelined_requests_are_each_answered(broker: Broker) -> None:
    """Good ones and refused ones in one segment: every invokeID once, in order."""
    async with served(broker) as (running, domain):

        def work() -> list[int | None]:
            with raw_client(running.port) as client:
                bad, good = write(*[(oper(domain), command(close=False))] * 2), read(VALUE)
                told = []
                for invoke in range(1, 101):
                    client.send(confirmed(bad if invoke % 3 == 0 else good, invoke))
                for _ in range(100):
                    told.append(invoke_of(client.hear()))
                return told

        assert await asyncio.to_thread(work) == list(range(1, 101))
