"""Hostile and rude clients on the MMS port: the others are served, nothing grows, nothing stays behind.

The long form is ``make hostile MESSAGES=100000``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from open61850.mms import ObjectName
from open61850.mms.errors import MmsError

from mms_bridge import sockets
from scl_builder.model.logical_devices import MAX_ASSOCIATIONS
from tests.hostile import services
from tests.hostile.attack import given_up, never_reading
from tests.hostile.ber import parse
from tests.hostile.capture import Capture, load
from tests.hostile.layers import DATA
from tests.hostile.mutate import KINDS, attack
from tests.hostile.process import MmsProcess
from tests.hostile.run import GROWTH_MEBIBYTES, run
from tests.support.brokers import Broker
from tests.support.cli import KEPT
from tests.support.mms import DEADLINE, Scene, eventually, scene
from tests.support.mms_pdus import capture, next_message

SEED = 61850
MESSAGES = 20_000 if os.environ.get(KEPT) != "false" else 500
QUESTIONS = 5_000 if os.environ.get(KEPT) != "false" else 500
"""Fewer without the wait hook: the library waits 10 ms for each other association before it answers."""


@asynccontextmanager
async def served(broker: Broker, bridge: MmsProcess | None = None) -> AsyncIterator[Scene]:
    """One meter in a CID that is served."""
    async with scene(broker, bridge=None if bridge is None else bridge.running) as running:
        meter = await running.add_meter(1)
        await meter.read(voltage=230.0)
        await running.publish_cid()
        (await running.associate()).close()
        yield running


@pytest.mark.parametrize("session", load(), ids=lambda session: session.name)
async def test_a_capture_is_answered_as_it_was_recorded(broker: Broker, session: Capture) -> None:
    """What is not mutated is answered, every packet of it: else the mutants would test nothing deep."""
    async with served(broker) as running:
        answers = await asyncio.to_thread(_answers, running.port, session)
        assert len(answers) == len(session.packets)
        assert answers[0][1] == 0xD0  # COTP: connection confirm
        assert answers[1][0] == 0x0E  # session: ACCEPT
        # response, or error; the services of files are off: reject
        expected = {b"\xa1", b"\xa2"} | ({b"\xa4"} if session.name == "files" else set())
        assert {_pdu(answer) for answer in answers[2:]} <= expected


def _answers(port: int, session: Capture) -> list[bytes]:
    """One answer for each packet, connection confirm first; reports that come in between are left out."""
    answers = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        stream = connection.makefile("rb")
        for packet in session.packets:
            connection.sendall(packet)
            answer = next_message(stream)
            while _pdu(answer) == b"\xa3":
                answer = next_message(stream)
            answers.append(answer)
    return answers


def _pdu(message: bytes) -> bytes:
    """Tag of the MMS PDU in a message; empty if it is none."""
    if not message.startswith(DATA):
        return b""
    [presentation] = parse(message[len(DATA) :])
    return presentation.parts[0].parts[1].parts[0].tag


def test_a_seed_gives_the_same_attacks_and_they_are_no_captures() -> None:
    corpus = load()
    drawn = [attack(SEED, number, corpus) for number in range(200)]
    assert drawn == [attack(SEED, number, corpus) for number in range(200)]
    assert drawn != [attack(SEED + 1, number, corpus) for number in range(200)]
    assert {kind for made in drawn for kind in made.kinds} == set(KINDS)
    known = {packet for session in corpus for packet in session.packets}
    assert sum(set(made.pieces) <= known for made in drawn) < 20


async def test_mutants_harm_nobody(tmp_path: Path) -> None:
    verdict = await run(tmp_path, seed=SEED, messages=MESSAGES)
    assert verdict.problems == []
    assert verdict.toll.messages >= MESSAGES
    assert verdict.reader.reads > 100


async def test_every_request_has_one_answer_and_none_has_anothers_octets(tmp_path: Path) -> None:
    verdict = await run(tmp_path, seed=SEED, messages=0, questions=QUESTIONS)
    assert verdict.problems == []
    assert verdict.answers.asked == QUESTIONS
    assert set(verdict.answers.kinds) == set(services.KINDS)
    assert verdict.answers.responses > QUESTIONS // 20


async def test_a_crash_would_be_seen(tmp_path: Path) -> None:
    def crash(_toll: object, process: MmsProcess) -> None:
        if process.ended is None:
            os.kill(process.pid, signal.SIGSEGV)

    verdict = await run(tmp_path, seed=SEED, messages=MESSAGES, watch=crash)
    assert any("ended by itself (-11)" in problem for problem in verdict.problems)
    assert any("behaves failed" in problem for problem in verdict.problems)


async def test_who_does_not_associate_is_given_up(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(broker) as running:
        opening = capture("reads").opening
        client = await running.associate()
        monkeypatch.setattr(sockets, "ASSOCIATE_SECONDS", 0.5)
        for told in (b"", opening[0], opening[0] + opening[1][:50]):
            with socket.create_connection(("127.0.0.1", running.port), timeout=60) as rude:
                rude.sendall(told)
                await asyncio.to_thread(_read_to_the_end, rude)
        client.get_name_list(9)  # silent for longer than that, but associated
        client.close()


def _read_to_the_end(rude: socket.socket) -> None:
    while rude.recv(1000):
        pass


async def test_half_open_connections_hold_no_place(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are given up for a client that comes, long before they would be for nobody."""
    monkeypatch.setattr(sockets, "ASSOCIATE_SECONDS", 3600)
    async with served(broker) as running, _crowd(running, MAX_ASSOCIATIONS):
        (await running.associate()).close()


