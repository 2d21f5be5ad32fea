"""The block of a relay: which of its operations are blocked, by whose changes.

>>> a = Block.changed(None, opening=True, closing=None, origin=Origin(category="maintenance", identifier="a"))
>>> b = Block.changed(a, opening=None, closing=True, origin=Origin(category="maintenance", identifier="b"))
>>> a.words, b.words, a.merged(b) == b.merged(a) == b
('opening', 'opening and closing', True)
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from pydantic import PrivateAttr, TypeAdapter, ValidationError

from broker.contract.messages import EARLIEST, LATEST, Message, Moment, legible, legible_json, utc_now, whole
from broker.contract.relay import Origin, Position, legible_origin


class Block(Message):
    """Which operations of the relay are blocked: a command against it is refused. Retained.

    For each direction the newest change counts, from any publisher and in any order. So broker, MMS bridge
    and meter, which all keep it, agree again after one of them has lost it, and two publishers that change
    different directions at once do not undo each other. An empty payload releases nothing.

    What blocks is obeyed although the rest of the message cannot be read (an origin that only a newer program
    knows, a time after 2099 or none, a string with an odd escape, an end that is missing); then it counts as
    a change of now. A release needs a message that is valid as a whole. A payload in which no direction can
    be read as blocked (no JSON at all) blocks nothing and releases nothing: it is a dead letter, and the
    programs that know the block publish it again.
    """

    MAX_BYTES: ClassVar[int] = 1024 * 1024
    _undated: bool = PrivateAttr(default=False)
    """It blocks, and when that was decided cannot be read."""

    open: bool
    """Opening is blocked (XSWI1.BlkOpn)."""
    close: bool
    """Closing is blocked (XSWI1.BlkCls)."""
    ts: Moment
    """When it was changed last; always after the change that was known before."""
    open_ts: Moment | None = None
    """When opening was blocked or released last; absent if never. Both absent: both at ``ts``."""
    close_ts: Moment | None = None
    """The same of closing."""
    origin: Origin
    """Who made the last change."""

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """As of any message, or what blocks of one that is not valid; ValidationError when nothing does."""
        try:
            block = super().model_validate_json(json_data, **options)
        except ValidationError:
            legible = cls._legible(whole(json_data)) if len(json_data) <= cls.MAX_BYTES else None
            if legible is None:
                raise
            return legible
        if block.ts >= _LAST_DAY and (block.open or block.close):  # nothing could follow it
            return cls._restricting(block.open, block.close, {}, block.origin)
        return block

    @classmethod
    def _legible(cls, payload: bytes) -> Self | None:
        """What blocks in a payload that is no valid message; None when nothing does."""
        told = legible_json(payload)
        opening, closing = (legible(_BOOL, told.get(name)) is True for name in ("open", "close"))
        origin = legible_origin(told.get("origin"))
        return cls._restricting(opening, closing, told, origin) if opening or closing else None

    @classmethod
    def _restricting(cls, opening: bool, closing: bool, told: dict[str, Any], origin: Origin) -> Self:
        """What blocks of a message, with the times in ``told`` that can be read."""
        times = {name: legible(_MOMENT, told.get(name)) for name in ("ts", "open_ts", "close_ts")}
        known = {name: ts for name, ts in times.items() if ts is not None and ts < _LAST_DAY}
        ts = known.get("ts") or max(known.values(), default=EARLIEST)
        block = cls(
            open=opening,
            close=closing,
            ts=ts,
            open_ts=known.get("open_ts", ts) if opening else None,
            close_ts=known.get("close_ts", ts) if closing else None,
            origin=origin,
        )
        block._undated = not known
        return block

    @classmethod
    def changed(
        cls, known: Block | None, *, opening: bool | None, closing: bool | None, origin: Origin
    ) -> Block:
        """The block after ``known``: blocked, released, or (None) as it was, for each direction."""
        ts = (
            utc_now()
            if known is None
            else max(utc_now(), min(known.ts + _MILLISECOND, LATEST - _MILLISECOND))
        )
        new = cls(
            open=bool(opening),
            close=bool(closing),
            ts=ts,
            open_ts=None if opening is None else ts,
            close_ts=None if closing is None else ts,
            origin=origin,
        )
        return new.merged(known)

    def merged(self, known: Block | None) -> Block:
        """What holds when both were told, in any order; of changes at the same time the one that blocks."""
        if self._undated:
            new = (self.open and not (known and known.open), self.close and not (known and known.close))
            if known is not None and not any(new):
                return known
            return Block.changed(known, opening=new[0] or None, closing=new[1] or None, origin=self.origin)
        return self._joined(known, key=lambda change: change)

    def guarded(self, known: Block | None) -> Block:
        """What holds until this is kept: what either blocks. A release that may be lost is none yet."""
        return self._joined(known, key=lambda change: change[::-1])

    def _joined(self, known: Block | None, *, key: Callable[[tuple[datetime, bool]], Any]) -> Block:
        """For each direction the later change of the two by ``key``."""
        other = known or self
        open_ts, open_ = max(self._opening, other._opening, key=key)
        close_ts, close = max(self._closing, other._closing, key=key)
        newest = max(self, other, key=lambda told: (told.ts, told.origin.category, told.origin.identifier))
        return Block(
            open=open_,
            close=close,
            ts=newest.ts,
            open_ts=None if open_ts == EARLIEST else open_ts,
            close_ts=None if close_ts == EARLIEST else close_ts,
            origin=newest.origin,
        )

    @property
    def _opening(self) -> tuple[datetime, bool]:
        return self.open_ts or (EARLIEST if self.close_ts else self.ts), self.open

    @property
    def _closing(self) -> tuple[datetime, bool]:
        return self.close_ts or (EARLIEST if self.open_ts else self.ts), self.close

    @property
    def undated(self) -> bool:
        """Whether it has no time that can be read; `merged` gives it one."""
        return self._undated

    def forbids(self, position: Position) -> bool:
        """Whether a command to ``position`` is blocked."""
        return self.open if position is Position.OPEN else self.close

    @property
    def words(self) -> str:
        """``opening``, ``closing``, ``opening and closing``, or ``nothing`` that is blocked."""
        told = [word for word, blocked in (("opening", self.open), ("closing", self.close)) if blocked]
        return " and ".join(told) or "nothing"


_MILLISECOND = timedelta(milliseconds=1)
_LAST_DAY = LATEST - timedelta(days=1)
_BOOL: TypeAdapter[bool] = TypeAdapter(bool)
_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)
