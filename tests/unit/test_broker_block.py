"""A block is the same for all who heard the same changes, in whatever order and however often."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from broker.contract.block import Block
from broker.contract.messages import utc_now
from broker.contract.relay import Origin, OriginCategory, Position

NOW = utc_now()
WHO = Origin(category=OriginCategory.REMOTE_CONTROL, identifier="desk")
OTHER = Origin(category=OriginCategory.MAINTENANCE, identifier="cli")

moments = st.integers(0, 3).map(lambda seconds: NOW + timedelta(seconds=seconds))
blocks = st.builds(
    Block,
    open=st.booleans(),
    close=st.booleans(),
    ts=moments,
    open_ts=st.none() | moments,
    close_ts=st.none() | moments,
    origin=st.sampled_from([WHO, OTHER]),
)


@given(st.lists(blocks, min_size=1, max_size=4))
def test_the_order_does_not_matter(told: list[Block]) -> None:
    results = set()
    for order in itertools.permutations(told):
        known: Block | None = None
        for block in (*order, order[0]):
            known = block.merged(known)
        assert known is not None
        results.add(known.model_dump_json(include={"open", "close", "ts", "open_ts", "close_ts"}))
    assert len(results) == 1


@given(blocks, blocks)
def test_what_was_merged_holds_its_parts(one: Block, two: Block) -> None:
    both = one.merged(two)
    assert both.merged(one) == both.merged(two) == both.merged(both) == both


def test_two_who_change_different_directions_at_once_do_not_undo_each_other() -> None:
    opening = Block.changed(None, opening=True, closing=None, origin=WHO)
    closing = Block.changed(None, opening=None, closing=True, origin=OTHER)
    for both in (opening.merged(closing), closing.merged(opening)):
        assert (both.open, both.close, both.words) == (True, True, "opening and closing")


def test_a_release_is_newer_than_what_it_releases_even_after_a_clock_that_is_ahead() -> None:
    ahead = NOW + timedelta(days=1)
    blocked = Block(open=True, close=True, ts=ahead, origin=WHO)
    released = Block.changed(blocked, opening=False, closing=None, origin=OTHER)
    assert released.ts > ahead
    assert (released.open, released.close) == (False, True)
    assert released.merged(blocked) == blocked.merged(released) == released
    assert released.origin == OTHER


def test_one_who_does_not_know_of_a_block_does_not_release_it() -> None:
    known = Block.changed(None, opening=True, closing=None, origin=WHO)
    unaware = Block.changed(None, opening=None, closing=True, origin=OTHER)
    assert unaware.merged(known).open


def test_a_block_without_times_is_a_statement_about_both() -> None:
    before = Block.changed(None, opening=True, closing=True, origin=WHO)
    plain = Block(open=False, close=True, ts=before.ts + timedelta(seconds=1), origin=OTHER)
    after = plain.merged(before)
    assert (after.open, after.close, after.open_ts, after.close_ts) == (False, True, plain.ts, plain.ts)


def test_it_is_the_same_after_the_wire_whoever_wrote_it() -> None:
    """Who compares what it told with what it hears would tell it for ever."""
    text = b'{"open":true,"close":false,"ts":"2026-11-24T12:00:00.123456+02:00","origin":%s}'
    block = Block.model_validate_json(text % WHO.payload()).merged(None)
    assert Block.model_validate_json(block.payload()) == block


def test_one_of_a_time_after_which_there_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="after 2099"):
        Block(open=True, close=True, ts=datetime(2100, 1, 1, tzinfo=UTC), origin=WHO)


def test_what_it_forbids() -> None:
    block = Block.changed(None, opening=True, closing=False, origin=WHO)
    assert block.forbids(Position.OPEN)
    assert not block.forbids(Position.CLOSED)
