"""Bad input: none stops the bridge, none is stored as a good reading, each is counted and kept."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator

import pytest

from tests.support.bridges import (
    BIRTH,
    METER,
    READING,
    TOPICS,
    Rig,
    birth,
    chain,
    command,
    eventually,
    reading,
    stamp,
)
from tests.support.brokers import Broker, mosquitto

pytest_plugins = ("tests.support.databases",)


# fmt: off
BAD: dict[str, tuple[str, str | bytes, str]] = {
    "malformed": (READING, b'{"epoch":1,"seq"', "reading: is not JSON"),
    "empty history": (TOPICS.meter(METER, "history"), b"", "history: is not JSON"),
    "binary": (READING, b"\xff\x00\xfe", "reading: is not JSON"),
    "wrong type": (READING, reading("1st"),  # type: ignore[arg-type]
                   "reading: seq: Input should be a valid integer, unable to parse string as an integer"),
    "too many numbers": (READING, reading(1, **{f"q{number}": 1 for number in range(33)}),
                         "reading: more than 32 unknown quantities"),
    "wrong shape": (READING, "[1,2,3]", "reading: Input should be an object"),
    "unknown kind": (f"sm/v1/{METER}/voltage", reading(1), "topic is not of the contract"),
    "unknown topic": ("sm/v1/anything/below/the/prefix", "x", "topic is not of the contract"),
    "future": (READING, reading(1, ts=stamp(days=1)), "reading: ts: is in the future"),
    "1970": (READING, reading(1, ts="1970-01-01T00:00:01.000Z"),
             "reading: ts: is before 2020: the sender's clock was never set"),
    "1 MB": (READING, b" " * 1_000_000 + reading(1).encode(), "reading: is larger than 16384 bytes"),
    "1 MB history": (TOPICS.meter(METER, "history"), b" " * 1_000_000,
                     "history: is larger than 524288 bytes"),
    "no UUID": (TOPICS.meter("meter-7", "birth"), birth(), "meter_id is not a UUID in canonical form"),
    "UUID in capitals": (TOPICS.meter(METER.upper(), "reading"), reading(1),
                         "meter_id is not a UUID in canonical form"),
    "birth of another serial": (BIRTH, birth(hardware={"serial": "2"}),
                                "birth: meter_id belongs to another hardware serial"),
    "birth without hardware": (BIRTH, '{"name":"x"}', "birth: hardware: Field required"),
    "status of text": (TOPICS.meter(METER, "status"), "online", "status: is not JSON"),
    "relay in between": (TOPICS.meter(METER, "relay"),
                         json.dumps({"position": "half", "operations": 1, "ts": stamp()}),
                         "relay: position: Input should be 'open' or 'closed'"),
    "command for an unknown position": (TOPICS.meter(METER, "command"), command("c-1", position="half"),
                                        "command: position: Input should be 'open' or 'closed'"),
    "result without outcome": (TOPICS.meter(METER, "result"), json.dumps({"command_id": "c", "ts": stamp()}),
                               "result: outcome: Field required"),
    "refusal for no meter": (TOPICS.refused("mms"),
                             json.dumps({"meter_id": "x", "command": json.loads(command("c-2")), "reason": "",
                                         "ts": stamp()}),
                             "meter_id: is not a UUID in canonical form"),
}
# fmt: on


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One bridge for all that should not hurt it."""
    folder = tmp_path_factory.mktemp("shared")
    with mosquitto(folder) as broker, chain(broker, f"sqlite:///{folder / 'meter.sqlite'}") as running:
        yield running


@pytest.mark.parametrize(("topic", "payload", "cause"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_kept_aside_and_the_next_reading_is_stored(
    shared: Rig, topic: str, payload: str | bytes, cause: str
) -> None:
    own = str(uuid.uuid4())  # the topic of this test's own meter in place of METER's
    topic = topic.replace(METER, own).replace(METER.upper(), own.upper())
    data = payload.encode() if isinstance(payload, str) else payload
    before = shared.client.counter("dead")
    shared.client.publish(TOPICS.meter(own, "birth"), birth())
    shared.client.publish(topic, data)
    shared.client.publish(TOPICS.meter(own, "reading"), reading(2))
    eventually(lambda: shared.seqs(own) == [2], what="the good reading, and nothing bad, is stored")
    (letter,) = (letter for letter in shared.dead() if letter.topic == topic)
    assert letter.cause == cause
    assert (letter.payload, letter.size) == (data[: 64 * 1024], len(data))
    assert letter.sha256 == hashlib.sha256(data).hexdigest()
    meter = shared.meter(own)
    assert meter is not None
    assert (meter.name, meter.serial) == ("House 7", "1")
    eventually(lambda: shared.client.counter("dead") == before + 1)
    assert shared.client.online()


@pytest.fixture
def rig(broker: Broker, sqlite_url: str) -> Iterator[Rig]:
    with chain(broker, sqlite_url) as running:
        yield running


def test_bad_input_once_more_is_counted_and_logged_once(rig: Rig) -> None:
    for _ in range(3):
        rig.client.publish(READING, b"{")
    eventually(lambda: rig.client.counter("dead") == 3)
    (letter,) = rig.dead()
    assert letter.count == 3
    assert rig.bridge.log.read_text().count("is not JSON") == 1


def test_without_ntp_a_reading_from_the_future_stays_with_its_meter(broker: Broker, sqlite_url: str) -> None:
    """It may be our clock that is wrong, and the meter would forget what is confirmed."""
    with chain(broker, sqlite_url, clock_synchronized=False) as rig:
        rig.client.publish(READING, reading(1, ts=stamp(days=1)))
        rig.client.publish(READING, reading(2))
        eventually(lambda: rig.confirmed() == {2}, what="the good one is stored")
        eventually(lambda: rig.client.counter("limited") == 1)
        assert rig.client.counter("dead") == 0
        assert "NTP does not keep it" in rig.bridge.log.read_text()


def test_what_is_kept_aside_is_confirmed_too(rig: Rig) -> None:
    rig.client.publish(READING, reading(1, ts=stamp(days=1)))
    rig.client.publish(TOPICS.meter(METER, "history"), f'{{"readings":[{reading(2)},{reading(3, ts="x")}]}}')
    eventually(lambda: rig.confirmed() == {1, 2, 3}, what="stored 1…3")
    assert rig.seqs() == [2]
