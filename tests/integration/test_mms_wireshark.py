"""Wireshark decodes all that the server sends: nothing of it is malformed, whatever it answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hostile.capture import Tap, tapped
from tests.hostile.services import question
from tests.support.brokers import Broker
from tests.support.clients import CLIENTS, collect
from tests.support.mms_pdus import confirmed, raw_client
from tests.support.scada import Client, LacksError
from tests.support.served import Served, served
from tests.support.wireshark import dissected

QUESTIONS = 300
SEED = 61850


def session(client: Client, there: Served) -> None:
    """Every service that the client has."""
    vol, pos = f"{there.meter.domain}/MMXN1.Vol", f"{there.meter.domain}/CSWI1.Pos"
    client.directory()
    client.read(vol, "MX")
    client.members("SMGW001GW/LLN0.dsGw")
    for lacking in (client.identify, lambda: client.values("SMGW001GW/LLN0.dsGw")):
        with suppress(LacksError):
            lacking()
    with suppress(LacksError):
        client.create("@mine", [f"{vol}[MX]"])
        client.members("@mine")
        client.delete("@mine")
    for buffered, node in ((False, "MMXN1.Vol"), (True, "XSWI1.Pos")):
        client.enable(there.block(buffered=buffered, node=node)[0], interrogate=True)
        assert collect(client, 1)
    client.select(pos, close=False)
    client.cancel(pos, close=False)
    client.operate(pos, close=False)
    client.operate(pos, close=True)


@pytest.mark.parametrize("name", CLIENTS)
async def test_all_that_a_client_gets_is_decoded(broker: Broker, tmp_path: Path, name: str) -> None:
    async with served(broker, tmp_path) as there:

        def work() -> Tap:
            with tapped("127.0.0.1", there.running.port) as tap, CLIENTS[name](tap.port) as client:
                session(client, there)
            return tap

        tap = await asyncio.to_thread(work)
        found = await asyncio.to_thread(dissected, tap.turns, tmp_path)
        assert found.faults == []
        assert found.client > 20
        assert found.server > 20


async def test_the_answers_to_odd_requests_are_decoded(broker: Broker, tmp_path: Path) -> None:
    """Requests that no client makes (``tests/hostile/services.py``): errors, rejects, responses."""
    async with served(broker, tmp_path) as there:

        def work() -> Tap:
            with tapped("127.0.0.1", there.running.port) as tap, raw_client(tap.port) as client:
                for number in range(QUESTIONS):
                    client.send(confirmed(question(SEED, number, there.meter.domain)[1], number))
                    client.hear()
            return tap

        tap = await asyncio.to_thread(work)
        found = await asyncio.to_thread(dissected, tap.turns, tmp_path)
        assert [fault for fault in found.faults if "of the server" in fault] == []
        assert found.server > QUESTIONS
        of_client, answer = tap.turns[-1]
        assert not of_client
        short = answer[:2] + (len(answer) - 1).to_bytes(2) + answer[4:-1]
        damaged = await asyncio.to_thread(dissected, [*tap.turns[:-1], (False, short)], tmp_path)
        assert len(damaged.faults) == len(found.faults) + 1, "an octet too few would be seen"
