"""Who has selected which meter: one client at a time, over all generations of its IED.

The library keeps a selection for each of its control objects, and a meter has one in each generation;
here is one for the meter. A selection that ends without an operate is told, with what it was for.

>>> selections = Selections(clock=lambda: 0.0)
>>> selections.changed("m", 1, reason=SelectReason.SELECTED), selections.taken("m", by_other_than=2)
(None, True)
>>> selections.changed("m", 1, reason=SelectReason.CANCELED), selections.taken("m", by_other_than=2)
(None, False)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from broker.contract.relay import Command
from mms_bridge.libiec61850.bindings import SelectReason
from scl_builder.model.logical_devices import SELECT_TIMEOUT

USUAL = SELECT_TIMEOUT / 1000
"""Seconds for which a selection holds where the file does not say it."""
LATE = 1.0
"""Seconds after that until it has expired for us, also when the library has not reported its end."""
LIBRARY_CLOCK = 0.002
"""Seconds after its end until the library's clock of whole milliseconds has passed it."""
TICKS = 2
"""Ticks after a change until the library has written stSeld: one may have begun before the change."""

UNUSED = {
    SelectReason.CANCELED: "selected, then cancelled by its client",
    SelectReason.TIMEOUT: "selected, but not operated in time",
    SelectReason.OPERATE_FAILED: "selected, then operated with other parameters",
    SelectReason.DISCONNECTED: "selected, but its client has gone",
}
"""Why nothing came of a selection, when no operate was accepted or refused."""


@dataclass
class Selection:
    """A control object of the library is selected by a client."""

    owner: int
    ends: float
    """Loop time from which the library ends it."""
    until: float
    command: Command | None
    """What for; None where the select named no value."""
    operated: bool = False
    """The command, or its refusal, has a record of its own."""


class Selections:
    """By meter; ``clock`` is the loop's."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._offers: dict[int, Command] = {}  # by control object: what its next selection is for
        self._selections: dict[str, Selection] = {}
        self._changed: dict[
            str, int
        ] = {}  # meters whose stSeld is to be written -> ticks for which that goes

    @property
    def changing(self) -> bool:
        """Whether some stSeld is not written yet."""
        return bool(self._changed)

    @property
    def waiting(self) -> set[str]:
        """The meters whose stSeld the library writes at its next tick."""
        now = self._clock()
        return {*self._changed, *(meter for meter, one in self._selections.items() if one.ends <= now)}

    @property
    def ends(self) -> Iterator[float]:
        """Loop times at which a selection ends without an operate."""
        return (selection.ends for selection in self._selections.values())

    def ticked(self) -> None:
        """The servers of those that wait were ticked."""
        self._changed = {meter: left - 1 for meter, left in self._changed.items() if left > 1}

    def offer(self, action: int, command: Command | None) -> None:
        """A select was accepted: for ``command``, if it named a value."""
        self._offers.pop(action, None)
        if command is not None:
            self._offers[action] = command

    def taken(self, meter_id: str, *, by_other_than: int) -> bool:
        """Whether another control object is selected."""
        selection = self._selections.get(meter_id)
        return selection is not None and selection.owner != by_other_than and self._clock() < selection.until

    def operate(self, meter_id: str, action: int) -> None:
        """An operate came; whatever becomes of it is recorded."""
        selection = self._selections.get(meter_id)
        if selection is not None and selection.owner == action:
            selection.operated = True

    def changed(
        self, meter_id: str, action: int, *, reason: SelectReason, seconds: float | None = None
    ) -> tuple[Command, str] | None:
        """The library says that a selection began (for ``seconds``) or ended; what for, and why in vain."""
        self._changed[meter_id] = TICKS
        if reason is SelectReason.SELECTED:
            end = self._clock() + (USUAL if seconds is None else seconds or math.inf)  # 0: it has no end
            command = self._offers.pop(action, None)
            self._selections[meter_id] = Selection(action, end + LIBRARY_CLOCK, end + LATE, command)
            return None
        selection = self._selections.get(meter_id)
        if selection is None or selection.owner != action:
            return None
        del self._selections[meter_id]
        if selection.command is None or selection.operated or reason not in UNUSED:
            return None
        return selection.command, UNUSED[reason]

    def abandon(self) -> Iterator[tuple[str, Command]]:
        """End all of them; the meters and what for, where there was no operate."""
        abandoned, self._selections = self._selections, {}
        for meter_id, selection in abandoned.items():
            if selection.command is not None and not selection.operated:
                yield meter_id, selection.command
