"""One more row in the table of quantities, and no other change: from the sensor to whoever reads.

The programs run as always, with `tests/support/one_more` on their path. A database without the quantity, and
with readings, is migrated; simulated meters measure it; rows, packs and roll-ups have it, and HTTP, CSV,
Parquet, page, command line and docs/topics.md show it.
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from sqlalchemy import inspect, text

from bridge.ingest.rows import reading_of
from bridge.store import database
from bridge.store.queries import Store
from bridge.store.tables import at_ms
from broker.contract.messages import utc_now
from broker.contract.quantities import QUANTITIES
from tests.support.brokers import free_port, mosquitto
from tests.support.chain import Chain, until
from tests.support.forked import plain
from tests.support.stores import keeping, meter_id, row, series
from tests.support.web import Web, make_accounts

pytest_plugins = ("tests.support.databases",)

NAME = "test_quantity"
ONE_MORE = Path(__file__).parents[1] / "support" / "one_more"
STOP_SECONDS = 60.0
ENOUGH = 20
"""Readings: more than the fewest that are packed."""
PAGE = {"Accept": "text/html"}
UPKEEP = """
import sys
from datetime import timedelta
from bridge.store import database
from bridge.store.upkeep import Policy, upkeep
engine, policy = database.connect(sys.argv[1]), Policy(pack_after=timedelta())
print(upkeep(engine, policy, now=int(sys.argv[2]), pause=lambda seconds: False).packed)
"""


@dataclass
class Rig:
    """Programs with one more quantity, each started and stopped here."""

    chain: Chain
    url: str

    @contextmanager
    def running(self, *arguments: str) -> Iterator[None]:
        """A service, stopped cleanly."""
        process = self.chain.start(*arguments, name=f"{arguments[0]}-{arguments[1]}")
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(STOP_SECONDS) == 0, self.chain.log(f"{arguments[0]}-{arguments[1]}")

    def python(self, program: str, *arguments: str) -> str:
        """What a few lines of Python print that have the table with the row."""
        return subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
        ).stdout

    def cli(self, *arguments: str) -> str:
        """A command of the CLI on the database."""
        return self.chain.cli(*arguments, "--database", self.url)


@pytest.fixture
def rig(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with keeping(database_url) as before:
        assert before.put(*series(1, ENOUGH)) == ENOUGH
    monkeypatch.setenv("PYTHONPATH", str(ONE_MORE))
    for module in ("chain", "forked"):
        monkeypatch.setattr(f"tests.support.{module}.Forked", plain)
    with mosquitto(tmp_path) as broker:
        yield Rig(Chain(broker, tmp_path, free_port()), database_url)


def stored(url: str, column: str = "count(*)") -> Any:
    """Of the readings that have the quantity."""
    engine = database.connect(url)
    try:
        if NAME not in {found["name"] for found in inspect(engine).get_columns("reading")}:
            return 0
        with engine.connect() as connection:
            return connection.scalar(text(f"SELECT {column} FROM reading WHERE {NAME} IS NOT NULL"))
    finally:
        engine.dispose()


def measured(rig: Rig) -> str:
    """Simulated meter → broker → bridge → database; the meter_id."""
    chain = rig.chain
    bridge = ("bridge", "run", "--mqtt", chain.mqtt, "--database", rig.url, "--mms-port", str(chain.mms_port))
    meters = ("meter", "simulate", "-n", "1", "--interval", "0.5", "--mqtt", chain.mqtt)
    with rig.running(*bridge), rig.running(*meters, "--data-dir", str(chain.folder / "meters")):
        until(lambda: stored(rig.url) >= ENOUGH, seconds=120, why="readings with the quantity are stored")
    told = json.loads(rig.cli("meters", "list", "--json"))
    (found,) = (meter for meter in told if meter["name"] == "House 1")
    assert NAME in json.loads(rig.cli("meters", "show", found["meter_id"], "--json"))["quantities"]
    return str(found["meter_id"])


def test_one_row_is_all_it_takes(rig: Rig, tmp_path: Path) -> None:
    assert NAME not in QUANTITIES, "this process has today's table"
    meter = measured(rig)
    lowest, highest = stored(rig.url, f"min({NAME})"), stored(rig.url, f"max({NAME})")
    assert -40 <= lowest <= highest <= 125

    later = at_ms(utc_now() + timedelta(days=10))
    assert int(rig.python(UPKEEP, rig.url, str(later))) > 0
    assert stored(rig.url) == 1, "all but the newest are in packs"

    check_cli(rig, meter, lowest, highest)
    users = tmp_path / "users.json"
    web = Web(rig.chain, free_port(), users, make_accounts(users))
    where = ("--mqtt", rig.chain.mqtt, "--database", rig.url, "--users", str(users))
    with rig.running("web", "run", "--port", str(web.port), *where):
        until(web.answers, why="the web service answers")
        check_http(web, meter, lowest, highest)
        check_page(web, meter)
    topics = rig.python("from tools.docs.topics import topics_markdown; print(topics_markdown())")
    assert f"| `{NAME}` | number, ≥ -40, ≤ 125 | no | °C, of a test. |" in topics


def check_cli(rig: Rig, meter: str, lowest: float, highest: float) -> None:
    """Table, CSV, Parquet; readings of before are what they were."""
    told = rig.cli("readings", meter, "--last", "5")
    assert "test quantity" in told
    table = list(csv.DictReader(io.StringIO(rig.cli("readings", meter, "--since", "1h", "--csv"))))
    values = [float(line[NAME]) for line in table]
    assert (min(values), max(values)) == (lowest, highest)
    (day,) = json.loads(rig.cli("readings", meter, "--since", "20d", "--resolution", "day", "--json"))[-1:]
    assert day[f"{NAME}_max"] == highest
    file = rig.chain.folder / "readings.parquet"
    rig.cli("readings", meter, "--since", "1h", "--parquet", str(file))
    assert pq.read_table(file).to_pydict()[NAME] == values
    with Store.open(rig.url) as store:
        before = list(store.readings(store.meter(meter_id(1)).meter))
    assert before == [reading_of(reading) for reading in series(1, ENOUGH)]
    (old,) = json.loads(rig.cli("readings", meter_id(1), "--since", "2026-11-01T00:00", "--resolution", "day",
                                "--json"))  # fmt: skip
    assert (old["readings"], old[f"{NAME}_count"], old[f"{NAME}_max"]) == (ENOUGH, 0, None)


def check_http(web: Web, meter: str, lowest: float, highest: float) -> None:
    """Latest, readings and roll-ups as JSON, CSV and Parquet; the description has the field."""
    assert -40 <= web.json(f"/meters/{meter}/latest")[NAME] <= 125
    page = web.json(f"/meters/{meter}/readings", resolution="raw")
    values = [reading[NAME] for reading in page["readings"]]
    assert page["units"][NAME] == "°C"
    assert (min(values), max(values)) == (lowest, highest)
    columns = web.json(f"/meters/{meter}/readings", resolution="raw", layout="columns")["columns"]
    assert columns[NAME] == values
    start = (utc_now() - timedelta(days=31)).isoformat()
    days = web.json(f"/meters/{meter}/readings", start=start, resolution="day")["readings"]
    assert max(day[f"{NAME}_max"] for day in days) == highest
    with web.program() as client:
        read = {
            kind: client.get(f"/meters/{meter}/readings?resolution=raw", headers={"Accept": kind}).content
            for kind in ("text/csv", "application/vnd.apache.parquet")
        }
    table = csv.DictReader(io.StringIO(read["text/csv"].decode()))
    assert [float(line[NAME]) for line in table] == values
    parquet = pq.read_table(io.BytesIO(read["application/vnd.apache.parquet"]))
    assert parquet.to_pydict()[NAME] == values
    document = httpx.get(f"{web.url}/openapi.json", timeout=60).json()
    latest = document["components"]["schemas"]["Latest"]["properties"]
    assert latest[NAME]["description"] == "°C, of a test."


def check_page(web: Web, meter: str) -> None:
    """A card with unit and decimals, and a curve to choose."""
    with web.program() as client:
        page = client.get(f"{web.url}/meters/{meter}", headers=PAGE).text
    assert "<dt>Test quantity</dt>" in page
    assert f'data-field="{NAME}" data-decimals="2"' in page
    assert f'<option value="{NAME}" data-unit="°C" data-decimals="2">Test quantity</option>' in page


def test_programs_that_read_wait_for_the_columns(rig: Rig) -> None:
    """A reader of the new version never guesses: the bridge adds the columns first."""
    done = subprocess.run(
        [sys.executable, "-m", "admin", "meters", "list", "--database", rig.url],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert f"the database has no reading.{NAME}" in done.stderr
    assert "start this program's bridge once" in " ".join(done.stderr.split())


def test_a_value_that_a_version_before_kept_aside_is_the_same_reading(database_url: str) -> None:
    """After an upgrade the broker tells each meter's latest reading again: that is no twin."""
    aside = row(1, 1, ts=1_795_435_200_000, power=21.3, other='{"voltage":230.0}', clock_synchronized=True)
    own = row(1, 1, ts=1_795_435_200_000, power=21.3, voltage=230.0, clock_synchronized=True)
    different = row(1, 1, ts=1_795_435_200_000, power=21.3, voltage=231.0, clock_synchronized=True)
    with keeping(database_url) as kept:
        assert kept.put(aside) == 1
        assert kept.commit(own).conflicts == 0
        assert kept.commit(different).conflicts == 1
