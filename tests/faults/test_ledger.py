"""A ledger that could not tell a lost reading from a stored one would prove nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session

from bridge.store.pack_format import NOTHING, encode
from bridge.store.tables import Meter, Pack, Reading
from tests.faults.cards import COLUMNS, Name, Row
from tests.faults.ledger import Ledger, OutboxState, audit, flows, last_left, read_book
from tests.faults.stored import Stored, read_stored, stored_upto
from tests.support.databases import migrated

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
TOPIC = f"sm/v1/{METER}"
FUTURE = "reading: ts: is in the future"
OUTBOX = OutboxState(epoch=1, seq=3, dropped=0, left=0)
VALUES: dict[str, float | bool | None] = {"voltage": 230.1, "power": 21.3, "alarm": False}


@dataclass
class Scene:
    """Three readings, taken and stored; a test spoils something."""

    folder: Path
    events: list[dict[str, Any]] = field(default_factory=list)
    outbox: OutboxState = OUTBOX
    rows: list[tuple[Name, Row]] = field(default_factory=list)
    dead: list[tuple[str, bytes, str]] = field(default_factory=list)

    def take(self, seq: int, *, took: bool = True, **others: Any) -> None:
        """The outbox is given a reading."""
        told = {"epoch": 1, "seq": seq, "left": 1}
        want = {"event": "want", "ts": 1000 * seq, "ahead": 0.0, "values": VALUES} | told | others
        self.events += [want, {"event": "took"} | told] if took else [want]

    def store(self, seq: int, **changes: float | None) -> None:
        """The bridge has stored it."""
        values = VALUES | changes
        row = Row(1000 * seq, tuple(values.get(column) for column in COLUMNS))
        self.rows.append((Name(METER, 1, seq), row))

    def bury(self, seq: int, cause: str = FUTURE) -> None:
        """It is a dead letter."""
        self.dead.append((f"{TOPIC}/reading", json.dumps({"epoch": 1, "seq": seq}).encode(), cause))

    def audit(self) -> Ledger:
        """Through the file, as in a run."""
        path = self.folder / f"{METER}.jsonl"
        path.write_text("".join(json.dumps(event) + "\n" for event in self.events))
        return audit([read_book(path)], {METER: self.outbox}, Stored(self.rows, self.dead))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path)
    for seq in (1, 2, 3):
        scene.take(seq)
        scene.store(seq)
    return scene


def test_what_was_taken_and_stored_balances(scene: Scene) -> None:
    ledger = scene.audit()
    assert ledger.balanced, ledger
    assert (ledger.taken, ledger.stored, ledger.aside) == (3, 3, 0)
    assert ledger.meters == {METER: (3, 3, 0, 0)}


def lose(scene: Scene) -> None:
    del scene.rows[1]


def alter(scene: Scene) -> None:
    del scene.rows[1]
    scene.store(2, power=21.4)


def forget_a_quantity(scene: Scene) -> None:
    del scene.rows[1]
    scene.store(2, power=None)


def double(scene: Scene) -> None:
    scene.store(2)


def invent(scene: Scene) -> None:
    scene.store(4)


def store_for_nobody(scene: Scene) -> None:
    scene.rows.append((Name("None", 1, 1), scene.rows[0][1]))


def name_two(scene: Scene) -> None:
    scene.take(3, ts=9000)


def go_back(scene: Scene) -> None:
    scene.outbox = replace(scene.outbox, seq=2)


def drop(scene: Scene) -> None:
    scene.outbox = replace(scene.outbox, dropped=1)


def keep(scene: Scene) -> None:
    scene.outbox = replace(scene.outbox, left=1)


def skip(scene: Scene) -> None:
    scene.take(5)
    scene.store(5)
    scene.outbox = replace(scene.outbox, seq=5)


def bury_a_good_one(scene: Scene) -> None:
    del scene.rows[1]
    scene.bury(2)


def bury_for_another_cause(scene: Scene) -> None:
    scene.bury(2, "cannot be stored: OperationalError")


def begin_anew(scene: Scene) -> None:
    scene.take(1, epoch=2)
    scene.events[-1]["epoch"] = 2


# fmt: off
SPOILED: dict[str, Callable[[Scene], None]] = {
    "missing": lose, "altered": alter, "stored twice": double, "stored, but never taken": invent,
    "name given to two readings": name_two, "outbox went back": go_back, "outbox dropped readings": drop,
    "outbox not empty": keep, "hole in seq": skip, "dead letter that is none": bury_for_another_cause,
    "another epoch": begin_anew,
}
ALSO: list[tuple[str, Callable[[Scene], None]]] = [
    ("missing", bury_a_good_one), ("altered", forget_a_quantity),
    ("stored, but never taken", store_for_nobody),
]
# fmt: on


@pytest.mark.parametrize(("fault", "spoil"), [*SPOILED.items(), *ALSO])
def test_every_fault_is_told_with_its_rows(scene: Scene, fault: str, spoil: Callable[[Scene], None]) -> None:
    spoil(scene)
    ledger = scene.audit()
    assert not ledger.balanced
    assert ledger.faults[fault]
    assert fault in str(ledger)


def test_a_meter_killed_before_its_commit_did_not_take_the_reading(scene: Scene) -> None:
    scene.take(4, took=False)
    assert scene.audit().balanced
    scene.take(4, ts=8000)  # after the restart the name is given to the next reading
    scene.rows.append((Name(METER, 1, 4), Row(8000, scene.rows[0][1].values)))
    scene.outbox = replace(scene.outbox, seq=4)
    assert scene.audit().balanced, scene.audit()


def test_a_meter_killed_after_its_commit_did_take_the_reading(scene: Scene) -> None:
    scene.take(4, took=False)
    scene.outbox = replace(scene.outbox, seq=4)
    assert list(scene.audit().faults) == ["missing"]
    scene.store(4)
    assert scene.audit().balanced


def test_a_reading_of_the_future_may_be_kept_aside(scene: Scene) -> None:
    scene.take(4, ahead=400.0)
    scene.bury(4)
    scene.outbox = replace(scene.outbox, seq=4)
    ledger = scene.audit()
    assert ledger.balanced, ledger
    assert ledger.aside == 1
    scene.store(4)  # sent again after its time had come: stored, and the dead letter stays
    assert scene.audit().balanced
    assert scene.audit().aside == 0


def test_the_last_line_tells_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "book.jsonl"
    assert last_left(path) == 0
    path.write_text('{"left": 1}\n' * 1000 + '{"left": 7}\n')
    assert last_left(path) == 7


def test_readings_flow_when_one_that_was_taken_since_is_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "book.jsonl"
    assert not flows(path, after=0)
    path.write_text('{"event": "took", "epoch": 1, "seq": 4}\n')
    before = path.stat().st_size
    with path.open("a") as book:
        book.write('{"event": "freed", "epoch": 1, "first": 1, "seq": 4}\n')
    assert flows(path, after=0)
    assert not flows(path, after=before)  # it was taken before
    with path.open("a") as book:
        book.write(
            '{"event": "took", "epoch": 1, "seq": 5}\n{"event": "freed", "epoch": 2, "first": 5, "seq": 5}\n'
        )
    assert not flows(path, after=before)
    with path.open("a") as book:
        book.write('{"event": "freed", "epoch": 1, "first": 5, "seq": 5}\n')
    assert flows(path, after=before)


def row(ts: int, **values: float | bool) -> Row:
    """A reading with these values and no others."""
    return Row(ts, tuple(values.get(column) for column in COLUMNS))


def test_rows_and_packs_are_read_as_they_are_in_the_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'chain.sqlite'}"
    engine = migrated(url)
    old = NOTHING._replace(epoch=1, seq=1, ts=1000, voltage=229.9, alarm=True)
    with Session(engine) as session:
        session.add(Meter(key=7, meter_id=METER, first_seen=0, last_seen=0))
        values: dict[str, Any] = {"voltage": 230.1, "power": 21.3}
        session.add(Reading(meter=7, epoch=1, seq=2, ts=2000, alarm=False, **values))
        session.add(Reading(meter=8, epoch=1, seq=1, ts=1000))
        packed = Pack(meter=7, epoch=1, seq=1, first_seq=1, first_ts=1000, last_ts=1000, data=encode([old]))
        session.add(packed)
        session.commit()
    stored = read_stored(url)
    assert sorted(stored.rows) == [
        (Name(METER, 1, 1), row(1000, voltage=229.9, alarm=True)),
        (Name(METER, 1, 2), row(2000, voltage=230.1, power=21.3, alarm=False)),
        (Name("None", 1, 1), row(1000)),
    ]
    assert stored.packed == 1
    assert stored_upto(url) == {METER: 2}
