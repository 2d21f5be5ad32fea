"""Statements of a month: against the load profile, as HTML, and as PDF that pypdf reads back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from lxml import html as lxml_html
from pypdf import PdfReader
from sqlalchemy import update

from admin import statement_files
from admin.main import main
from admin.statement_files import Page, html, pdf
from bridge.store.demand import demand
from bridge.store.statement import MoneyLine, Statement, statements
from bridge.store.tables import DAY_MS, Meter
from bridge.store.tariff_energy import tariff_energy
from bridge.store.tariffs import EXAMPLE, parse
from broker.calendar import Calendar, Period
from broker.contract.errors import ConfigurationError
from tests.support.stores import DAY0, NOW, Kept, keeping, meter_id, row

MINUTE = 60_000
ZURICH = Calendar.named("Europe/Zurich")
WEEK = Period("2026-11", datetime(2026, 11, 22, 23, tzinfo=UTC), datetime(2026, 11, 25, 23, tzinfo=UTC))
"""A short month."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Two days of a meter, with a reset; and one of which nothing is known."""
    with keeping(f"sqlite:///{tmp_path_factory.mktemp('statement')}/house.sqlite") as kept:
        counters = (
            (minute, minute / 3 if minute < 2000 else (minute - 2000) / 3) for minute in range(0, 2880, 5)
        )
        kept.put(*(row(1, 1 + n, ts=DAY0 + n * MINUTE, energy_import=wh) for n, wh in counters))
        kept.put(row(2, 1, ts=NOW, energy_import=1.0))
        with kept.engine.begin() as connection:
            connection.execute(update(Meter).values(interval=300.0, owner="M. Müller", serial="PZEM-17"))
            named = update(Meter).where(Meter.__table__.c.meter_id == meter_id(1))  # type: ignore[attr-defined]
            connection.execute(named.values(name="<House> 1"))
        kept.upkeep()
        yield kept


@pytest.fixture(scope="module")
def told(kept: Kept) -> Statement:
    """With tariffs and money."""
    tariffs = parse(EXAMPLE.read_text(), source="example", calendar=ZURICH)
    lines = (MoneyLine("Energy", "12.50 CHF"), MoneyLine("Total", "12.50 CHF"))
    (one,) = statements(kept.store, [kept.meter()], WEEK, tariffs=tariffs, money=lambda *_: lines)
    return one


def test_registers_tariffs_and_intervals_are_of_the_load_profile(kept: Kept, told: Statement) -> None:
    start = DAY0 - 60 * MINUTE
    table = kept.store.profiles.table(kept.meter(), start=start, end=start + 3 * DAY_MS)
    rows = list(table.documents())
    used = sum(round(1000 * (one["energy_import"] or 0)) for one in rows) / 1000
    (line,) = told.registers
    assert (line.begin, line.end, line.used) == (None, used, used)
    assert (line.begin_raw, line.end_raw) == (None, None), "no reading is near"
    assert round(sum(one.imported or 0 for one in told.tariffs), 3) == used
    assert sum(told.intervals.values()) == 3 * 96 - 4, "since the hour in which the meter was heard first"
    assert told.intervals["estimated"] >= 1
    assert told.demand["demand_max"] == max(4 * (one["energy_import"] or 0) for one in rows)


def test_it_says_what_the_commands_demand_and_tariffs_say(kept: Kept, told: Statement) -> None:
    meter, tariffs = [kept.meter()], parse(EXAMPLE.read_text(), source="example", calendar=ZURICH)
    table = demand(kept.store.profiles, meter, [WEEK])
    found = next(table.documents())
    assert found == found | told.demand | told.intervals
    table = tariff_energy(kept.store.profiles, meter, [WEEK], tariffs)
    found = next(table.documents())
    for line in told.tariffs:
        assert (line.imported, line.exported) == tuple(
            found[f"{way}_{line.tariff.lower()}"] for way in ("energy", "export")
        )
    assert len(told.tariffs) >= 2


