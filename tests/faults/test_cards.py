"""The ledger of a meter whose memory card was copied: by content, and as strict as names allow."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bridge.ingest.disputes import CAUSE
from bridge.store.dead_letters import MORE
from tests.faults.cards import COLUMNS, Name, Row, read_cards
from tests.faults.ledger import Ledger, OutboxState, audit, read_book
from tests.faults.stored import Stored

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
MAIN, TWIN = "meters1", "twin 1 of meters1"


@dataclass
class Site:
    """Books and a database; a reading is named by its ``ts``, which is also its voltage."""

    folder: Path
    outbox: OutboxState
    rows: list[tuple[Name, Row]] = field(default_factory=list)
    dead: list[tuple[str, bytes, str]] = field(default_factory=list)

    def note(self, event: str, *, book: str = MAIN, **told: object) -> None:
        """A line of a book."""
        path = self.folder / book / f"{METER}.jsonl"
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps({"event": event, "left": 0, **told}) + "\n")

    def want(self, epoch: int, seq: int, ts: int, *, book: str = MAIN, ahead: float = 0.0) -> None:
        """The outbox is given a reading."""
        reading = {"epoch": epoch, "seq": seq, "ts": ts, "values": {"voltage": ts}}
        self.note("want", book=book, ahead=ahead, **reading)

    def take(self, epoch: int, seq: int, ts: int, *, book: str = MAIN, ahead: float = 0.0) -> None:
        """It keeps it."""
        self.want(epoch, seq, ts, book=book, ahead=ahead)
        self.note("took", book=book, epoch=epoch, seq=seq)

    def held(self, epoch: int, seq: int, ts: int, *, book: str = MAIN) -> None:
        """It holds a reading, maybe under a new name."""
        self.note("held", book=book, epoch=epoch, seq=seq, ts=ts, values={"voltage": ts})

    def free(self, epoch: int, first: int, seq: int, *, book: str = MAIN) -> None:
        """The bridge confirms."""
        self.note("freed", book=book, epoch=epoch, first=first, seq=seq)

    def store(self, epoch: int, seq: int, ts: int) -> None:
        """The bridge stores."""
        values = tuple(ts if column == "voltage" else None for column in COLUMNS)
        self.rows.append((Name(METER, epoch, seq), Row(ts, values)))

    def unstore(self, ts: int) -> None:
        """It never did."""
        self.rows = [(name, row) for name, row in self.rows if row.ts != ts]

    def audit(self) -> Ledger:
        """Through the files, as in a run."""
        book = read_book(self.folder / MAIN / f"{METER}.jsonl")
        return audit([book], {METER: self.outbox}, Stored(self.rows, self.dead))


@pytest.fixture
def restored(tmp_path: Path) -> Site:
    """1 before the copy; 2, 3 and 4 on the card that is gone (4 unconfirmed); 5 and 6 on the one put back."""
    site = Site(tmp_path, OutboxState(epoch=8, seq=3, dropped=0, left=0))
    site.take(1, 1, 10)
    site.note("copied")
    site.note("opened", epoch=1, seq=1)
    site.held(1, 1, 10)
    site.free(1, 1, 1)
    for seq, ts in ((2, 20), (3, 30), (4, 40)):
        site.take(1, seq, ts)
    site.free(1, 2, 3)
    site.note("restored")
    site.note("opened", epoch=1, seq=1)
    site.held(1, 1, 10)
    site.take(1, 2, 50)
    site.free(1, 1, 1)
    site.held(2, 2, 50)  # had the name of 20
    site.take(8, 3, 60)
    site.free(2, 2, 2)
    site.free(8, 3, 3)
    for epoch, seq, ts in ((1, 1, 10), (1, 2, 20), (1, 3, 30), (2, 2, 50), (8, 3, 60)):
        site.store(epoch, seq, ts)
    site.dead.append((f"sm/v1/{METER}/reading", b"{}", CAUSE))
    return site


@pytest.fixture
def twins(tmp_path: Path) -> Site:
    """10 before; main takes 20 and 40, the twin 30 and 50, under one name each; 50 ends with the twin."""
    site = Site(tmp_path, OutboxState(epoch=1, seq=3, dropped=0, left=0))
    site.take(1, 1, 10)
    site.note("copied")
    site.note("twin", folder=TWIN)
    for book in (MAIN, TWIN):
        site.note("opened", book=book, epoch=1, seq=1)
        site.held(1, 1, 10, book=book)
    site.take(1, 2, 20)
    site.take(1, 2, 30, book=TWIN)
    site.free(1, 1, 2)
    site.free(1, 1, 1, book=TWIN)
    site.take(1, 3, 40)
    site.free(1, 3, 3)
    site.held(2, 2, 30, book=TWIN)
    site.take(9, 3, 50, book=TWIN)
    site.free(2, 2, 2, book=TWIN)
    for epoch, seq, ts in ((1, 1, 10), (1, 2, 20), (1, 3, 40), (2, 2, 30)):
        site.store(epoch, seq, ts)
    return site


def test_what_an_older_card_lost_unconfirmed_may_be_lost(restored: Site) -> None:
    ledger = restored.audit()
    assert ledger.balanced, ledger
    assert ledger.meters == {METER: (5, 5, 0, 1)}
    restored.store(1, 4, 40)  # or it was stored, and nobody heard
    ledger = restored.audit()
    assert ledger.balanced, ledger
    assert ledger.meters == {METER: (6, 6, 0, 0)}
    restored.store(5, 9, 40)
    assert "stored twice" in restored.audit().faults


def test_a_twin_is_accounted_for_like_a_card_that_is_gone(twins: Site) -> None:
    ledger = twins.audit()
    assert ledger.balanced, ledger
    assert ledger.meters == {METER: (4, 4, 0, 1)}


def lose_confirmed(site: Site) -> None:
    site.unstore(30)


def lose_common(site: Site) -> None:
    site.unstore(10)


def double(site: Site) -> None:
    site.store(8, 9, 10)


def twice_in_the_table(site: Site) -> None:
    site.rows.append(site.rows[0])


def rename_unasked(site: Site) -> None:
    site.unstore(10)
    site.store(7, 7, 10)


def invent(site: Site) -> None:
    site.store(7, 7, 99)


def hold_a_stranger(site: Site) -> None:
    site.held(8, 9, 99)


def go_back(site: Site) -> None:
    site.outbox = replace(site.outbox, seq=2)


def drop(site: Site) -> None:
    site.outbox = replace(site.outbox, dropped=1)


def keep(site: Site) -> None:
    site.outbox = replace(site.outbox, left=1)


def skip(site: Site) -> None:
    site.outbox = replace(site.outbox, seq=7)


def bury(site: Site) -> None:
    site.dead.append((f"sm/v1/{METER}/reading", b"{}", "reading: voltage: Field required"))


def bury_anothers(site: Site) -> None:
    site.dead.append(("sm/v1/00000000-0000-4000-8000-000000000000/reading", b"{}", CAUSE))


# fmt: off
SPOILED: list[tuple[str, Callable[[Site], None]]] = [
    ("confirmed, but not stored", lose_confirmed), ("confirmed, but not stored", lose_common),
    ("stored twice", double), ("name stored twice", twice_in_the_table),
    ("stored under another name", rename_unasked), ("stored, but never taken", invent),
    ("held, but never taken", hold_a_stranger), ("outbox went back", go_back),
    ("outbox dropped readings", drop), ("outbox not empty", keep), ("hole in seq", skip),
    ("dead letter that is none", bury), ("dead letter that is none", bury_anothers),
]
# fmt: on


def test_more_of_the_disputed_than_are_kept_only_count(restored: Site, tmp_path: Path) -> None:
    restored.dead.append((MORE, b"", CAUSE))
    assert restored.audit().balanced
    never_copied = Site(
        tmp_path / "never", OutboxState(epoch=0, seq=0, dropped=0, left=0), dead=restored.dead[1:]
    )
    assert "dead letter that is none" in never_copied.audit().faults


@pytest.mark.parametrize("scene", ["restored", "twins"])
@pytest.mark.parametrize(("fault", "spoil"), SPOILED)
def test_every_fault_is_told(
    request: pytest.FixtureRequest, scene: str, fault: str, spoil: Callable[[Site], None]
) -> None:
    site: Site = request.getfixturevalue(scene)
    spoil(site)
    ledger = site.audit()
    assert not ledger.balanced
    assert ledger.faults[fault]


def test_all_that_the_card_took_which_is_left_is_stored(restored: Site) -> None:
    restored.take(8, 4, 70)
    restored.outbox = replace(restored.outbox, seq=4)
    assert list(restored.audit().faults) == ["missing"]
    restored.store(8, 4, 70)
    assert restored.audit().balanced


def test_one_content_that_was_taken_twice_is_stored_twice(restored: Site) -> None:
    """A clock that was set back: the simulated house tells the same at the same time."""
    restored.take(8, 4, 60)
    restored.outbox = replace(restored.outbox, seq=4)
    assert "missing" in restored.audit().faults
    restored.store(8, 4, 60)
    ledger = restored.audit()
    assert ledger.balanced, ledger


def test_a_process_killed_before_or_after_its_commit(restored: Site) -> None:
    restored.want(8, 4, 70)
    assert restored.audit().balanced, "the outbox is at 3"
    restored.note("opened", epoch=8, seq=3)
    restored.take(8, 4, 80)
    restored.want(8, 5, 90)
    restored.outbox = replace(restored.outbox, seq=5)
    assert set(restored.audit().faults) == {"missing"}
    restored.store(8, 4, 80)
    restored.store(8, 5, 90)
    ledger = restored.audit()
    assert ledger.balanced, ledger


def test_a_reading_of_the_future_may_be_kept_aside(restored: Site) -> None:
    letter = json.dumps({"epoch": 8, "seq": 4}).encode()
    restored.dead.append((f"sm/v1/{METER}/reading", letter, "reading: ts: is in the future"))
    restored.outbox = replace(restored.outbox, seq=4)
    restored.take(8, 4, 70, ahead=400.0)
    ledger = restored.audit()
    assert ledger.balanced, ledger
    assert ledger.meters == {METER: (6, 5, 1, 1)}


def test_a_reading_of_the_present_may_not(restored: Site) -> None:
    letter = json.dumps({"epoch": 8, "seq": 4}).encode()
    restored.dead.append((f"sm/v1/{METER}/reading", letter, "reading: ts: is in the future"))
    restored.outbox = replace(restored.outbox, seq=4)
    restored.take(8, 4, 70)
    assert "missing" in restored.audit().faults


def test_a_meter_whose_card_was_never_copied_is_judged_by_names(tmp_path: Path) -> None:
    site = Site(tmp_path, OutboxState(epoch=1, seq=1, dropped=0, left=0))
    site.take(1, 1, 10)
    site.store(1, 1, 10)
    assert len(read_cards(tmp_path / MAIN / f"{METER}.jsonl")) == 1
    assert site.audit().balanced
    site.dead.append((f"sm/v1/{METER}/reading", b"{}", CAUSE))
    assert list(site.audit().faults) == ["dead letter that is none"]
    site.rows = []
    site.store(9, 1, 10)
    assert "missing" in site.audit().faults
