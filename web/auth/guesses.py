"""Queue of passwords to be checked: a check takes about 0.1 s of a core and 32 MiB.

The queue is short, and the newest is checked first: a single user does not wait behind an attacker's guesses.
Networks with an earlier login have priority. When the queue is full, the oldest request receives 503 at once.

>>> queue = Guesses(at_once=2, waiting=16, of_network=4)
>>> await queue.turn("192.0.2.7")  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from web.serving.problem import ProblemError

MOST_KNOWN = 10_000
"""Networks that are remembered."""


class BusyError(ProblemError):
    """Too many passwords wait."""

    def __init__(self) -> None:
        super().__init__(
            503, "Too many logins at the same time: try again in a second", headers={"Retry-After": "1"}
        )


class Guesses:
    """The queue; everything in the event loop's thread."""

    def __init__(self, *, at_once: int, waiting: int, of_network: int) -> None:
        self._free = at_once
        self._most = waiting
        self._of_network = of_network
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        """The oldest first."""
        self._known: OrderedDict[str, None] = OrderedDict()

    def succeeded(self, network: str) -> None:
        """Somebody has logged in from there."""
        self._known[network] = None
        self._known.move_to_end(network)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    @asynccontextmanager
    async def turn(self, network: str) -> AsyncIterator[None]:
        """Wait for a turn and have it; BusyError when others come first, 429 when too many of it wait."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(network)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, network: str) -> None:
        if sum(one == network for one, _ in self._waiting) >= self._of_network:
            detail = f"Too many attempts: {self._of_network} of yours wait"
            raise ProblemError(429, detail, headers={"Retry-After": "1"})
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((network, turn))
        if len(self._waiting) > self._most:
            self._take(newest=False).set_exception(BusyError())
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on()  # it was ours already
            raise

    def _pass_on(self) -> None:
        self._waiting = [one for one in self._waiting if not one[1].done()]  # some have gone away
        if self._waiting:
            self._take(newest=True).set_result(None)
        else:
            self._free += 1

    def _take(self, *, newest: bool) -> asyncio.Future[None]:
        """The newest, of a known network if there is one; or the oldest, of an unknown one if possible."""
        places = range(len(self._waiting))
        order = reversed(places) if newest else places
        wanted = newest  # whether it is to be known
        place = next(
            (at for at in order if (self._waiting[at][0] in self._known) is wanted), -1 if newest else 0
        )
        return self._waiting.pop(place)[1]
