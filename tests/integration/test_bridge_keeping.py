"""What is not kept is not confirmed; what only a newer meter knows is kept; a wrong clock decides nothing."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from bridge.ingest.ledger import Deadlines
from bridge.store import audit, clock
from bridge.store.clock import Clock
from bridge.store.tables import Command as Row
from tests.support.bridge_process import CLOCK
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
    result,
    stamp,
)
from tests.support.brokers import Broker
from tests.support.cli import run
from tests.support.databases import migrated

pytest_plugins = ("tests.support.databases",)

MANY = 601
HISTORY = TOPICS.meter(METER, "history")
BAD: dict[str, dict[str, object]] = {
    "power factor": {"power_factor": 1.0000001},
    "current": {"current": -0.001},
    "alarm": {"alarm": "overload"},
    "all": {"voltage": -1, "current": [], "power": "x", "power_factor": 7, "frequency": -1, "energy": {}},
}


@pytest.fixture
def rig(broker: Broker, sqlite_url: str) -> Iterator[Rig]:
    with chain(broker, sqlite_url) as running:
        yield running


def send(rig: Rig, readings: list[str]) -> None:
    for start in range(0, len(readings), 200):
        rig.client.publish(HISTORY, f'{{"readings":[{",".join(readings[start : start + 200])}]}}')


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_one_bad_quantity_costs_that_quantity(broker: Broker, database_url: str, bad: dict[str, Any]) -> None:
    with chain(broker, database_url) as rig:
        send(rig, [reading(seq, **({"energy": 7} | bad)) for seq in range(1, MANY + 1)])
        eventually(lambda: rig.confirmed() == set(range(1, MANY + 1)))
        meter = rig.meter()
        assert meter is not None
        rows = list(rig.store.readings(meter))
        assert [row.seq for row in rows] == list(range(1, MANY + 1))
        assert {name for row in rows for name in bad if getattr(row, name) is not None} == set()
        assert {tuple(json.loads(row.other or "")) for row in rows} == {tuple(sorted(bad))}, "kept beside"
        letters = rig.dead()
        assert sorted((letter.size, letter.count) for letter in letters) == [(0, MANY)] * len(bad), "counted"
        eventually(lambda: rig.client.counter("spoiled") == MANY * len(bad))
        log = rig.bridge.log.read_text()
        assert all(log.count(f"{name} is not a value within its limits") == 1 for name in bad), "logged once"


def test_a_meter_whose_clock_is_ten_minutes_ahead_loses_nothing(rig: Rig) -> None:
    send(rig, [reading(seq, ts=stamp(minutes=10)) for seq in range(1, MANY + 1)])
    rig.client.publish(READING, reading(1000))
    eventually(lambda: rig.confirmed() == {1000}, what="the good one is not held up")
    assert rig.seqs() == [1000]
    assert [(letter.size, letter.count) for letter in rig.dead()] == [(0, MANY)], "it keeps them itself"


def test_what_is_days_ahead_is_kept_aside_all_of_it(rig: Rig) -> None:
    ahead = stamp(days=2)
    send(rig, [reading(seq, ts=ahead) for seq in range(1, MANY + 1)])
    eventually(lambda: rig.confirmed() == set(range(1, MANY + 1)))
    letters = rig.store.dead_letters(last=10_000)
    assert len(letters) == MANY
    assert all(letter.confirmed for letter in letters)
    assert sorted(json.loads(letter.payload)["seq"] for letter in letters) == list(range(1, MANY + 1))


def test_what_finds_no_room_is_not_confirmed(broker: Broker, sqlite_url: str) -> None:
    ahead = stamp(days=2)
    readings = [reading(seq, ts=ahead).replace(" ", "") for seq in range(11, 51)]
    with chain(broker, sqlite_url, dead_letter_bytes=8 * 10 * len(readings[-1])) as rig:
        send(rig, readings)
        eventually(lambda: rig.client.counter("dead") == 40)
        kept = {json.loads(letter.payload)["seq"] for letter in rig.dead() if letter.payload}
        assert len(kept) == 10, "an eighth of all"
        eventually(lambda: rig.confirmed() == kept)
        send(rig, readings)
        eventually(lambda: rig.client.counter("dead") == 80)
        assert rig.confirmed() == kept, "again, and what is there already still is"


def test_a_newer_meter_is_taken_and_its_numbers_are_shown(rig: Rig, sqlite_url: str) -> None:
    rig.client.publish(BIRTH, birth(quantities=["voltage", "thd_current"]))
    rig.client.publish(READING, reading(1, thd_current=3.25, note="x", clock_synchronized=False))
    eventually(lambda: rig.confirmed() == {1})
    meter = rig.meter()
    assert meter is not None
    assert (meter.name, meter.quantities) == ("House 7", "voltage,thd_current")
    assert rig.dead() == []
    rig.wait_revision(lambda revision: revision.meters == 1)
    (told,) = json.loads(cli("readings", "House 7", "--json", "--database", sqlite_url))
    assert told["other"] == {"thd_current": 3.25}
    assert told["clock_synchronized"] is False
    (row,) = csv.DictReader(io.StringIO(cli("readings", "House 7", "--csv", "--database", sqlite_url)))
    assert (json.loads(row["other"]), row["clock_synchronized"]) == ({"thd_current": 3.25}, "false")
    assert "thd_current" in cli("readings", "House 7", "--database", sqlite_url)


def cli(*words: str) -> str:
    return run(*words).stdout


def test_an_outcome_that_only_a_newer_meter_knows_is_kept_as_text(broker: Broker, database_url: str) -> None:
    outcome = "postponed-until-the-grid-operator-has-agreed"
    with chain(broker, database_url) as rig:
        rig.client.publish(TOPICS.meter(METER, "command"), command("c-1"))
        rig.client.publish(TOPICS.meter(METER, "result"), result("c-1", outcome))
        eventually(lambda: [row.outcome for row in rig.store.commands()] == [outcome])
        assert rig.dead() == []


# --- our clock -----------------------------------------------------------------------------------------


@pytest.fixture
def offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seconds by which the clock of a bridge that is started now is ahead."""
    file = tmp_path / "offset"
    file.write_text("0")
    monkeypatch.setenv(CLOCK, str(file))
    return file


