"""The store on real SQLite and real PostgreSQL: schema, exactly once, registry, ledger, dead letters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, text

from bridge.ingest.classify import Sorter
from bridge.ingest.registry import FOREIGN_SERIAL
from bridge.ingest.writer import Committed, Writer
from bridge.store.meter_names import UnknownMeterError
from bridge.store.queries import Store
from bridge.store.tables import Meter, moment
from broker.contract.messages import format_ts
from broker.contract.quantities import QUANTITIES
from broker.contract.topics import Topics, scl_name
from broker.mqtt.packets import Publish
from tests.support.databases import migrated

pytest_plugins = ("tests.support.databases",)

TOPICS = Topics("sm/v1")
NOW = 1_795_435_200_000
TS = format_ts(moment(NOW))


def meter_id(number: int) -> str:
    return f"3f2504e0-4f89-41d3-9a0c-{number:012x}"


@dataclass
class Rig:
    """A writer and a reader of one database, fed with messages."""

    engine: Engine
    store: Store
    writer: Writer = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new process remembers nothing."""
        self.writer = Writer(self.engine, max_meters_per_ied=2)

    def take(self, *messages: Publish, now: int = NOW) -> Committed:
        return self.writer.commit(Sorter(TOPICS, keys=self.writer.keys).sort(messages, now=now))

    def meter(self, number: int) -> Meter:
        return self.store.meter(meter_id(number)).meter


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    engine = migrated(database_url)
    with Store.open(database_url) as store:
        yield Rig(engine, store)
    engine.dispose()


def message(number: int, kind: str, fields: object, *, flags: int = 0) -> Publish:
    payload = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return Publish(TOPICS.meter(meter_id(number), kind).encode(), payload, b"", flags)


def birth(number: int, *, serial: str = "", **fields: object) -> Publish:
    hardware = {"vendor": "Peacefair", "model": "PZEM-004T", "serial": serial or f"serial-{number}"}
    values = {"name": f"House {number}", "firmware": "1.0", "interval": 10, "session": "s1", "ts": TS}
    return message(number, "birth", values | {"hardware": hardware} | fields)


def reading(number: int, seq: int, *, ts: int = NOW, epoch: int = 1, **quantities: object) -> Publish:
    return message(number, "reading", {"epoch": epoch, "seq": seq, "ts": format_ts(moment(ts)), **quantities})


def test_a_repeated_reading_is_stored_once_and_never_altered(rig: Rig) -> None:
    assert rig.take(reading(1, 1, power=10.5), reading(1, 2), reading(1, 1, power=99)).new == 2
    assert rig.take(reading(1, 2, power=99), reading(1, 3, alarm=True)).new == 1
    rows = list(rig.store.readings(rig.meter(1)))
    assert [(row.seq, row.power, row.alarm) for row in rows] == [
        (1, 10.5, None),
        (2, None, None),
        (3, None, True),
    ]


def test_a_new_epoch_is_another_reading(rig: Rig) -> None:
    assert rig.take(reading(1, 1, epoch=1), reading(1, 1, epoch=2)).new == 2


@pytest.mark.parametrize("count", [1, 511, 513, 3000])
def test_batches_of_every_size(rig: Rig, count: int) -> None:
    assert rig.take(*(reading(seq % 7, seq, ts=NOW - seq) for seq in range(1, count + 1))).new == count
    found = [row for state in rig.store.meters() for row in rig.store.readings(state.meter)]
    assert sorted(row.seq for row in found) == list(range(1, count + 1))
    assert all(row.ts == NOW - row.seq for row in found)


def test_all_quantities_come_back_as_they_were(rig: Rig) -> None:
    """Each with a value of its own, so that none stands in the place of another."""
    values: dict[str, Any] = {
        name: round(-0.5 if row.lowest == -1 else 100 + 0.25 * place, 2)
        for place, (name, row) in enumerate(QUANTITIES.items())
    } | {"power": -21.3, "power_factor": -0.48}
    rig.take(reading(1, 1, **values, alarm=False))
    (row,) = rig.store.readings(rig.meter(1))
    told = {"epoch": 1, "seq": 1, "ts": NOW, "alarm": False, "clock_synchronized": True, "other": None}
    assert row._asdict() == values | told


