"""Events find their listeners by an index, and exist once for all of them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, product

import pytest

from broker.contract.birth import Birth, Hardware
from broker.contract.messages import utc_now
from broker.contract.topics import Topics
from web.live.hub import PIECE, Hub, joined
from web.live.interests import Event, Interest, Interests, Listener
from web.live.state import Live

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
METERS = ("", "a", "b", "c")
CODES = ("", "7500", "7501")
EVENTS = [
    Event(number, kind, b"%d" % number, meter_id, code, left)
    for number, (kind, meter_id, code, left) in enumerate(
        product(("meter", "command", "gone"), METERS, CODES, (False, True))
    )
]
INTERESTS = [
    Interest(frozenset(kinds), frozenset(meters), code)
    for kinds, meters, code in product(
        [(), ("meter",), ("meter", "command"), ("gone",)],
        [(), ("a",), ("a", "b"), ("x",)],
        [None, "7500", "7501", ""],
    )
]


def test_the_index_finds_what_asking_everyone_would_find() -> None:
    interests = Interests()
    for interest in INTERESTS:
        interests.add(Listener(interest))
    found = {audience.interest: frames for audience, frames in interests.sorted(EVENTS).items()}
    asked = {one: [event.frame for event in EVENTS if one.covers(event)] for one in INTERESTS}
    assert found == {interest: frames for interest, frames in asked.items() if frames}


def test_who_waits_for_other_meters_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Counter[Interest] = Counter()
    covers = Interest.covers

    def counted(interest: Interest, event: Event) -> bool:
        asked[interest] += 1
        return covers(interest, event)

    monkeypatch.setattr(Interest, "covers", counted)
    hub = Hub()
    for number in range(200):
        hub.listen(Interest(meters=frozenset({f"m{number}"})), since=None)
        hub.listen(Interest(address_code=str(number)), since=None)
    for number in range(1000):
        hub.tell("meter", b"{}", meter_id=f"m{number}", address_code=str(1000 + number))
    hub.flush()
    assert asked == {Interest(meters=frozenset({f"m{number}"})): 1 for number in range(200)}


def test_an_event_exists_once_for_all_its_listeners() -> None:
    hub = Hub()
    by_meter = hub.listen(Interest(meters=frozenset({"a"})), since=None)
    by_code = hub.listen(Interest(address_code="7500"), since=None)
    hub.tell("meter", b"{}", meter_id="a", address_code="7500")
    hub.flush()
    came_back = hub.listen(Interest(), since=f"{hub.boot}-0")
    [[one], [other], [third]] = [
        listener.queue.get_nowait() or () for listener in (by_meter, by_code, came_back)
    ]
    assert one is other is third


def test_who_shares_an_interest_shares_what_is_written() -> None:
    hub = Hub()
    listeners = [hub.listen(Interest(), since=None) for _ in range(3)]
    for number in range(10):
        hub.tell("command", b"%d" % number)
    hub.flush()
    pieces = [
        piece for listener in listeners for batch in [listener.queue.get_nowait() or ()] for piece in batch
    ]
    assert len(pieces) == 3  # one write for each
    assert len({id(piece) for piece in pieces}) == 1


def test_who_left_leaves_nothing_behind() -> None:
    hub = Hub()
    listeners = [hub.listen(interest, since=None) for interest in INTERESTS + INTERESTS]
    for listener in listeners:
        hub.leave(listener)
        hub.leave(listener)
    assert not hub.listeners
    assert not hub._interests._audiences
    assert not hub._interests._index


@pytest.mark.parametrize("size", [1, 400, PIECE - 1, PIECE, PIECE + 1])
def test_pieces_are_large_and_bounded(size: int) -> None:
    frames = [bytes([number]) * size for number in range(7)]
    pieces = list(joined(frames))
    assert b"".join(pieces) == b"".join(frames)
    assert all(len(piece) <= max(PIECE, size) for piece in pieces)
    assert all(len(one) + len(other) > PIECE for one, other in pairwise(pieces))


def birth(address_code: str) -> bytes:
    """House 7's."""
    return Birth(
        name="House 7", address_code=address_code, firmware="1", interval=10.0,
        hardware=Hardware(serial="1"), session="s", ts=utc_now(),
    ).payload()  # fmt: skip


def test_who_listens_to_an_address_code_hears_that_a_meter_of_it_is_gone() -> None:
    hub, topics = Hub(), Topics()
    live = Live(topics, hub)
    live.take(topics.meter(METER, "birth"), birth("7500"), retained=True)
    hub.flush()
    listener = hub.listen(Interest(frozenset({"gone"}), address_code="7500"), since=None)
    live.take(topics.meter(METER, "birth"), b"", retained=False)
    hub.flush()
    [frame] = listener.queue.get_nowait() or ()
    assert b"event: gone" in frame


def test_a_meter_that_changes_its_address_code_is_gone_for_the_old_one_alone() -> None:
    hub, topics = Hub(), Topics()
    live = Live(topics, hub)
    live.take(topics.meter(METER, "birth"), birth("7500"), retained=True)
    hub.flush()
    interests = (
        Interest(address_code="7500"),
        Interest(meters=frozenset({METER}), address_code="7500"),
        Interest(address_code="7501"),
        Interest(meters=frozenset({METER})),
        Interest(),
    )
    listeners = [hub.listen(interest, since=None) for interest in interests]
    live.take(topics.meter(METER, "birth"), birth("7501"), retained=False)
    live.take(topics.meter(METER, "birth"), birth("7501"), retained=False)
    hub.flush()
    heard = [b"".join(listener.queue.get_nowait() or ()) for listener in listeners]
    assert [frames.count(b"event: gone") for frames in heard] == [1, 1, 0, 0, 0]
    assert [frames.count(b"event: meter") for frames in heard] == [0, 0, 1, 1, 1]
