"""ResvTms (IEC 61850-7-2): a buffered block waits for the client that reserved it, and for no other."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from open61850.data import IntData
from open61850.mms import DataAccessError, MmsClient, ObjectName

from tests.integration.test_mms_guard import block, served
from tests.support.brokers import Broker
from tests.support.chain import until
from tests.support.mms import DEADLINE
from tests.support.mms_pdus import number, raw_client, read, tlv, write
from tests.support.mms_tls import site
from tests.support.subscriber import BRCB, TEMPORARILY_UNAVAILABLE

FIRST, OTHER = "127.0.0.1", "127.0.0.2"
UNAVAILABLE = b"\x80\x01\x02"
ON = tlv(0x83, b"\xff")
ACCEPTED = b"\x81\0"
"""The end of the answer to a Write that was done."""


async def test_a_reserved_block_waits_for_the_address_that_reserved_it(broker: Broker) -> None:
    async with served(broker) as (running, _):

        def work() -> None:
            reserve, enable = write((block("ResvTms"), number(3600, 0x85))), write((block("RptEna"), ON))
            with raw_client(running.port, source=FIRST) as first:
                assert first.ask(reserve).endswith(ACCEPTED)
                assert first.ask(enable).endswith(ACCEPTED)
                with raw_client(running.port, source=OTHER) as other:
                    assert not other.ask(enable).endswith(ACCEPTED), "while its owner is there"
            both = write((block("ResvTms"), number(60, 0x85)), (block("RptEna"), ON))
            with raw_client(running.port, source=OTHER) as other:
                for request in (enable, reserve, both, enable):
                    assert not other.ask(request).endswith(ACCEPTED), "while it waits for its owner"
                assert other.ask(both).endswith(UNAVAILABLE * 2)
                second = (block("ResvTms", "BR$brcbPos02"), number(60, 0x85))
                hidden = write(second, (block("ResvTms"), number(60, 0x85)))
                assert other.ask(hidden).endswith(UNAVAILABLE * 2), "behind that of a free block"
                assert other.ask(read(block("ResvTms"))).endswith((3600).to_bytes(2))
            with raw_client(running.port, source=FIRST) as first:
                assert first.ask(reserve).endswith(ACCEPTED)
                assert first.ask(enable).endswith(ACCEPTED)
                assert first.ask(write((block("RptEna"), tlv(0x83, b"\0")))).endswith(ACCEPTED)
                assert first.ask(write((block("ResvTms"), number(0, 0x85)))).endswith(ACCEPTED)
            with raw_client(running.port, source=OTHER) as other:
                assert other.ask(write((block("ResvTms"), number(1, 0x85)))).endswith(ACCEPTED), "it is free"
                assert other.ask(enable).endswith(ACCEPTED)
            with raw_client(running.port, source=FIRST) as first:
                until(lambda: first.ask(reserve).endswith(ACCEPTED), why="its time has passed")

        await asyncio.to_thread(work)


async def test_over_tls_it_waits_for_the_name_in_the_certificate(broker: Broker, tmp_path: Path) -> None:
    """All clients are at one address; a client of the plain port is another one, too."""
    async with site(broker, tmp_path) as there:
        desk, screen = there.ca.issue("desk"), there.ca.issue("screen")

        def refusal(client: MmsClient) -> int | None:
            try:
                client.write(ObjectName(f"{BRCB.item}$ResvTms", BRCB.domain), IntData(3600))
            except DataAccessError as error:
                return int(error.code)
            return None

        def plain() -> MmsClient:
            return MmsClient.connect("127.0.0.1", there.running.port, timeout=DEADLINE)

        def work() -> None:
            with there.connect(desk) as first:
                assert refusal(first) is None
            for connect in (partial(there.connect, screen), plain):
                with connect() as other:
                    assert refusal(other) == TEMPORARILY_UNAVAILABLE
            with there.connect(desk) as again:
                until(lambda: refusal(again) is None, why="the library sees its first association end")

        await asyncio.to_thread(work)
