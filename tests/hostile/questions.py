"""Asks the questions of ``services.py``, and sees that each has one answer and none has another's octets.

>>> with Questions(port, "SM_1", seed=7, count=5000) as asking:  # doctest: +SKIP
...     asking.wait()
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.hostile.drawers import Drawers
from tests.hostile.services import question
from tests.support.mms_pdus import RESPONSE, RawClient, confirmed, invoke_of, raw_client

CANARY = b"\xc3\x9bCanary-of-another-client\xc3\x9b"
"""Octets that other messages leave in the heap of the server's process."""
BATCH = 20
"""Requests that are sent before the answers are read."""
ASKED_ON_ONE = 200
"""After so many an association is ended, and another one begins."""
THREADS = 2
ASSOCIATE_SECONDS = 60.0
WITHOUT_INVOKE = None


@dataclass
class Answers:
    """What came of the questions."""

    asked: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    responses: int = 0
    """Answers that are neither error nor reject."""
    problems: list[str] = field(default_factory=list)


class Questions(Drawers):
    """Asks the questions of a seed until so many are answered."""

    def __init__(self, port: int, domain: str, *, seed: int, count: int, threads: int = THREADS) -> None:
        super().__init__(threads)
        self.answers = Answers()
        self._port = port
        self._domain = domain
        self._seed = seed
        self._count = count
        self._next = 0

    def _drawn(self) -> range:
        with self.lock:
            first = self._next
            self._next = min(self._count, first + ASKED_ON_ONE)
            return range(first, self._next)

    def work(self) -> None:
        """Ask one batch of questions after the other."""
        while not self.stop.is_set() and not self.answers.problems and (numbers := self._drawn()):
            try:
                self._ask(numbers)
            except (OSError, EOFError, ValueError, AssertionError) as error:
                self.answers.problems.append(f"seed {self._seed}, questions {numbers}: {error!r}")

    def _ask(self, numbers: range) -> None:
        with ExitStack() as stack:
            client = self._associated(stack)
            client.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for batch in _batches(numbers):
                drawn = {number: question(self._seed, number, self._domain) for number in batch}
                for number, (kind, service) in drawn.items():
                    client.send(confirmed(service, number))
                    self.answers.kinds[kind] += 1
                got = Counter(self._heard(client.hear()) for _ in drawn)
                nameless = got.pop(WITHOUT_INVOKE, 0)
                if set(got) - set(drawn) or any(count > 1 for count in got.values()):
                    raise AssertionError(f"answers {got} to {list(drawn)}")
                if len(drawn) - len(got) != nameless:
                    raise AssertionError(f"no answer to {set(drawn) - set(got)}")
                with self.lock:
                    self.answers.asked += len(drawn)

    def _associated(self, stack: ExitStack) -> RawClient:
        """An association, as soon as there is room beside the rude ones."""
        end = time.monotonic() + ASSOCIATE_SECONDS
        while True:
            try:
                return stack.enter_context(raw_client(self._port))
            except (OSError, EOFError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def _heard(self, pdu: bytes) -> int | None:
        if CANARY in pdu:
            raise AssertionError(f"a stranger's octets: {pdu[:200].hex()}")
        self.answers.responses += pdu[0] == RESPONSE
        return invoke_of(pdu)


def _batches(numbers: range) -> Iterator[range]:
    for first in range(numbers.start, numbers.stop, BATCH):
        yield range(first, min(numbers.stop, first + BATCH))
