"""A wrong file of tariffs is refused: the message has place, value, and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.store.tariffs import load
from bridge.store.toml_file import MAX_BYTES
from broker.contract.errors import ConfigurationError

VERSION = '[[version]]\nfrom = 2026-01-01\ndefault = "T2"\n'
ROW = '[[version.times]]\ntariff = "T1"\n'
SEASON = ROW + "season = "

# fmt: off
WRONG = [
    ("", "version: the key is missing"),
    ("version = []", "version: it is empty"),
    ("version = 3", "version: 3: it should be a list"),
    ("[version]", r"version: \{\}: it should be a list; \[\[…\]\] begins a table of one"),
    ("version = [3]", "version 1: 3: it should be a table"),
    ("x = ", "is not TOML"),
    (VERSION + "zone = 1", "version 1, zone: unknown key: use from, default, names, holidays, times"),
    ("zone = 1\n" + VERSION, "zone: unknown key: use time_zone, version"),
    (VERSION + ROW + "from = 1", "times 1, from: unknown key: use season, days, hours, tariff"),
    (VERSION + SEASON + '{ from = "01-01", until = "02-01", to = 1 }', "season, to: unknown key: use from"),
    ("time_zone = 'Europe/Zurick'\n" + VERSION, "time_zone: 'Europe/Zurick': .* such as Europe/Zurich"),
    ("time_zone = 1\n" + VERSION, "time_zone: 1: it should be a valid string"),
    ('[[version]]\ndefault = "T1"', "version 1, from: the key is missing"),
    ("[[version]]\nfrom = 2026-01-01", "version 1, default: the key is missing"),
    (VERSION.replace("2026-01-01", '"2026-01-01"'), "version 1, from: '2026-01-01': use a date"),
    (VERSION.replace("2026-01-01", "2026-01-01T00:00:00"), "version 1, from: .*: use a date"),
    (VERSION.replace("2026-01-01", "86400"), "version 1, from: 86400: use a date"),
    (VERSION * 2, "version 2, from: 2026-01-01: as version 1: use another day"),
    (VERSION.replace("T2", "T9"), "version 1, default: 'T9': it should be 'T1', .* or 'T8'"),
    (VERSION + 'names = { T0 = "x" }', "version 1, names, T0: 'T0': it should be 'T1'"),
    (VERSION + 'names = { T1 = "" }', "version 1, names, T1: '': .* at least 1"),
    (VERSION + 'holidays = [2026-12-25, "2026-12-26"]', "version 1, holidays 2: '2026-12-26': use a date"),
    (VERSION + "[[version.times]]", "version 1, times 1, tariff: the key is missing"),
    (VERSION + ROW + ROW + 'days = ["monday"]', "version 1, times 2, days 1: 'monday': it should be 'mon', "),
    (VERSION + ROW + "days = []", "version 1, times 1, days: it is empty: name one at least"),
    (VERSION + ROW + 'days = "mon"', "version 1, times 1, days: 'mon': it should be a list"),
    (VERSION + SEASON + '{ from = "11-01" }', "version 1, times 1, season, until: the key is missing"),
    (VERSION + SEASON + '{ from = "02-30", until = "03-01" }', "season, from: '02-30': use month and day"),
    (VERSION + SEASON + '{ from = "2-1", until = "03-01" }', "season, from: '2-1': use month and day"),
    (VERSION + ROW + "hours = []", "version 1, times 1, hours: it is empty"),
    (VERSION + ROW + 'hours = ["6-22"]', "version 1, times 1, hours 1: '6-22': use times from 00:00"),
    (VERSION + ROW + 'hours = ["06:00-24:05"]', "hours 1: '06:00-24:05': use times from 00:00 to 24:00"),
    (VERSION + ROW + 'hours = ["24:00-06:00"]', "hours 1: '24:00-06:00': use times from 00:00 to 24:00"),
    (VERSION + ROW + 'hours = ["06:00-07:60"]', "hours 1: '06:00-07:60': use times from 00:00 to 24:00"),
    (VERSION + ROW + 'hours = ["00:00-24:00", "06:00-22:01"]', "hours 2: '06:00-22:01': use whole 5 minutes"),
    (VERSION + ROW + 'hours = ["06:00-06:00"]', "hours 1: '06:00-06:00': it has no length"),
    (VERSION + 'hours = ["06:00-22:00"]', "version 1, hours: unknown key"),
]
# fmt: on


@pytest.mark.parametrize(("text", "why"), WRONG)
def test_a_wrong_file_is_refused_with_place_and_value(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "tariffs.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=rf"tariffs\.toml.*{why}"):
        load(file)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "begin with `meter61850 tariffs example"),
        (b"\xff", "it is not UTF-8"),
        (b"#" * (MAX_BYTES + 1), "more than"),
        (b"x = " + b"[" * 100_000, "some hundred deep|not TOML"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, data: bytes | None, why: str) -> None:
    file = tmp_path / "tariffs.toml"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(ConfigurationError, match=why):
        load(file)
