"""Two readings with one name: the second is not confirmed, it is kept aside, and somebody hears of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.ingest import disputes
from bridge.ingest.rows import reading_of
from broker.contract.notice import MeterNotice, NoticeCode
from broker.contract.reading import Stored
from tests.support.bridges import BIRTH, METER, READING, TOPICS, Rig, birth, chain, eventually, reading, stamp
from tests.support.brokers import Broker
from tests.support.stores import DAY0, NOW, Kept, keeping, meter_id, row, series

pytest_plugins = ("tests.support.databases",)

HISTORY = TOPICS.meter(METER, "history")
NOTICE = TOPICS.meter(METER, "notice")


@pytest.fixture
def rig(broker: Broker, database_url: str) -> Iterator[Rig]:
    with chain(broker, database_url) as running:
        yield running


def told(rig: Rig) -> int:
    """How often the bridge has said that readings are safe."""
    return sum(topic == TOPICS.meter(METER, "stored") for topic, _ in rig.client.all)


def heard(rig: Rig) -> set[tuple[str | None, int, int]]:
    """For whom readings were confirmed, and which."""
    stored = (Stored.model_validate_json(told) for topic, told in rig.client.all if topic.endswith("/stored"))
    return {(one.instance, one.first, one.seq) for one in stored}


def notices(rig: Rig) -> list[MeterNotice]:
    return [MeterNotice.model_validate_json(payload) for topic, payload in rig.client.all if topic == NOTICE]


def volts(rig: Rig) -> list[float | None]:
    meter = rig.meter()
    return [row.voltage for row in rig.store.readings(meter)] if meter else []


def test_other_content_under_the_same_name_is_not_confirmed(rig: Rig) -> None:
    first, other = reading(1, voltage=230), reading(1, voltage=240, ts=stamp(seconds=1))
    rig.client.publish(READING, first)
    eventually(lambda: rig.confirmed() == {1})
    rig.client.publish(READING, other)
    (notice,) = eventually(lambda: notices(rig), what="a notice to the meter")
    assert (notice.code, notice.epoch, notice.first, notice.seq) == (NoticeCode.EPOCH_CONFLICT, 1, 1, 1)
    assert notice.instance == "-", "it told none"
    assert told(rig) == 1
    assert volts(rig) == [230]
    (letter,) = (letter for letter in rig.dead() if letter.cause == disputes.CAUSE)
    assert (letter.topic, letter.confirmed) == (READING, False)
    kept = json.loads(letter.payload)
    assert (kept["seq"], kept["voltage"], kept["ts"]) == (1, 240, json.loads(other)["ts"])
    (alarm,) = rig.store.alarms()
    assert (alarm.meter_id, alarm.kind, alarm.count) == (METER, "epoch-conflict", 1)
    eventually(lambda: rig.client.counter("conflicts") == 1)
    rig.client.publish(READING, first)
    eventually(lambda: told(rig) == 2, what="the same content again is confirmed as ever")


@pytest.mark.parametrize(
    "changes",
    [
        {"voltage": 240},
        {"power": 1},
        {"alarm": True},
        {"thd": 1},
        {"clock_synchronized": False},
        {"current": -1},
    ],
    ids=str,
)
def test_every_value_counts(broker: Broker, sqlite_url: str, changes: dict[str, Any]) -> None:
    ts = stamp()
    with chain(broker, sqlite_url) as rig:
        rig.client.publish(READING, reading(1, voltage=230, ts=ts))
        eventually(lambda: rig.confirmed() == {1})
        rig.client.publish(READING, reading(1, **({"voltage": 230, "ts": ts} | changes)))
        eventually(lambda: notices(rig), what="another reading")
        assert told(rig) == 1


def test_inside_one_batch(rig: Rig) -> None:
    items = [reading(1), reading(2, voltage=230), reading(2, voltage=240), reading(3)]
    rig.client.publish(HISTORY, f'{{"readings":[{",".join(items)}]}}')
    eventually(lambda: notices(rig))
    assert rig.confirmed() == {1, 3}, "nobody knows which of the two a meter would forget"
    assert rig.seqs() == [1, 2, 3]
    rig.client.publish(READING, items[1])
    eventually(lambda: rig.confirmed() == {1, 2, 3}, what="the stored one, sent again alone")


def test_each_of_two_meters_hears_of_its_own_readings(rig: Rig) -> None:
    """They have copies of one card, and read in the same millisecond; all is in one batch."""
    ts = stamp()

    def sent(seq: int, instance: str, volt: float) -> str:
        return reading(seq, ts=ts, instance=instance, voltage=volt)

    ours = [sent(seq, "a", 230) for seq in (1, 2, 3, 4)]
    rig.client.publish(HISTORY, f'{{"readings":[{",".join(ours)}]}}')
    eventually(lambda: heard(rig) == {("a", 1, 4)})
    mixed = [
        *(sent(seq, "b", 240) for seq in (1, 2)),
        *(sent(seq, "a", 230) for seq in (2, 3)),
        sent(4, "b", 230),
        sent(5, "b", 240),
    ]
    rig.client.publish(HISTORY, f'{{"readings":[{",".join(mixed)}]}}')
    (notice,) = eventually(lambda: notices(rig), what="a notice to the second")
    assert (notice.instance, notice.first, notice.seq) == ("b", 1, 2)
    assert heard(rig) == {("a", 1, 4), ("a", 2, 3), ("b", 4, 5)}
    assert volts(rig) == [230, 230, 230, 230, 240]


def test_a_notice_has_a_limit() -> None:
    assert disputes.ranges((1, seq) for seq in range(1, 2502)) == [
        (1, 1, 1000),
        (1, 1001, 2000),
        (1, 2001, 2501),
    ]


def test_a_thousand_of_a_restored_card_are_told_as_one_range(rig: Rig) -> None:
    rig.client.publish(BIRTH, birth())
    for volt in (230, 240):
        items = ",".join(reading(seq, voltage=volt) for seq in range(1, 1001))
        rig.client.publish(HISTORY, f'{{"readings":[{items}]}}')
        eventually(lambda: rig.client.counter("received") >= (2 if volt == 230 else 3))  # noqa: B023
    (notice,) = eventually(lambda: notices(rig))
    assert (notice.first, notice.seq) == (1, 1000)
    assert set(volts(rig)) == {230}
    assert rig.store.alarms()[0].count == 1000


@pytest.fixture
def kept(database_url: str) -> Iterator[Kept]:
    with keeping(database_url) as found:
        yield found


def test_against_packs_and_rows_alike(kept: Kept) -> None:
    rows = series(1, 1500)
    kept.put(*rows)
    kept.upkeep()
    assert kept.commit(*rows).conflicts == 0, "1,499 are packed, one is a row"
    other = [(*reading[:4], 1.0, *reading[5:]) for reading in rows]
    committed = kept.commit(*other)
    assert (committed.new, committed.conflicts) == (0, 1500)
    assert kept.readings() == [reading_of(reading) for reading in rows]


def test_the_other_numbers_count_in_packs_too(kept: Kept) -> None:
    rows = [row(1, seq, ts=DAY0 + seq, other='{"q":1.0}', clock_synchronized=True) for seq in range(1, 100)]
    kept.put(*rows, row(1, 100, ts=NOW))
    assert kept.upkeep().packed == 99
    assert kept.readings()[:99] == [reading_of(reading) for reading in rows]
    assert kept.commit(*rows).conflicts == 0
    assert kept.commit(*((*reading[:-2], False, reading[-1]) for reading in rows)).conflicts == 99
    assert kept.commit(*((*reading[:-3], '{"q":2.0}', True, reading[-1]) for reading in rows)).conflicts == 99


def test_what_the_first_versions_stored_is_no_conflict_after_an_upgrade(kept: Kept) -> None:
    """They dropped other numbers, and the same reading may come once more."""
    kept.put(*series(1, 400))
    kept.upkeep()
    again = [(*reading[:-3], '{"q":1.0}', True, reading[-1]) for reading in series(1, 400)]
    assert kept.commit(*again).conflicts == 0


def test_readings_of_several_meters_and_epochs_are_not_mixed_up(kept: Kept) -> None:
    rows = [row(meter, seq, ts=DAY0 + seq, epoch=epoch, voltage=meter * 100.0 + epoch)
            for meter in (1, 2, 3) for epoch in (1, 2) for seq in range(1, 401)]  # fmt: skip
    kept.put(*rows)
    kept.upkeep()
    other = row(2, 7, ts=DAY0 + 7, epoch=2, voltage=1.0)
    committed = kept.commit(*rows, other)
    assert (committed.new, committed.conflicts) == (0, 1)
    (alarm,) = kept.store.alarms()
    assert alarm.meter_id == meter_id(2)
    assert "epoch 2, seq 7 to 7" in alarm.detail