@asynccontextmanager
async def _crowd(running: Scene, count: int) -> AsyncIterator[None]:
    with ExitStack() as crowd:
        for _ in range(count):
            crowd.enter_context(socket.create_connection(("127.0.0.1", running.port)))
        yield


async def test_associated_clients_keep_their_place(broker: Broker) -> None:
    async with served(broker) as running:
        with ExitStack() as clients:
            joined = [clients.enter_context(await running.associate()) for _ in range(MAX_ASSOCIATIONS)]
            await asyncio.sleep(sockets.GRACE_SECONDS * 1.5)  # older than what is given up for another
            with pytest.raises((MmsError, OSError)):
                await asyncio.to_thread(running.connect)
            assert all(client.get_name_list(9) for client in joined)


async def test_a_client_that_never_reads_costs_nothing(broker: Broker, tmp_path: Path) -> None:
    """Requests whose answers nobody takes stay in the socket; the process must not turn round and round."""
    process = MmsProcess(tmp_path)
    async with served(broker, process) as running:
        with await running.associate() as client, never_reads(running) as rude:
            assert await _cpu(process) < 0.2
            with suppress(OSError):
                rude.shutdown(socket.SHUT_WR)
            assert await _cpu(process) < 0.2
            assert client.get_name_list(9)


async def test_a_client_that_never_reads_is_given_up(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "UNREAD_SECONDS", 1)
    async with served(broker) as running:
        with await running.associate() as client, never_reads(running) as rude:
            await eventually(lambda: given_up(rude))
            assert client.get_name_list(9)


async def test_reports_that_nobody_takes_are_bounded(broker: Broker, tmp_path: Path) -> None:
    process = MmsProcess(tmp_path)
    async with served(broker, process) as running:
        [meter] = running.meters.values()
        session = capture("blocks")
        with await running.associate() as client, socket.socket() as rude:
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            rude.connect(("127.0.0.1", running.port))
            rude.sendall(b"".join(session.packets))
            enabled = ObjectName("LLN0$RP$urcbVol01$RptEna", "SMGW001GW")
            await eventually(lambda: getattr(client.read(enabled), "value", False))
            before = process.mebibytes
            for number in range(4000):
                await meter.read(voltage=200.0 + number % 100)
            assert process.mebibytes - before < GROWTH_MEBIBYTES * 2
            assert client.get_name_list(9)


@contextmanager
def never_reads(running: Scene) -> Iterator[socket.socket]:
    """A client that has enabled reports and asked until no more could be sent, and has read nothing."""
    with socket.socket() as rude:
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        rude.connect(("127.0.0.1", running.port))
        rude.settimeout(1.0)
        with suppress(TimeoutError):
            rude.sendall(never_reading(capture("blocks")))
        yield rude


async def _cpu(process: MmsProcess) -> float:
    """Share of a core that the process takes within a second."""
    told = psutil.Process(process.pid)
    before, began = sum(told.cpu_times()[:2]), time.monotonic()
    await asyncio.sleep(1.0)
    return float(sum(told.cpu_times()[:2]) - before) / (time.monotonic() - began)


async def test_a_client_that_reads_late_gets_all_answers(broker: Broker) -> None:
    """The library stops reading where answers are not taken; it must go on when they are."""
    session = capture("names")
    requests = 3000  # 30 MB of answers: more than the kernel keeps
    async with served(broker) as running:
        with socket.socket() as late:
            late.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            late.connect(("127.0.0.1", running.port))
            late.settimeout(DEADLINE)
            sending = asyncio.create_task(
                asyncio.to_thread(late.sendall, b"".join([*session.opening, session.requests[1] * requests]))
            )
            await asyncio.sleep(1.0)
            stream = late.makefile("rb")
            for _ in range(requests + 2):
                assert await asyncio.to_thread(next_message, stream)
            await sending
