"""What `readings` tells and exports, and the commands of `store`, on both databases."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from admin.main import main
from bridge.store.export import Table, write_parquet
from bridge.store.pack_format import NOTHING
from bridge.store.tables import HOUR_MS, Due, at_ms
from bridge.store.upkeep import Done
from broker.contract.errors import UnavailableError
from broker.contract.messages import utc_now
from tests.support.stores import DAY0, Kept, keeping, meter_id, series

pytest_plugins = ("tests.support.databases",)

HOUR0 = at_ms(utc_now()) // HOUR_MS * HOUR_MS - 60 * HOUR_MS
"""A whole hour, sixty ago: the command line asks the real clock."""


@pytest.fixture
def kept(database_url: str) -> Iterator[Kept]:
    with keeping(database_url) as kept:
        yield kept


@pytest.fixture
def filled(kept: Kept) -> Kept:
    """Sixty hours of a meter, a reading a minute, summed up."""
    kept.put(*series(1, 60 * 60, start=HOUR0, step=60_000), now=HOUR0 + 60 * HOUR_MS)
    kept.upkeep(now=HOUR0 + 86 * HOUR_MS)
    return kept


class Cli:
    """Runs commands on one database."""

    def __init__(self, url: str, capfd: pytest.CaptureFixture[str]) -> None:
        self._url = url
        self._capfd = capfd
        self.stderr = ""

    def __call__(self, *arguments: str) -> str:
        """What is printed; the code must be 0."""
        with pytest.raises(SystemExit) as end:
            main([*arguments, "--database", self._url])
        out = self._capfd.readouterr()
        assert not end.value.code, out.err
        self.stderr = out.err
        return out.out

    def error(self, *arguments: str) -> tuple[int, str]:
        """Code and message."""
        with pytest.raises(SystemExit) as end:
            main([*arguments, "--database", self._url])
        return int(end.value.code or 0), self._capfd.readouterr().err

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def cli(kept: Kept, capfd: pytest.CaptureFixture[str]) -> Cli:
    return Cli(kept.url, capfd)


# fmt: off
CHOICES: list[tuple[tuple[str, ...], str, int | None]] = [
    ((),                                        "raw",  20),
    (("--since", "24h"),                        "raw",  None),
    (("--since", "26h"),                        "hour", None),
    (("--since", "31d"),                        "hour", 60),
    (("--since", "33d"),                        "day",  None),
    (("--since", "33d", "--last", "7"),         "raw",  7),
    (("--since", "33d", "--resolution", "raw"), "raw",  3600),
    (("--resolution", "hour", "--last", "5"),   "hour", 5),
]
# fmt: on


def test_a_long_range_is_told_in_hours_or_days(filled: Kept, cli: Cli) -> None:
    for query, resolution, rows in CHOICES:
        found = cli.json("readings", meter_id(1), *query)
        assert {row["resolution"] for row in found} == {resolution}, query
        assert rows is None or len(found) == rows, query
        assert ("energy_used" in found[0]) == (resolution != "raw")


def test_the_table_says_what_it_tells(filled: Kept, cli: Cli) -> None:
    text = cli("readings", meter_id(1), "--since", "3d")
    assert "by hour (UTC)" in cli.stderr
    assert "--resolution raw" in cli.stderr
    assert text.splitlines()[0].split()[:4] == ["start", "readings", "energy", "used"]
    cli("readings", meter_id(1), "--since", "3d", "--resolution", "raw")
    assert "UTC" not in cli.stderr


def test_an_hour_that_began_before_the_range_is_told(filled: Kept, cli: Cli) -> None:
    found = cli.json("readings", meter_id(1), "--since", f"{(at_ms(utc_now()) - HOUR0) // 60_000 - 1}m")
    assert found[0]["readings"] == 60


def test_csv_has_everything_in_the_order_of_time(filled: Kept, cli: Cli) -> None:
    rows = list(csv.DictReader(io.StringIO(cli("readings", meter_id(1), "--since", "9d", "--csv"))))
    expected = filled.readings()
    assert [int(row["seq"]) for row in rows] == [reading.seq for reading in expected]
    assert [row["power_factor"] for row in rows] == [
        "" if reading.power_factor is None else str(reading.power_factor) for reading in expected
    ]
    assert (rows[0]["alarm"], rows[999]["alarm"]) == ("false", "true")
    assert rows[0]["ts"].endswith("Z")


def test_parquet_has_the_same_numbers(filled: Kept, cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "house.parquet"
    cli("readings", meter_id(1), "--since", "9d", "--parquet", str(file))
    assert "3600 rows (raw)" in cli.stderr
    table = pq.read_table(file)
    columns = table.to_pydict()
    columns["ts"] = [at_ms(ts) for ts in columns["ts"]]
    assert str(table.schema.field("ts").type) == "timestamp[ms, tz=UTC]"
    found = [
        NOTHING._replace(**dict(zip(columns, row, strict=True)))
        for row in zip(*columns.values(), strict=True)
    ]
    assert found == filled.readings()
    cli("readings", meter_id(1), "--since", "9d", "--resolution", "day", "--parquet", str(file))
    assert sum(pq.read_table(file).to_pydict()["energy_used"]) == 3599


def test_only_one_form_at_a_time(filled: Kept, cli: Cli) -> None:
    assert cli.error("readings", meter_id(1), "--csv", "--parquet", "x")[0] == 2


def test_a_parquet_file_that_cannot_be_written(filled: Kept, cli: Cli, tmp_path: Path) -> None:
    code, message = cli.error("readings", meter_id(1), "--parquet", str(tmp_path / "none" / "x"))
    assert (code, "cannot write" in message) == (1, True)


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UnavailableError, match=r"meter61850\[parquet\]"):
        write_parquet(Table(("ts",), iter([])), tmp_path / "x")


def test_memory_does_not_grow_with_the_rows(kept: Kept, tmp_path: Path) -> None:
    """20,000 readings as Python objects are some 8 MB."""
    for start in range(0, 20_000, 5000):
        kept.put(*series(1, 5000, start=DAY0 + start * 10_000, first=start + 1))
    kept.upkeep()
    meter = kept.meter()
    with (tmp_path / "x.csv").open("w") as out:
        writer = csv.writer(out)
        tracemalloc.start()
        for reading in kept.store.readings(meter):
            writer.writerow(reading)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 3_000_000


def test_maintain_once_does_what_is_due(kept: Kept, cli: Cli) -> None:
    kept.put(*series(1, 1000, start=HOUR0 - 240 * HOUR_MS), now=HOUR0)
    done = cli.json("store", "maintain", "--once")
    days = 1 + (done["days"] > 1)
    assert done == {"hours": 3, "days": days, "packed": 999, "rows": 0, "packs": 0, "held": False}
    assert cli.json("store", "maintain", "--once", "--keep", "8d")["packs"] == 3, "one of each hour"
    assert kept.count(Due) == 0
    assert kept.upkeep(now=HOUR0) == Done()


def test_keep_is_a_time(kept: Kept, cli: Cli) -> None:
    for wrong in ("400", "1h", "-1d"):
        code, message = cli.error("store", "maintain", "--once", "--keep", wrong)
        assert (code, message.startswith("error: keep:")) == (2, True)


def test_maintain_ends_with_a_database_that_is_none(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "admin", "store", "maintain", "--once"]
    for url in (f"sqlite:///{tmp_path}/none.sqlite", "postgresql://postgres@127.0.0.1:1/none"):
        done = subprocess.run([*command, "--database", url], capture_output=True, check=False, text=True)
        assert (done.returncode, done.stdout) == (4, ""), done.stderr
