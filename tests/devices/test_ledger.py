"""The ledger of the town finds each kind of fault, and nothing else; it sees what waits in the adapter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from adapters.store import FILE_NAME, Store
from broker.contract.messages import utc_now
from meter_firmware.outbox import Outbox
from tests.devices.ledger import AFTER_SECONDS, Away, Ledger, Row, audit
from tests.devices.plan import TARGETS, kills
from tests.devices.told import Told, read_message
from tests.devices.town import last_of_all, left_of_all

GONE = Away(killed=1000.0, started=1010.0)
TOLD = [
    Told("plug", t, round(t * 1000), {"power": t, "energy": 2 * t}, acknowledged=True)
    for t in (100.0, 110.0, 120.0, 130.0)
]
ROWS = [
    Row(one.meter_id, 1, seq, round(one.t * 1000), {**one.values, "frequency": 50.0})
    for seq, one in enumerate(TOLD, start=1)
]
NODE = [
    Told("node", 200.0, None, {"power": 5.0}, acknowledged=True),
    Told("node", 200.1, None, {"energy": 7.0}, acknowledged=True),
]
NODE_ROW = Row("node", 1, 1, 201_200, {"power": 5.0, "energy": 7.0})


def faults(told: list[Told], rows: list[Row], *away: Away) -> list[str]:
    return list(audit(told, rows, away).faults)


def test_what_was_told_and_stored_once_balances() -> None:
    found = audit([*TOLD, *NODE], [*ROWS, NODE_ROW], [])
    assert found.balanced
    assert (found.told, found.stored, found.readings, found.lost) == (6, 6, 5, 0)
    assert "told 6, stored 6" in str(found)


def test_a_reading_of_silence_is_counted_and_no_message() -> None:
    found = audit(TOLD, [*ROWS, Row("plug", 1, 5, 170_000, {})], [])
    assert found.balanced
    assert found.silent == 1


def test_a_reading_with_a_part_of_the_values_is_counted_and_one_with_another_value_a_fault() -> None:
    part = audit(TOLD, [replace(ROWS[0], values={"power": 100.0}), *ROWS[1:]], [])
    assert part.balanced
    assert part.partly == 1
    wrong = [replace(ROWS[0], values={"power": 100.0, "energy": 1.0}), *ROWS[1:]]
    assert "stored, but not told by this device" in faults(TOLD, wrong)


def test_a_message_that_is_not_stored_is_a_fault_unless_something_was_away() -> None:
    assert faults(TOLD, ROWS[:-1]) == ["lost without a kill"]
    assert faults(TOLD, ROWS[:-1], GONE) == ["lost without a kill"], "that was at another time"
    found = audit(TOLD, ROWS[:-1], [Away(killed=125.0, started=129.0)])
    assert found.balanced
    assert found.lost == 1


def test_a_device_that_is_heard_again_loses_nothing_more() -> None:
    away = Away(killed=105.0, started=108.0)
    assert not faults(TOLD, [ROWS[0], ROWS[3]], away)
    assert faults(TOLD, [ROWS[0], ROWS[1], ROWS[3]], away) == ["lost without a kill"]
    late = [replace(one, t=one.t + AFTER_SECONDS, at=None) for one in TOLD[1:]]
    assert faults([TOLD[0], *late], [ROWS[0]], away) == ["lost without a kill"]


def test_a_quantity_with_a_topic_of_its_own_is_heard_again_by_itself() -> None:
    away = Away(killed=195.0, started=199.0)
    again = [replace(one, t=one.t + 10, values=dict.fromkeys(one.values, 9.0)) for one in NODE]
    rows = [
        replace(NODE_ROW, values={"power": 5.0}),
        replace(NODE_ROW, seq=2, ts=211_200, values={"power": 9.0, "energy": 9.0}),
    ]
    assert not faults([*NODE, *again], rows, away)
    assert faults([*NODE, *again], [rows[0]], away) == ["lost without a kill"], "the power was heard already"


def test_what_the_broker_did_not_acknowledge_may_be_there_or_not() -> None:
    maybe = [*TOLD[:-1], replace(TOLD[-1], acknowledged=False)]
    assert not faults(maybe, ROWS)
    assert audit(maybe, ROWS[:-1], []).unsure == 1


def test_an_adapter_that_is_killed_was_behind_by_as_much_as_it_is_told() -> None:
    away = [Away(killed=125.0, started=125.5)]
    assert audit([TOLD[1]], [], away, behind=10).faults.keys() == {"lost without a kill"}
    assert audit([TOLD[1]], [], away, behind=15).balanced


def test_a_reading_of_values_that_are_not_compared_is_counted() -> None:
    alone = Row("plug", 1, 5, 131_000, {"frequency": 50.0})
    found = audit(TOLD, [*ROWS, alone], [])
    assert found.balanced
    assert found.uncompared == 1
    assert faults(TOLD, [*ROWS, replace(alone, meter_id="nobody")])


def test_a_message_that_was_told_twice_is_stored_once() -> None:
    """A device that connects in the second of its next message tells the same with the same time."""
    again = replace(TOLD[1], t=TOLD[1].t + 0.4)
    assert faults([*TOLD, again], ROWS) == []
    assert faults([*TOLD, again], [ROWS[0], *ROWS[2:]]) == ["lost without a kill"], "neither is there"
    other = replace(again, values={"power": 111.0, "energy": 220.0})
    assert faults([*TOLD, other], ROWS) == ["lost without a kill"], "that is another one"
    copies = [replace(one, t=one.t + 0.1) for one in NODE]
    assert faults([*NODE, *copies], [NODE_ROW]) == ["lost without a kill"], "without a time they are two"


def test_a_second_copy_is_a_fault() -> None:
    assert faults(TOLD, [*ROWS, replace(ROWS[1], seq=9)]) == ["stored twice"]
    assert faults(NODE, [NODE_ROW, replace(NODE_ROW, seq=2, ts=202_000)]) == ["stored twice"]


def test_what_was_never_told_is_a_fault() -> None:
    assert faults(TOLD, [*ROWS, Row("plug", 1, 5, 140_000, {"power": 1.0})]) == [
        "stored, but not told by this device"
    ]
    moved = [replace(ROWS[0], ts=ROWS[0].ts + 1000), *ROWS[1:]]
    assert faults(TOLD, moved) == ["stored, but not told by this device", "lost without a kill"]
    assert "stored, but not told by this device" in faults(NODE, [replace(NODE_ROW, ts=190_000)]), "before it"


def test_readings_of_two_devices_that_are_mixed_up_are_faults() -> None:
    other = [replace(one, meter_id="other", values={"power": 1.0, "energy": 2.0}) for one in TOLD]
    swapped = [replace(row, meter_id="other") for row in ROWS]
    assert faults([*TOLD, *other], [*ROWS, *swapped]) == [
        "stored, but not told by this device",
        "lost without a kill",
    ]
    partly = {**NODE_ROW.values, "energy": 8.0}
    assert "stored, but not told by this device" in faults(NODE, [replace(NODE_ROW, values=partly)])


def test_a_ledger_without_faults_is_balanced() -> None:
    ledger = Ledger()
    ledger.tell("nothing", [])
    assert ledger.balanced
    ledger.tell("something", [1])
    assert not ledger.balanced


def test_the_plan_kills_every_target_and_is_its_seed() -> None:
    plan = kills(7, seconds=120, gap=10)
    assert plan == kills(7, seconds=120, gap=10) != kills(8, seconds=120, gap=10)
    assert {kill.target for kill in plan} == {*TARGETS}


def test_a_message_without_values_is_none() -> None:
    assert read_message(0.0, "tele/tasmota_000001/LWT", "Online") is None
    assert read_message(0.0, "shellies-1/rpc", '{"src": "x-a", "result": {}}') is None


def test_what_waits_in_the_adapters_file_is_found(tmp_path: Path) -> None:
    store, now = Store(tmp_path / FILE_NAME), utc_now()
    assert (left_of_all(tmp_path / FILE_NAME), last_of_all(tmp_path / FILE_NAME)) == ([], {})
    store.open()
    for meter_id, count in (("a", 1), ("b", 2)):
        part = store.part(meter_id)
        part.open()
        outbox = Outbox(part, capacity=10)
        outbox.open(now=now)
        for number in range(count):
            outbox.add({"power": float(number)}, ts=now)
    store.close()
    waiting, states = left_of_all(tmp_path / FILE_NAME), last_of_all(tmp_path / FILE_NAME)
    assert [(row.meter_id, row.seq, row.values) for row in waiting] == [
        ("a", 1, {"power": 0.0}),
        ("b", 1, {"power": 0.0}),
        ("b", 2, {"power": 1.0}),
    ]
    assert {meter_id: seq for meter_id, (_, seq) in states.items()} == {"a": 1, "b": 2}
    assert {(row.meter_id, row.epoch) for row in waiting} == {(one, states[one][0]) for one in states}
