"""Inbox and outbound: what waits is bounded, and nothing is sent on the wrong connection."""

from __future__ import annotations

import threading

import pytest

from bridge.mqtt.inbox import Inbox
from bridge.mqtt.outbound import Outbound
from broker.mqtt.decoder import Decoder
from broker.mqtt.packets import Publish


def some(count: int) -> list[Publish]:
    return [Publish(b"t", b"%d" % number, b"", 0) for number in range(count)]


def inbox(*, messages: int = 10, seconds: float = 0.0, size: int = 1000) -> Inbox:
    return Inbox(batch_messages=messages, batch_seconds=seconds, max_bytes=size)


def test_a_batch_is_full_before_its_time() -> None:
    box = inbox(messages=10, seconds=60.0)
    box.put(some(6), size=6, connection=1)
    threading.Timer(0.02, lambda: box.put(some(4), size=4, connection=1)).start()
    assert len(box.take(timeout=60).messages) == 10


def test_a_batch_waits_no_longer_than_its_time() -> None:
    box = inbox(messages=10, seconds=0.02)
    box.put(some(6), size=6, connection=1)
    assert len(box.take(timeout=60).messages) == 6


def test_nothing_comes_within_the_timeout() -> None:
    assert inbox().take(timeout=0.01).messages == []


def test_a_batch_is_of_one_connection() -> None:
    box = inbox()
    box.put(some(2), size=2, connection=1)
    box.put(some(3), size=3, connection=2)
    assert [
        (len(batch.messages), batch.connection) for batch in (box.take(timeout=0), box.take(timeout=0))
    ] == [
        (2, 1),
        (3, 2),
    ]


def test_a_large_read_is_a_batch_of_its_own() -> None:
    box = inbox(messages=10)
    for size in (7, 25, 1):
        box.put(some(size), size=size, connection=1)
    assert [len(box.take(timeout=0).messages) for _ in range(3)] == [7, 25, 1]


def test_full_by_number_and_by_bytes_and_free_again() -> None:
    box = inbox(messages=10, size=100)
    box.put(some(19), size=19, connection=1)
    assert not box.full
    box.put(some(1), size=1, connection=1)
    assert box.full
    while box.messages:
        box.take(timeout=0)
    assert not box.full
    box.put(some(1), size=100, connection=1)
    assert box.full


def test_a_closed_inbox_gives_what_it_has_and_takes_nothing() -> None:
    box = inbox(seconds=60.0)
    box.put(some(2), size=2, connection=1)
    box.close()
    box.put(some(5), size=5, connection=1)
    assert not box.finished
    assert len(box.take(timeout=60.0).messages) == 2
    assert box.finished
    assert box.take(timeout=60.0).messages == []


def sent(out: Outbound) -> list[tuple[bytes, bytes]]:
    return [(message.topic, message.payload) for message in Decoder(version=4).feed(out.take())[0]]


def test_only_the_latest_state_of_a_topic_waits_in_the_order_of_publication() -> None:
    out = Outbound(version=4)
    for topic, payload in ((b"scd", b"1"), (b"revision", b"1"), (b"scd", b"2"), (b"revision", b"2")):
        out.retain(topic, payload)
    assert out.take() == b""
    out.open(window=20, maximum=1000)
    assert sent(out) == [(b"scd", b"2"), (b"revision", b"2")]


def test_the_window_is_kept() -> None:
    out = Outbound(version=4)
    out.open(window=2, maximum=1000)
    for topic in (b"a", b"b", b"c"):
        out.retain(topic, b"1")
    assert sent(out) == [(b"a", b"1"), (b"b", b"1")]
    assert sent(out) == []
    out.confirm(b"\x00\x01")
    assert sent(out) == [(b"c", b"1")]


def test_what_was_not_confirmed_is_sent_again_unless_it_is_newer_by_now() -> None:
    out = Outbound(version=4)
    out.open(window=20, maximum=1000)
    for topic in (b"a", b"b", b"c"):
        out.retain(topic, b"1")
    out.take()
    out.confirm(b"\x00\x01")
    out.retain(b"c", b"2")
    out.close()
    out.open(window=20, maximum=1000)
    assert sent(out) == [(b"b", b"1"), (b"c", b"2")]


def test_what_is_to_be_forgotten_is_not_sent_again() -> None:
    out = Outbound(version=4)
    out.open(window=2, maximum=1000)
    for topic in (b"scl/a", b"b", b"scl/c", b"d"):
        out.retain(topic, b"1")
    assert len(sent(out)) == 2
    out.forget(b"scl/")
    out.close()
    out.open(window=20, maximum=1000)
    assert sent(out) == [(b"b", b"1"), (b"d", b"1")]


def test_acknowledgements_of_a_lost_connection_are_dropped() -> None:
    out = Outbound(version=4)
    out.open(window=20, maximum=1000)
    first = out.connection
    out.send(b"early", connection=first)
    out.close()
    out.send(b"between", connection=first)
    out.open(window=20, maximum=1000)
    out.send(b"late", connection=first)
    out.send(b"now", connection=out.connection)
    assert out.take() == b"now"


def test_waiting_for_the_broker_to_have_everything() -> None:
    out = Outbound(version=4)
    assert out.wait_empty(0.0)
    out.open(window=20, maximum=1000)
    out.retain(b"a", b"1")
    out.take()
    assert not out.wait_empty(0.01)
    threading.Timer(0.02, lambda: out.confirm(b"\x00\x01")).start()
    assert out.wait_empty(5.0)


def test_what_is_too_large_for_the_broker_is_dropped_and_the_rest_is_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = Outbound(version=4)
    out.open(window=20, maximum=1000)
    out.retain(b"scd", b"x" * 1000)
    out.retain(b"revision", b"2")
    assert sent(out) == [(b"revision", b"2")]
    assert "raise its limit" in caplog.text
