"""Publishes results of commands until the bridge has them in the ledger, as readings until they are stored.

An older bridge confirms no result, and its ``stored`` has no time. Then a result is published again at each
new connection while a broker that was killed may have forgotten it (`switch_log.FORGOTTEN`).

>>> results = Results(switch, publish, faults)          # doctest: +SKIP
>>> await results.tell_owed(owed)                        # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from broker.contract.notice import MeterNotice, NoticeCode
from broker.contract.result import Result
from meter_firmware.faults import Faults
from meter_firmware.relay.switch import Switch
from meter_firmware.storage import StorageError

AT_ONCE = 100
"""Results told in one round."""
FIRST_WAIT, LONGEST_WAIT = 10.0, 600.0
"""Seconds between two rounds; each round in vain doubles it."""


class Results:
    """The results of one session; ``publish`` raises aiomqtt.MqttError when the connection is gone."""

    def __init__(self, switch: Switch, publish: Callable[[bytes], Awaitable[None]], faults: Faults) -> None:
        self._switch = switch
        self._publish = publish
        self._faults = faults
        self._confirming = asyncio.Event()
        self._progress = False
        self._skip = 0

    async def tell(self, result: Result) -> None:
        """Publish it, and note that the broker has it."""
        await self._publish(result.payload())
        try:
            await self._switch.answered(result)
        except StorageError as error:  # it is told; that it was, is noted the next time
            self._faults.tell("disk refuses", error)

    async def tell_owed(self, owed: list[Result]) -> None:
        """At a new connection: what the switch still owes."""
        for result in owed:
            await self.tell(result)

    def bridge_confirms(self) -> None:
        """The bridge is there, and one that confirms results."""
        self._switch.bridge_confirms = True
        self._confirming.set()

    async def take(self, notice: MeterNotice) -> None:
        """The bridge says that a result is in the ledger; StorageError if the disk refuses."""
        if notice.code == NoticeCode.RECORDED and notice.command_id is not None:
            self.bridge_confirms()
            self._progress = True
            await self._switch.recorded(notice.command_id, outcome=notice.reason)

    async def run(self) -> None:
        """Publish again what is not confirmed, oldest first, for ever, while the bridge is there."""
        wait = FIRST_WAIT
        while True:
            await self._confirming.wait()
            self._confirming.clear()
            self._progress = False
            told = await self._tell_again()
            await asyncio.sleep(wait)
            wait = FIRST_WAIT if self._progress or not told else min(2 * wait, LONGEST_WAIT)

    async def _tell_again(self) -> int:
        """Publish the next of what is not confirmed; how many."""
        try:
            owed = await self._switch.unrecorded(skip=self._skip, limit=AT_ONCE)
        except StorageError as error:
            self._faults.tell("disk refuses", error)
            return 0
        self._skip = self._skip + AT_ONCE if len(owed) == AT_ONCE else 0
        await self.tell_owed(owed)
        return len(owed)