def test_a_meter_without_intervals_has_nothing_and_a_retired_one_no_statement(kept: Kept) -> None:
    empty = kept.meter(2)
    (one,) = statements(kept.store, [empty], WEEK)
    assert (one.demand["demand_max"], one.intervals["missing"], one.registers[0].used) == (None, 0, None)
    assert list(statements(kept.store, [empty.model_copy(update={"retired_at": NOW})], WEEK)) == []


def test_html(told: Statement) -> None:
    document = lxml_html.fromstring(html(Page.of(told, ZURICH)))
    text = " ".join(document.text_content().split())
    for part in ("<House> 1", "M. Müller", "2026-11-23 to 2026-11-25", "Maximum demand", "12.50 CHF", "T1"):
        assert part in text
    assert len(document.findall(".//table")) == 5
    assert not document.findall(".//house")


def font_of_blanks(file: Path) -> Path:
    """A TrueType font that has all letters up to U+017F; they look alike."""
    letters = {code: f"u{code:04X}" for code in range(0x20, 0x180)} | {0x2013: "u2013"}
    names = [".notdef", *letters.values()]
    font = FontBuilder(1000)
    font.setupGlyphOrder(names)
    font.setupCharacterMap(letters)
    font.setupGlyf(dict.fromkeys(names, TTGlyphPen(None).glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (500, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Blanks", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(file)
    return file


@pytest.mark.parametrize("name", ["House 1", "Haus Žižka"])
def test_pdf(told: Statement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The second name has letters that the built-in font does not have: it needs the system's."""
    monkeypatch.setattr(statement_files, "DEJAVU", font_of_blanks(tmp_path / "system.ttf"))
    page = Page.of(told, ZURICH)
    page = Page(page.title, (("Meter", name), *page.head[1:]), page.sections)
    file = tmp_path / "x.pdf"
    file.write_bytes(pdf(page))
    reader = PdfReader(file)
    text = " ".join(reader.pages[0].extract_text().split())
    assert reader.metadata is not None
    assert reader.metadata.title == "Statement 2026-11"
    used = f"{(told.registers[0].used or 0) / 1000:.3f}"
    for part in (name, "M. Müller", "Registers", "Energy by tariff", used, "12.50 CHF"):
        assert part in text
    with pytest.raises(ConfigurationError, match="no TrueType font"):
        pdf(page, Path(__file__))
    monkeypatch.setattr(statement_files, "DEJAVU", tmp_path / "none.ttf")
    if name == "House 1":
        assert pdf(page)
    else:
        with pytest.raises(ConfigurationError, match="no font has 'Ž': name one with --font"):
            pdf(page)


def run(kept: Kept, *words: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as end:
        main(["statement", *words, "--database", kept.url, "--time-zone", "Europe/Zurich"])
    assert (end.value.code or 0) == code


def test_on_the_command_line(kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(kept, "--all", "--month", "2026-11", "--directory", str(tmp_path / "all"), "--format", "html")
    assert sorted(one.name for one in (tmp_path / "all").iterdir()) == [
        f"2026-11-{meter_id(number)}.html" for number in (1, 2)
    ]
    run(kept, meter_id(1), "--month", "2026-11", "--output", str(tmp_path / "x.pdf"))
    assert len(PdfReader(tmp_path / "x.pdf").pages) == 1
    capsys.readouterr()
    run(kept, meter_id(1), "--month", "2026-11", "--json")
    (document,) = json.loads(capsys.readouterr().out)
    assert document["registers"][0]["used"] == pytest.approx((2000 + 875) / 3, abs=2)
    assert document["start"] == "2026-10-31T23:00:00.000Z"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--month", "2026-11"), "METER with --output"),
        (("x", "--all", "--month", "2026-11", "--json"), "METER with --output"),
        ((meter_id(1), "--month", "2026-11", "--output", "x.txt"), "name a .pdf or a .html"),
        ((meter_id(1), "--month", "2098-01", "--json"), "is not over"),
        ((meter_id(1), "--month", "November", "--json"), "is no month"),
    ],
)
def test_what_cannot_be_is_refused(
    kept: Kept, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], why: str
) -> None:
    run(kept, *words, code=2)
    assert why in capsys.readouterr().err