def test_a_reading_before_its_birth_makes_a_stub_that_the_birth_completes(rig: Rig) -> None:
    assert not rig.take(reading(1, 1)).scl_changed
    stub = rig.meter(1)
    assert (stub.name, stub.born_at, stub.ied, stub.first_seen) == ("", None, None, NOW)
    assert rig.take(birth(1), now=NOW + 5).scl_changed
    born = rig.meter(1)
    assert (born.key, born.name, born.born_at, born.ied) == (stub.key, "House 1", NOW, "SMGW001")
    assert (born.vendor, born.model, born.serial) == ("Peacefair", "PZEM-004T", "serial-1")
    assert (born.first_seen, born.last_seen) == (NOW, NOW + 5)


def test_a_birth_that_changes_nothing_says_so(rig: Rig) -> None:
    rig.take(birth(1))
    assert not rig.take(birth(1, session="s2", ip="10.0.0.7", interval=5)).scl_changed
    assert rig.take(birth(1, name="Mill")).scl_changed


def test_a_meter_id_belongs_to_one_serial(rig: Rig) -> None:
    rig.take(birth(1))
    (letter,) = rig.take(birth(1, serial="other", name="Thief"), birth(2)).dead
    assert letter.cause == FOREIGN_SERIAL
    assert (rig.meter(1).name, rig.meter(2).name) == ("House 1", "House 2")
    assert [letter.cause for letter in rig.store.dead_letters()] == [FOREIGN_SERIAL]


def test_ieds_fill_up_and_a_meter_keeps_its_place_for_life(rig: Rig) -> None:
    rig.take(*(birth(number) for number in (1, 2, 3)))
    rig.take(message(1, "birth", b""))
    rig.restart()
    rig.take(birth(4), birth(5))
    rig.take(birth(1))
    assert [rig.meter(number).ied for number in (1, 2, 3, 4, 5)] == [
        "SMGW001", "SMGW001", "SMGW002", "SMGW002", "SMGW003"
    ]  # fmt: skip


def test_a_meter_is_called_by_the_number_of_its_device(rig: Rig) -> None:
    """Its key is another one: a meter that was only heard of has a key, too."""
    rig.writer = Writer(rig.engine, max_meters_per_ied=5, spare=2)
    rig.take(message(9, "status", {"online": True, "session": "s1", "ts": TS}))
    for number in (1, 2, 3):
        rig.take(birth(number))
    namer = rig.store.namer()
    told = [(rig.meter(number).key, namer(rig.meter(number))) for number in (9, 1, 2, 3)]
    assert told == [(1, ""), (2, "SMGW001M1"), (3, "SMGW001M2"), (4, "SMGW001M3")]
    assert rig.store.meter("SMGW001M3").meter.meter_id == meter_id(3)


def test_ieds_fill_up_by_address_code(rig: Rig) -> None:
    rig.writer = Writer(rig.engine, max_meters_per_ied=2, fill_by_address_code=True)
    rig.take(birth(1, address_code="7530"), birth(2, address_code="7535"), birth(3, address_code="7530"))
    rig.writer = Writer(rig.engine, max_meters_per_ied=2, fill_by_address_code=True)
    rig.take(birth(4, address_code="7530"), birth(5, address_code="7535"), birth(6))
    rig.take(birth(1, address_code="7535"))  # it has moved, and keeps its place
    assert [rig.meter(number).ied for number in (1, 2, 3, 4, 5, 6)] == [
        "SMGW001", "SMGW002", "SMGW001", "SMGW003", "SMGW002", "SMGW004"
    ]  # fmt: skip


def test_a_withdrawn_meter_is_retired_once_and_born_again(rig: Rig) -> None:
    rig.take(birth(1), message(1, "status", {"online": True, "session": "s1", "ts": TS}))
    assert rig.take(message(1, "birth", b""), now=NOW + 1).scl_changed
    assert not rig.take(message(1, "birth", b""), now=NOW + 2).scl_changed
    assert (rig.meter(1).retired_at, rig.meter(1).online) == (NOW + 1, False)
    assert rig.store.meters() == []
    assert [state.meter.meter_id for state in rig.store.meters(retired=True)] == [meter_id(1)]
    assert rig.take(birth(1)).scl_changed
    assert rig.meter(1).retired_at is None


