"""A control desk for the tests: select, operate and cancel one by one, and the AddCause of each.

open61850's own ``operate`` does all steps of a control model at once; here a test stops between them.

>>> desk = Desk(client, meter, "CSWI1$CO$Pos")              # doctest: +SKIP
>>> await desk.select(False), await desk.operate(False)     # doctest: +SKIP
(None, None)
"""

from __future__ import annotations

import asyncio
import queue
from dataclasses import dataclass, field
from typing import Any

from open61850.mms import MmsClient, ObjectName, control
from open61850.mms.control import LastApplError, Origin
from open61850.mms.errors import DataAccessError
from open61850.mms.pdu import InformationReport

from tests.support.mms import DrivenMeter

POS = "CSWI1$CO$Pos"
OPENING, CLOSING = "XSWI1$CO$BlkOpn", "XSWI1$CO$BlkCls"
DENIED = -1
"""Refused without an AddCause."""
TERMINATION_SECONDS = 60.0
CAUSE_SECONDS = 0.5


@dataclass
class Desk:
    """One client's control of one object; ``origin`` and ``number`` go into every request."""

    client: MmsClient
    meter: DrivenMeter
    item: str = POS
    origin: Origin = field(default_factory=lambda: Origin(3, b"desk"))
    number: int = 1
    terminations: queue.Queue[int | None] = field(default_factory=queue.Queue)
    causes: queue.Queue[int] = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        self.client.add_report_listener(self._listen)

    def _listen(self, report: InformationReport) -> None:
        """A LastApplError alone tells of a refusal, one beside Oper of a negative termination."""
        if report.list_name is not None:
            return
        told = dict(zip(map(str, report.variables), report.results, strict=False))
        error = next((value for name, value in told.items() if "LastApplError" in name), None)
        cause = None if error is None else LastApplError.from_data(error).add_cause  # type: ignore[arg-type]
        if any(name.endswith(f"{self.item}$Oper") for name in told):
            self.terminations.put(cause)
        elif cause is not None:
            self.causes.put(cause)

    async def select(self, value: bool, **changes: Any) -> int | None:
        """SelectWithValue; None when it is accepted, else the AddCause."""
        return await self._write("SBOw", control.oper_value(value, **self._parameters(changes)))

    async def select_plain(self) -> bool:
        """Select: a read of SBO."""
        name = ObjectName(f"{self.item}$SBO", self.meter.domain)
        return bool(getattr(await asyncio.to_thread(self.client.read, name), "value", ""))

    async def operate(self, value: bool, **changes: Any) -> int | None:
        """Oper; None when it is accepted, else the AddCause."""
        return await self._write("Oper", control.oper_value(value, **self._parameters(changes)))

    async def cancel(self, value: bool, **changes: Any) -> int | None:
        """Cancel; None when it is accepted, else the AddCause."""
        return await self._write("Cancel", control.cancel_value(value, **self._parameters(changes)))

    async def termination(self) -> int | None:
        """The command termination: None for a positive one, else its AddCause."""
        return await asyncio.to_thread(self.terminations.get, timeout=TERMINATION_SECONDS)

    def _parameters(self, changes: dict[str, Any]) -> dict[str, Any]:
        return {"origin": self.origin, "ctl_num": self.number} | changes

    async def _write(self, service: str, value: Any) -> int | None:
        name = ObjectName(f"{self.item}${service}", self.meter.domain)
        try:
            await asyncio.to_thread(self.client.write, name, value)
        except DataAccessError:
            try:
                return await asyncio.to_thread(self.causes.get, timeout=CAUSE_SECONDS)
            except queue.Empty:
                return DENIED
        return None
