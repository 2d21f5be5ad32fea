"""A statement (`bridge.store.statement`) as HTML and PDF: the same sections in both.

PDF needs fpdf2 (extra ``[pdf]``). Its built-in fonts have the letters of Western Europe; other letters need a
TrueType font: DejaVu Sans of the system (Debian: fonts-dejavu-core), or the one that is named.

>>> [one.title for one in Page.of(statement, calendar).sections]  # doctest: +SKIP
['Registers', 'Maximum demand', 'Intervals']
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Self

from jinja2 import Environment, PackageLoader, StrictUndefined

from bridge.store.statement import Statement
from bridge.store.tables import moment
from broker.calendar import Calendar
from broker.contract.errors import ConfigurationError, UnavailableError

DEJAVU = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
UNKNOWN = "–"
_MEANING = {
    "measured": "readings all through the interval",
    "interpolated": "registers at both ends are known",
    "estimated": "the counter was reset or is in doubt",
    "missing": "no register is known for a part of it",
}
_NAMES = {
    "energy_import": ("Imported energy", "kWh"),
    "energy_export": ("Exported energy", "kWh"),
    "reactive_import": ("Imported reactive energy", "kvarh"),
    "reactive_export": ("Exported reactive energy", "kvarh"),
}


@dataclass(frozen=True)
class Section:
    """A table with its title; the first column is of words, the others are of numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Page:
    """What a statement says, as texts."""

    title: str
    head: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]

    @classmethod
    def of(cls, statement: Statement, calendar: Calendar) -> Self:
        """With times of ``calendar``."""
        meter, period = statement.meter, statement.period
        first, last = (calendar.local(at) for at in (period.start, period.end - timedelta(days=1)))
        head = {
            "Meter": meter.name or meter.meter_id,
            "Owner": meter.owner,
            "Address": meter.address,
            "Address code": meter.address_code,
            "Serial number": meter.serial,
            "meter_id": meter.meter_id,
            "Period": f"{first:%Y-%m-%d} to {last:%Y-%m-%d}",
        }
        return cls(
            f"Statement {period.name}",
            tuple((label, value) for label, value in head.items() if value),
            tuple(_sections(statement, calendar)),
        )


def _sections(statement: Statement, calendar: Calendar) -> Iterator[Section]:
    yield Section(
        "Registers",
        ("", "Begin", "End", "Used", "Meter showed, begin", "Meter showed, end"),
        tuple(
            (f"{name}, {unit}", *map(_kilo, (one.begin, one.end, one.used, one.begin_raw, one.end_raw)))
            for one in statement.registers
            for name, unit in (_NAMES[one.register],)
        ),
        "Begin and end add up all intervals since the meter's first one: a reset does not lower them.",
    )
    if statement.tariffs:
        rows = (
            (f"{one.tariff} {one.name}".strip(), _kilo(one.imported), _kilo(one.exported))
            for one in statement.tariffs
        )
        yield Section("Energy by tariff", ("", "Imported, kWh", "Exported, kWh"), tuple(rows))
    demand = statement.demand
    if demand["demand_max"] is not None:
        begin = f"{calendar.local(moment(demand['demand_at'])):%Y-%m-%d %H:%M}"
        row = ("Mean of an interval", _kilo(demand["demand_max"]), begin, demand["demand_mark"])
        yield Section("Maximum demand", ("", "kW", "Begin", "Known as"), (row,))
    counts = tuple((f"{mark}: {_MEANING[mark]}", str(count)) for mark, count in statement.intervals.items())
    yield Section("Intervals", ("", "Number"), counts)
    if statement.money:
        yield Section("Amount", ("", ""), tuple((one.label, one.amount) for one in statement.money))


def _kilo(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value / 1000:.3f}"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def html(page: Page) -> bytes:
    """A document of its own."""
    template = _environment().get_template("statement.html")
    return template.render(title=page.title, head=page.head, sections=page.sections).encode()


def pdf(page: Page, font: Path | None = None) -> bytes:
    """On A4; UnavailableError without fpdf2, ConfigurationError for letters without a font."""
    try:
        fpdf: Any = importlib.import_module("fpdf")
    except ModuleNotFoundError as error:
        raise UnavailableError("PDF needs fpdf2: pip install 'meter61850[pdf]', or write HTML") from error
    paper = fpdf.FPDF(format="A4")
    paper.set_title(page.title)
    family = _family(paper, page, font)
    paper.add_page()
    paper.set_font(family, size=16)
    paper.cell(0, 10, _told(page.title, family), new_x="LMARGIN", new_y="NEXT")
    paper.set_font(family, size=10)
    for label, value in page.head:
        paper.cell(35, 5.5, label)
        paper.multi_cell(0, 5.5, _told(value, family), new_x="LMARGIN", new_y="NEXT")
    for section in page.sections:
        _table(paper, section, family)
    return bytes(paper.output())


def _table(paper: Any, section: Section, family: str) -> None:
    paper.ln(4)
    paper.set_font(family, size=12)
    paper.cell(0, 8, section.title, new_x="LMARGIN", new_y="NEXT")
    paper.set_font(family, size=9)
    first = 40 if len(section.columns) > 3 else 70
    width = (paper.epw - first) / (len(section.columns) - 1)
    for row in (section.columns, *section.rows):
        if not any(row):
            continue
        for place, cell in enumerate(row):
            size, align = (width, "R") if place else (first, "L")
            paper.cell(size, 6, _told(cell, family), border="B", align=align)
        paper.ln(6)
    if section.note:
        paper.multi_cell(0, 5, section.note, new_x="LMARGIN", new_y="NEXT")


_BUILT_IN = "helvetica"
_CODEC = "latin-1"


def _family(paper: Any, page: Page, font: Path | None) -> str:
    """The built-in one if it has all letters: it makes small files, quickly."""
    texts = [page.title, *(value for _, value in page.head)]
    texts += [cell for section in page.sections for row in section.rows for cell in row]
    if font is None:
        try:
            "".join(texts).replace(UNKNOWN, "-").encode(_CODEC)
        except UnicodeEncodeError as error:
            if not DEJAVU.is_file():
                letter = error.object[error.start]
                raise ConfigurationError(f"no font has {letter!r}: name one with --font FILE.ttf") from error
            font = DEJAVU
        else:
            return _BUILT_IN
    try:
        paper.add_font("named", fname=str(font))
    except Exception as error:  # fontTools has many kinds of errors
        raise ConfigurationError(f"--font {font}: it is no TrueType font: {error}") from error
    return "named"


def _told(text: str, family: str) -> str:
    """The built-in font has ISO 8859-1 alone."""
    return text.replace(UNKNOWN, "-") if family == _BUILT_IN else text