def test_a_meter_that_is_kept_out_shows_why_and_keeps_its_place(rig: Rig) -> None:
    rig.take(birth(1), message(1, "status", {"online": True, "session": "s1", "ts": TS}))
    before = rig.meter(1)
    shut = {"allowed": False, "reason": "stolen", "ts": TS}
    assert not rig.take(message(1, "access", shut), now=NOW + 9).scl_changed
    meter = rig.meter(1)
    assert (meter.blocked, meter.online, meter.ied) == ("stolen", False, before.ied)
    assert meter.last_seen == before.last_seen  # the registrar spoke, not the meter
    rig.take(message(1, "access", {"allowed": False, "ts": TS}))
    assert rig.meter(1).blocked == "blocked"
    rig.take(message(1, "access", {"allowed": True, "ts": TS}))
    assert rig.meter(1).blocked == ""


def test_what_is_for_the_registrar_is_no_dead_letter(rig: Rig) -> None:
    rig.take(
        message(1, "renew", {"ts": TS}),
        message(1, "credential", {"authorities": "", "ts": TS}),
        Publish(b"sm/v1/enrol/QK7M-1/ask", b"{}", b"", 0),
        Publish(b"sm/v1/enrol/QK7M-1/answer", b"", b"", 0),
    )
    assert list(rig.store.dead_letters()) == []
    assert rig.store.meters(retired=True) == []


def test_an_unknown_meter_is_not_made_by_withdrawing_it(rig: Rig) -> None:
    rig.take(message(1, "birth", b""))
    assert rig.store.meters(retired=True) == []


def test_status_and_relay_are_kept(rig: Rig) -> None:
    status = {"online": True, "session": "s1", "ts": TS, "outbox": 3, "dropped": 2**40}
    relay = {"position": "open", "operations": 7, "local": True, "ts": TS}
    rig.take(message(1, "status", status), message(1, "relay", relay))
    meter = rig.meter(1)
    assert (meter.online, meter.session, meter.outbox, meter.dropped) == (True, "s1", 3, 2**40)
    assert (meter.relay, meter.relay_operations, meter.relay_local, meter.relay_at) == ("open", 7, True, NOW)


def test_readings_move_last_seen_about_once_a_minute(rig: Rig) -> None:
    rig.take(reading(1, 1))
    seen = []
    for seconds in (1, 59, 61):
        rig.take(reading(1, 1 + seconds), now=NOW + seconds * 1000)
        seen.append(rig.meter(1).last_seen)
    assert seen == [NOW, NOW, NOW + 61_000]


def test_nothing_of_a_commit_that_fails_stays(rig: Rig) -> None:
    refuse = "CREATE UNIQUE INDEX one_name ON meter (name)"
    with rig.engine.begin() as connection:
        connection.execute(text(refuse))
    with pytest.raises(Exception, match=r"(?i)unique"):
        rig.take(reading(1, 1), birth(2, name="same"), birth(3, name="same"))
    assert (rig.store.meters(), rig.writer.keys) == ([], {})
    assert rig.take(reading(1, 1)).new == 1, "a key that was rolled back must not be remembered"


def test_readings_by_time_and_number(rig: Rig) -> None:
    rig.take(*(reading(1, seq, ts=NOW + seq * 1000 - 60_000) for seq in range(1, 11)), reading(2, 1))
    meter = rig.meter(1)
    since = datetime.fromtimestamp((NOW - 60_000 + 4000) / 1000, UTC)
    assert [row.seq for row in rig.store.readings(meter)] == list(range(1, 11))
    assert [row.seq for row in rig.store.readings(meter, since=since)] == [4, 5, 6, 7, 8, 9, 10]
    assert [row.seq for row in rig.store.readings(meter, last=3)] == [8, 9, 10]
    assert [row.seq for row in rig.store.readings(meter, since=since, last=100)] == [4, 5, 6, 7, 8, 9, 10]