@pytest.mark.parametrize("ntp", [True, False])
def test_a_clock_that_is_an_hour_behind_for_a_while_loses_nothing(
    broker: Broker, database_url: str, offset: Path, ntp: bool
) -> None:
    offset.write_text("-3600")
    with chain(broker, database_url, clock_synchronized=ntp, command_grace=0.5) as rig:
        rig.client.publish(BIRTH, birth(), retain=True)
        status = {"online": True, "session": "s1", "ts": stamp(), "outbox": 7}
        rig.client.publish(TOPICS.meter(METER, "status"), json.dumps(status), retain=True)
        relay = {"position": "open", "operations": 3, "ts": stamp()}
        rig.client.publish(TOPICS.meter(METER, "relay"), json.dumps(relay), retain=True)
        rig.client.publish(TOPICS.meter(METER, "command"), command("c-1", expires_at=stamp(seconds=1)))
        rig.client.publish(TOPICS.meter(METER, "result"), result("c-1", "done"))
        eventually(lambda: rig.client.counter("limited") == 3, what="three wait")
        eventually(lambda: [row.outcome for row in rig.store.commands()] == ["done"])
        assert rig.client.counter("dead") == 0
        offset.write_text("0")
        wanted = ("House 7", True, 7, "open")
        eventually(lambda: (m := rig.meter()) and (m.name, m.online, m.outbox, m.relay) == wanted)
        assert [row.outcome for row in rig.store.commands()] == ["done"]
        assert all(letter.size == 0 for letter in rig.dead()), "nothing is a dead letter for good"


def test_what_was_told_since_is_newer_than_what_waited(broker: Broker, sqlite_url: str, offset: Path) -> None:
    with chain(broker, sqlite_url) as rig:
        rig.client.publish(BIRTH, birth(name="early", ts=stamp(hours=1)), retain=True)
        eventually(lambda: rig.client.counter("limited") == 1)
        rig.client.publish(BIRTH, birth(name="later"), retain=True)
        eventually(rig.meter)
        offset.write_text("3600")
        rig.client.publish(READING, reading(1, ts=stamp(hours=1)))
        eventually(lambda: rig.stored(1), what="a reading that proves what time it is")
        meter = rig.meter()
        assert meter is not None
        assert meter.name == "later"


@pytest.fixture
def engine(sqlite_url: str) -> Iterator[Engine]:
    made = migrated(sqlite_url)
    yield made
    made.dispose()


def test_no_command_times_out_while_our_clock_is_in_doubt(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead, real = [0], time.time_ns
    monkeypatch.setattr("bridge.store.audit.time_ns", lambda: real() + ahead[0] * 10**9)
    told: Any = {"position": "open", "origin_category": "x", "origin_identifier": "y"}
    with Session(engine) as session:
        now = audit.now_ms()
        session.add(Row(command_id="c", meter_id=METER, expires_at=now + 4000, received_at=now, **told))
        session.commit()
    doubt = Clock(doubt_seconds=3600)
    deadlines = Deadlines(engine, grace=10, clock=doubt)
    for seconds in (0, 3600, 0, 3600):
        ahead[0] = seconds
        deadlines.enforce()
        with Session(engine) as session:
            assert session.exec(select(Row.outcome)).one() == "", f"{seconds} s ahead"
    assert doubt.leaps == 3
    Deadlines(engine, grace=10, clock=Clock()).enforce()  # the same clock, which nobody has set
    with Session(engine) as session:
        assert session.exec(select(Row.outcome)).one() == "timed out"


def test_a_clock_that_was_set_is_in_doubt_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead, real, since = [0], time.time_ns, [0.0]
    monkeypatch.setattr("bridge.store.audit.time_ns", lambda: real() + ahead[0] * 10**9)
    monkeypatch.setattr(clock, "monotonic", lambda: since[0] + real() / 10**9)
    looked = Clock()
    assert not looked.in_doubt
    ahead[0] = -10
    assert looked.in_doubt
    since[0], ahead[0] = clock.DOUBT_SECONDS + 1, -10 + int(clock.DOUBT_SECONDS + 1)
    assert not looked.in_doubt
