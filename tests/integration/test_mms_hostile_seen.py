"""What the hostile runs would see of a server that is not well: wrong answers, slow ones, a leak."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress

import pytest

from tests.hostile.layers import packets
from tests.hostile.questions import CANARY, Questions
from tests.hostile.reader import Reader, read_on
from tests.hostile.run import LEAK_MEBIBYTES, leak
from tests.support import mms_pdus
from tests.support.mms_pdus import capture, next_message

SEED = 61850


@pytest.mark.parametrize("fault", ["none", "twice", "canary", "closed"])
def test_what_is_wrong_with_an_answer_would_be_seen(fault: str) -> None:
    """A server that answers every request, but the seventh as the fault says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer_wrongly, args=(listener, fault))
        thread.start()
        with Questions(listener.getsockname()[1], "D", seed=SEED, count=40, threads=1) as asking:
            asking.wait()
        thread.join()
    wanted = {"none": 0}.get(fault, 1)
    assert len(asking.answers.problems) == wanted, asking.answers.problems


def _answer_wrongly(listener: socket.socket, fault: str) -> None:
    connection, _ = listener.accept()
    with connection, suppress(OSError, EOFError):
        stream = connection.makefile("rb")
        for packet in capture("reads").opening:
            next_message(stream)
            connection.sendall(packet)
        for number in range(40):
            next_message(stream)
            invoke = 5 if (number, fault) == (7, "twice") else number
            extra = CANARY if (number, fault) == (7, "canary") else b""
            pdu = mms_pdus.tlv(0xA1, mms_pdus.number(invoke, 0x02), mms_pdus.tlv(0x82, extra))
            if (number, fault) == (7, "closed"):
                return
            connection.sendall(b"".join(packets(mms_pdus.message(pdu))))


def test_a_leak_would_be_seen() -> None:
    """A heap that fills up is none."""
    filling = [66.0 + 3.5 * (1 - 0.5 ** (n / 10)) for n in range(200)]
    assert leak(filling) < 0.1
    assert leak([one + n * 0.04 for n, one in enumerate(filling)]) > LEAK_MEBIBYTES


def test_a_slow_answer_would_be_seen() -> None:
    """A server that answers, but takes its time, while it waits for no processor."""
    seen, stop = Reader(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer_slowly, args=(listener, stop))
        thread.start()
        read_on(seen, listener.getsockname()[1], "D", os.getpid(), stop)
        thread.join()
    assert seen.failures == []
    assert seen.reads == 2
    assert seen.slowest > SLOW_SECONDS / 2


SLOW_SECONDS = 1.0


def _answer_slowly(listener: socket.socket, stop: threading.Event) -> None:
    connection, _ = listener.accept()
    with connection:
        stream = connection.makefile("rb")
        for packet in capture("reads").opening:
            next_message(stream)
            connection.sendall(packet)
        for number in (1, 2):
            next_message(stream)
            time.sleep(SLOW_SECONDS * (number - 1))
            if number == 2:
                stop.set()
            pdu = mms_pdus.tlv(0xA1, mms_pdus.number(number, 0x02), mms_pdus.tlv(0xA4, mms_pdus.tlv(0xA1)))
            connection.sendall(b"".join(packets(mms_pdus.message(pdu))))