def test_each_meter_with_its_latest_reading(rig: Rig) -> None:
    rig.take(
        birth(1),
        birth(2),
        reading(1, 5, ts=NOW - 10, power=1),
        reading(1, 4, ts=NOW - 20, power=2),
        reading(3, 1),
    )
    latest = {state.meter.meter_id: state.latest for state in rig.store.meters()}
    assert {meter: row and (row.seq, row.power) for meter, row in latest.items()} == {
        meter_id(1): (5, 1.0),
        meter_id(2): None,
        meter_id(3): (1, None),
    }


def test_a_meter_by_each_of_its_names(rig: Rig) -> None:
    rig.take(birth(0xAB), birth(2), birth(3, name="House 2"))
    ids = (meter_id(0xAB), scl_name(meter_id(0xAB)), meter_id(0xAB)[:36])
    house = rig.store.meter("House 171").meter
    number = house.number
    for name in (*ids, "House 171", f"{house.ied}M{number}", f"M{number}"):
        assert rig.store.meter(name).meter.meter_id == meter_id(0xAB)
    for name, reason in (
        ("House 2", "2 meters are"),
        ("3f25", "3 meters are"),
        ("House_171", "no meter"),
        (f"SMGW999M{number}", "no meter"),
        ("M99", "no meter"),
        ("M" + "9" * 30, "no meter"),
        ("", "no meter"),
    ):
        with pytest.raises(UnknownMeterError, match=reason):
            rig.store.meter(name)


def test_dead_letters_coalesce_and_are_cut(rig: Rig) -> None:
    big = b"\xff" * 100_000
    for now in (NOW, NOW + 5):
        rig.take(
            message(1, "reading", big),
            message(1, "reading", big),
            Publish(b"sm/v1/" + b"t" * 999, b"{}", b"", 0),
            now=now,
        )
    first, second = sorted(rig.store.dead_letters(), key=lambda letter: letter.size, reverse=True)
    assert (first.payload, first.size, first.count) == (big[: 64 * 1024], 100_000, 4)
    assert (first.first_seen, first.last_seen) == (NOW, NOW + 5)
    assert first.cause == "reading: is larger than 16384 bytes"
    assert (len(second.topic), second.count) == (255, 2)
    assert rig.store.meters() == []


def test_the_ledger_keeps_commands_results_and_refusals(rig: Rig) -> None:
    origin = {"category": "remote-control", "identifier": "op"}
    command = {"command_id": "c-1", "position": "open", "issued_at": TS, "expires_at": TS, "origin": origin}
    done = {"command_id": "c-1", "outcome": "done", "ts": TS}
    rig.take(message(1, "command", command), now=NOW)
    row = rig.store.command("c-1")
    assert row is not None
    assert (row.outcome, row.received_at) == ("", NOW)
    rig.take(message(1, "result", done), message(1, "result", done | {"outcome": "failed"}))
    rig.take(message(1, "result", done | {"command_id": "c-2"}))
    (letter,) = rig.take(message(2, "result", done)).dead
    assert letter.cause == "command_id belongs to another meter"
    refusal = {
        "meter_id": meter_id(3),
        "command": command | {"command_id": "c-3"},
        "reason": "offline",
        "ts": TS,
    }
    rig.take(Publish(TOPICS.refused("mms").encode(), json.dumps(refusal).encode(), b"", 0))
    assert [(row.command_id, row.position, row.outcome, row.reason) for row in rig.store.commands()] == [
        ("c-3", "open", "refused", "offline"),
        ("c-2", "", "done", ""),
        ("c-1", "open", "done", ""),
    ]
    rig.take(message(3, "result", done | {"command_id": "c-3"}))
    corrected = rig.store.command("c-3")
    assert corrected is not None
    assert (corrected.outcome, corrected.reason) == ("done", "told as refused before: offline")
    assert [row.command_id for row in rig.store.commands(meter_id(1), last=1)] == ["c-2"]
    assert rig.store.command("c-9") is None
