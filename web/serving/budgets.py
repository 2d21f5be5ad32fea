"""Limits on scarce resources: shares of accounts, and a queue for many requests of one account.

>>> exports = Budget("exports", total=4, each=2)
>>> with exports.place("anna"), exports.place("anna"):
...     exports.take("anna")
Traceback (most recent call last):
web.serving.problem.ProblemError: 2 exports of anna are running: this is the limit of one account
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from web.serving.problem import ProblemError

AGAIN = {"Retry-After": "5"}


class Budget:
    """At most ``total`` at the same time, of which one account has at most ``each``; for any thread."""

    def __init__(self, what: str, *, total: int, each: int) -> None:
        self._what = what
        self._total = total
        self._each = each
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, account: str) -> None:
        """One for ``account``; 429 when it has its share, 503 when there is none for anybody."""
        with self._lock:
            if self._taken[account] >= self._each:
                raise ProblemError(
                    429,
                    f"{self._each} {self._what} of {account} are running: this is the limit of one account",
                    headers=AGAIN,
                )
            if self._taken.total() >= self._total:
                raise ProblemError(
                    503, f"{self._total} {self._what} are running: try again later", headers=AGAIN
                )
            self._taken[account] += 1

    def give_back(self, account: str) -> None:
        """It is over."""
        with self._lock:
            self._taken[account] -= 1
            if self._taken[account] <= 0:
                del self._taken[account]

    @contextmanager
    def place(self, account: str) -> Iterator[None]:
        """Hold one; errors as of :meth:`take`."""
        self.take(account)
        try:
            yield
        finally:
            self.give_back(account)


class Turns:
    """Requests of one account are answered ``each`` at a time; ``waiting`` more of them wait for their turn.

    So one account has neither all threads nor all connections to the database.
    """

    def __init__(self, *, each: int, waiting: int) -> None:
        self._each = each
        self._waiting = waiting
        self._asked: Counter[str] = Counter()
        self._turns: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def turn(self, account: str) -> AsyncIterator[None]:
        """Wait for a turn and have it; 429 when too many wait."""
        if self._asked[account] >= self._each + self._waiting:
            raise ProblemError(
                429, f"{self._waiting} requests of {account} wait: send fewer at a time", headers=AGAIN
            )
        self._asked[account] += 1
        turns = self._turns.setdefault(account, asyncio.Semaphore(self._each))
        try:
            async with turns:
                yield
        finally:
            self._asked[account] -= 1
            if not self._asked[account]:
                del self._asked[account], self._turns[account]


class Budgets:
    """Those of the web; ``streams`` in all, and of one account."""

    def __init__(self, *, streams: int, streams_per_account: int) -> None:
        self.requests = Turns(each=10, waiting=100)
        """The database gives 15 connections, and there are 40 threads."""
        self.http_meters = Turns(each=4, waiting=100)
        """Of the meters that speak plain HTTP, by network."""
        self.streams = Budget("live streams", total=streams, each=streams_per_account)
        self.exports = Budget("exports", total=4, each=2)
        """Each holds a connection to the database for as long as it reads."""
        self.comparisons = Budget("comparisons of SCL files", total=4, each=1)
        """From the first octet of the file to the answer."""
        self.comparing = asyncio.Semaphore(1)
        """The process that compares: its memory and ours must fit into what the service may have."""
