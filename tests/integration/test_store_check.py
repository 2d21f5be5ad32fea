"""`store check` finds what is wrong with a store, names it, and finds nothing in a good one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from admin.main import main
from bridge.store import audit, database
from bridge.store.check import SHOWN, check
from bridge.store.pack_format import encode, packed
from tests.support.stores import DAY0, Kept, keeping, series

pytest_plugins = ("tests.support.databases",)


def pack(change: str) -> str:
    """A change of the first pack."""
    return f"UPDATE reading_pack SET {change} WHERE meter = 1 AND seq = 360"


DAMAGE: dict[str, tuple[str, list[str]]] = {
    "nothing": ("SELECT 1", []),
    "a meter is gone": (
        "DELETE FROM meter WHERE key = 1",
        [
            "reading: 40 rows of meter key 1",
            "reading_pack: 2 rows of meter key 1",
            "rollup: 3 rows",
            "due: 2 rows",
            "load_profile: 1 rows",
            "profile_sum: 1 rows",
            "supply_quality: 1 rows",
        ],
    ),
    "a pack is cut": (pack("data = substr(data, 1, 40)"), ["cannot be decoded"]),
    "a load profile is cut": (
        "UPDATE load_profile SET data = substr(data, 1, 40) WHERE meter = 1",
        ["load_profile: meter key 1, day from 2026-11-23: it cannot be decoded"],
    ),
    "a load profile is of other intervals": (
        "UPDATE load_profile SET minutes = 30 WHERE meter = 1",
        ["not of 48 intervals"],
    ),
    "a pack is another": (pack("data = :few"), ["not of 360 readings"]),
    "a pack has no times": (pack("data = :timeless"), ["cannot be decoded"]),
    "a pack claims too much": (pack("first_seq = -5000"), ["has 5361 readings"]),
    "its times are wrong": (pack("last_ts = last_ts + 1"), ["its times are not"]),
    "two packs overlap": (pack("seq = 361, last_ts = :at, data = :longer"), ["overlaps the pack"]),
    "a packed reading is a row, too": (
        "UPDATE reading SET seq = 5 WHERE seq = 760",
        ["its reading 5 is a row, too"],
    ),
    "two meters have one number": (
        "UPDATE meter SET number = 7",
        ["more than one has the logical device M7"],
    ),
    "a spare one is a meter's": (
        "INSERT INTO spare (number, ied, quantities, has_relay, use) VALUES (7, 'SMGW001', '', true, 'free')",
        ["M7 is a meter's, and a spare one"],
    ),
    "a meter has no number": ("UPDATE meter SET number = NULL", ["has an IED and no logical device"]),
    "a payload was changed": ("UPDATE dead_letter SET payload = :changed", ["the payload of 1 is not"]),
    "the audit was changed": (
        "DROP TRIGGER audit_no_update; UPDATE audit SET who = 'nobody' WHERE no = 1",
        ["broken at row 1"],
    ),
}
LEAF = 13
"""First octet of a page of SQLite with rows of a table."""
ON_BOTH = ("nothing", "two meters have one number", "a pack is cut", "a payload was changed")
"""Of these, each beside those before it, on PostgreSQL: the statements are the same."""


def fill(kept: Kept) -> dict[str, Any]:
    """Two packs, 41 rows, roll-ups, a dead letter, the audit; what the damages are made of."""
    kept.put(*series(1, 760), *series(2, 1))
    readings = kept.readings()
    kept.upkeep(now=DAY0 + 4 * 3_600_000)
    audit.record(kept.engine, *[audit.Event(audit.Kind.METER_RETIRED, who="op")] * 2)
    letter = (
        "INSERT INTO dead_letter (key, topic, payload, size, sha256, cause, count, first_seen, last_seen,"
        " confirmed) VALUES (1, 't', :payload, 3, :hash, 'c', 1, 1, 1, false)"
    )
    hash_ = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with kept.engine.begin() as connection:
        connection.execute(text("UPDATE meter SET ied = 'SMGW001', number = 7 WHERE key = 1"))
        connection.execute(text(letter), {"payload": b"abc", "hash": hash_})
    longer = encode(readings[:361])
    timeless = packed({"power": [1.0] * 360})
    few, at = encode(readings[:10]), readings[360].ts
    return {"few": few, "timeless": timeless, "longer": longer, "at": at, "changed": b"abd"}


def damage(url: str, name: str, values: dict[str, Any]) -> None:
    """Do it."""
    engine = database.connect(url)
    with engine.begin() as connection:
        for statement in DAMAGE[name][0].split("; "):
            used = {key: value for key, value in values.items() if f":{key}" in statement}
            connection.execute(text(statement), used)
    engine.dispose()


def findings(url: str) -> list[str]:
    """What the check says."""
    engine = database.connect(url, reader=True)
    try:
        return check(engine).findings
    finally:
        engine.dispose()


def is_as_told(found: list[str], *names: str) -> bool:
    """Whether exactly these damages are found."""
    expected = [words for name in names for words in DAMAGE[name][1]]
    return len(found) == len(expected) and all(any(words in one for one in found) for words in expected)


def test_each_damage_is_found_and_named(sqlite_url: str, tmp_path: Path) -> None:
    with keeping(sqlite_url) as kept:
        values = fill(kept)
    for name in DAMAGE:
        copy = tmp_path / "copy.sqlite"
        shutil.copy(sqlite_url.removeprefix("sqlite:///"), copy)
        damage(f"sqlite:///{copy}", name, values)
        found = findings(f"sqlite:///{copy}")
        assert is_as_told(found, name), (name, found)
        copy.unlink()


def test_on_postgresql(postgres_url: str) -> None:
    with keeping(postgres_url) as kept:
        values = fill(kept)
    done: list[str] = []
    for name in ON_BOTH:
        damage(postgres_url, name, values)
        done.append(name)
        assert is_as_told(findings(postgres_url), *done), (name, findings(postgres_url))


def test_a_broken_file_is_a_finding(sqlite_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    with keeping(sqlite_url) as kept:
        fill(kept)
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    broken = bytearray(file.read_bytes())
    table = max(place for place in range(4096, len(broken), 4096) if broken[place] == LEAF)
    broken[table : table + 8] = b"\xff" * 8
    file.write_bytes(broken)
    assert any(one.startswith("database: ") for one in findings(sqlite_url))
    code, out, err = told(capfd, "store", "check", "--json", "--database", sqlite_url)
    assert (code, json.loads(out)["findings"] != []) == (1, True)
    assert "database: " in err


def test_the_command(sqlite_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    with keeping(sqlite_url) as kept:
        fill(kept)
    code, out, _ = told(capfd, "store", "check", "--json", "--database", sqlite_url)
    counts = json.loads(out)
    assert (code, counts["findings"]) == (0, [])
    assert (counts["meter"], counts["reading"], counts["packed_readings"], counts["audit"]) == (2, 41, 720, 2)
    file = sqlite_url.removeprefix("sqlite:///")
    Path(file).write_bytes(b"no database" * 1000)
    assert told(capfd, "store", "check", "--database", sqlite_url)[0] == 4
    assert told(capfd, "store", "check", "--database", f"{sqlite_url}.none")[0] == 4


def told(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Code and output of a command."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capfd.readouterr()
    return int(end.value.code or 0), out, err


def test_many_of_one_kind_are_counted(sqlite_url: str) -> None:
    with keeping(sqlite_url) as kept:
        kept.put(*(one for number in range(1, SHOWN + 6) for one in series(number, 1)))
        with kept.engine.begin() as connection:
            connection.execute(text("DELETE FROM meter"))
    found = [one for one in findings(sqlite_url) if one.startswith("reading")]
    assert len(found) == SHOWN + 1
    assert found[-1] == "reading: 5 more of these"
