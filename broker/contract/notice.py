"""What the bridge has to say to one meter: what it has recorded, and why it refused something."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from broker.contract.block import Block
from broker.contract.messages import MAX_SEQ, Line, Message, Moment, Timestamp, Token
from broker.contract.reading import is_for


class NoticeCode(StrEnum):
    """What the bridge has to say to one meter."""

    RECORDED = "recorded"
    """The result of ``command_id`` with the outcome ``reason`` is in the ledger: the meter may forget it."""
    BIRTH_REFUSED = "birth-refused"
    """The birth was not taken, for ``reason``; what was known of the meter stays in force."""
    BLOCK_RECORDED = "block-recorded"
    """The change of the block at ``block_ts`` is in the ledger: it holds, whatever the broker forgets."""
    EPOCH_CONFLICT = "epoch-conflict"
    """Readings of ``epoch`` have the names of others that are stored: the meter gives them the same numbers
    in the next epoch, and begins a new one for those to come."""


class MeterNotice(Message):
    """The bridge to one meter, not retained. A meter ignores a code that it does not know."""

    MAX_BYTES: ClassVar[int] = 64 * 1024

    code: Token
    """A :class:`NoticeCode`, or one that a newer bridge knows."""
    reason: Line = ""
    command_id: Token | None = None
    block_ts: Moment | None = None
    epoch: Annotated[int, Field(ge=1, le=MAX_SEQ)] | None = None
    first: Annotated[int, Field(ge=1, le=MAX_SEQ)] | None = None
    """``first`` … ``seq`` of ``epoch`` are the readings in conflict; absent: all that are not confirmed."""
    seq: Annotated[int, Field(ge=1, le=MAX_SEQ)] | None = None
    instance: Token | None = None
    """The sender of these readings, as in `stored`."""
    blocks: bool | None = None
    """As in `stored`."""
    ts: Timestamp

    def is_for(self, instance: str) -> bool:
        """Whether ``instance`` of a meter's program is meant."""
        return is_for(instance, self.instance)

    def records(self, block: Block) -> bool:
        """Whether it says that this change is in the ledger."""
        return self.code == NoticeCode.BLOCK_RECORDED and self.block_ts == block.ts
