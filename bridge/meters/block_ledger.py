"""The ledger of blocks: every change once, with who made it; and what holds after all of them.

>>> known = folded([BlockChange(meter_id="m", ts=1_795_435_200_000, block_open=True, block_close=False,
...                             origin_category="maintenance", origin_identifier="anna")])
>>> known["m"].words
'opening'
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from sqlmodel import Session, col, select

from bridge.mqtt.notice import Dead, Notice
from bridge.store.audit import Event, Kind
from bridge.store.tables import BlockChange, at_ms, moment, sayable
from broker.contract.block import Block
from broker.contract.messages import Message
from broker.contract.notice import MeterNotice, NoticeCode
from broker.contract.relay import Origin, OriginCategory
from broker.contract.result import Refusal

_BLOCK_KEY = ("meter_id", "ts", "block_open", "block_close", "reason")


@dataclass
class Entered:
    """What came of writing into the ledger."""

    dead: list[Dead] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    """For the audit, in the same transaction."""
    blocks: list[tuple[str, Block]] = field(default_factory=list)
    """Changes that are in the ledger now (meter_id, block), for the first time or not."""
    answers: list[tuple[str, MeterNotice]] = field(default_factory=list)
    """What is said to single meters when it is committed."""


def block_told(message: Message) -> Block | None:
    """The change of a block that a message tells, done or refused."""
    if isinstance(message, Refusal):
        return message.block if message.command is None else None
    return message if isinstance(message, Block) else None


def noted(session: Session, entries: Sequence[Notice], *, now: int) -> Entered:
    """A row for each change of a block that is told for the first time, and for each that was refused."""
    entered = Entered()
    for entry in entries:
        block = block_told(entry.message)
        if block is None:
            continue
        if block.undated:  # it counts as a change of now, unless it changes nothing
            block = block.merged(recorded(session, [entry.meter_id]).get(entry.meter_id))
        row = BlockChange(
            meter_id=entry.meter_id,
            ts=at_ms(block.ts),
            block_open=block.open,
            block_close=block.close,
            open_ts=at_ms(block.open_ts) if block.open_ts else None,
            close_ts=at_ms(block.close_ts) if block.close_ts else None,
            origin_category=block.origin.category,
            origin_identifier=block.origin.identifier,
            received_at=now,
            reason=entry.message.reason if isinstance(entry.message, Refusal) else "",
        )
        same = (getattr(BlockChange, name) == getattr(row, name) for name in _BLOCK_KEY)
        if session.exec(select(BlockChange.key).where(*same)).first() is None:
            session.add(row)
            session.flush()
            entered.events.append(_block_event(block, row, entry))
        if not row.reason:
            entered.blocks.append((entry.meter_id, block))
            entered.answers.append((entry.meter_id, _answer(block, now)))
    return entered


def _answer(block: Block, now: int) -> MeterNotice:
    return MeterNotice(code=NoticeCode.BLOCK_RECORDED, block_ts=block.ts, ts=sayable(now))


def _block_event(block: Block, row: BlockChange, entry: Notice) -> Event:
    return Event(
        Kind.RELAY_BLOCK,
        who=f"{row.origin_category} {row.origin_identifier}",
        origin=block.origin.via or entry.source.topic.decode(errors="replace"),
        meter_id=row.meter_id,
        outcome="refused" if row.reason else "set",
        detail={"blocked": block.words, "ts": row.ts} | ({"reason": row.reason} if row.reason else {}),
    )


def block_of(row: BlockChange) -> Block:
    """The block that a row of the ledger tells."""
    return Block(
        open=row.block_open,
        close=row.block_close,
        ts=moment(row.ts),
        open_ts=moment(row.open_ts) if row.open_ts is not None else None,
        close_ts=moment(row.close_ts) if row.close_ts is not None else None,
        origin=Origin(category=OriginCategory(row.origin_category), identifier=row.origin_identifier),
    )


def folded(rows: Iterable[BlockChange]) -> dict[str, Block]:
    """meter_id → what holds after all of ``rows``."""
    known: dict[str, Block] = {}
    for row in rows:
        known[row.meter_id] = block_of(row).merged(known.get(row.meter_id))
    return known


def recorded(session: Session, meter_ids: Collection[str] | None = None) -> dict[str, Block]:
    """meter_id → what holds as the ledger has it, of these meters or of all."""
    changes = select(BlockChange).where(col(BlockChange.reason) == "").order_by(col(BlockChange.key))
    if meter_ids is not None:
        changes = changes.where(col(BlockChange.meter_id).in_(meter_ids))
    return folded(session.exec(changes))
