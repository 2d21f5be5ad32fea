"""Accounts whose intervals a test writes itself, and a plain reference of what they cost.

>>> books = Books(engine, prices(CREDIT, TARIFFS))  # doctest: +SKIP
>>> books.write(1, {DAY0: (21_000, Mark.MEASURED)})  # doctest: +SKIP
>>> books.book(now=NOW)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, select
from sqlmodel import Session, col

from bridge.credit import credit_file
from bridge.credit.accounts import Accounts, By
from bridge.credit.booking import WORK, Booker, day_of
from bridge.credit.entries import METER
from bridge.credit.invariants import findings
from bridge.credit.prices import Prices
from bridge.store import tariffs
from bridge.store.due import note_due
from bridge.store.intervals import Mark
from bridge.store.profile_format import Day
from bridge.store.tables import DAY_MS, CreditAccount, CreditEntry, LoadProfile, Meter, moment
from bridge.store.upsert import insert_into
from broker.calendar import Calendar
from tests.support.stores import meter_id

CREDIT = """
currency = "EUR"
time_zone = "Europe/Zurich"
low = 5.00
emergency = 2.00

[[version]]
from = 2026-01-01
prices.T1 = 0.35123
prices.T2 = [{ up_to = 0.05, price = 0.10001 }, { up_to = 0.4, price = 0.2 }, { price = 0.30003 }]

[[version]]
from = 2026-12-01
standing_charge = 0.10
prices = { T1 = [{ up_to = 0.3, price = 0.2 }, { price = 0.5 }], T2 = 0.40007 }
"""
TARIFFS = """
time_zone = "Europe/Zurich"
[[version]]
from = 2026-01-01
default = "T1"
[[version.times]]
hours = ["22:00-06:00"]
tariff = "T2"
"""
SPAN = 900_000
ANNA = By("anna", "test")
Intervals = Mapping[int, tuple[int | None, Mark]]


def prices(credit: str = CREDIT, calendar: str = TARIFFS) -> Prices:
    """Of these texts; without tariffs if the second is empty."""
    told = tariffs.parse(calendar, source="tariffs", calendar=Calendar.named("UTC")) if calendar else None
    return Prices(credit_file.parse(credit, source="credit", tariffs=told), told)


def ms(text: str) -> int:
    """Of a time with its zone."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@dataclass
class Books:
    """Accounts in one database."""

    engine: Engine
    prices: Prices
    count: int = 0

    @property
    def accounts(self) -> Accounts:
        """What people do."""
        return Accounts(self.engine, self.prices)

    def meter(self, *, since: datetime | None = None, **flags: bool) -> int:
        """A new meter's key, with an account."""
        self.count += 1
        name = f"House {self.count}"
        row = Meter(key=self.count, meter_id=meter_id(self.count), name=name, first_seen=0, last_seen=0)
        with Session(self.engine) as session:
            session.add(row)
            session.commit()
        if since is not None:
            self.accounts.open(meter_id(self.count), by=ANNA, since=since, **flags)
        return self.count

    def write(self, meter: int, intervals: Intervals) -> None:
        """Have these values in the meter's load profile as upkeep does: another value is a new version."""
        with self.engine.begin() as connection:
            for start in sorted({at - at % DAY_MS for at in intervals}):
                day = day_of(connection, meter, start) or Day(start, SPAN // 60_000)
                for at, (energy, mark) in intervals.items():
                    if start <= at < start + DAY_MS:
                        values = {"energy_import": energy, "energy_import_mark": int(mark)}
                        day.put((at - start) // SPAN, values)
                row = {"meter": meter, "start": start, "minutes": day.minutes, "data": day.encoded()}
                statement = insert_into(connection.dialect.name, LoadProfile).values(row)
                new = {"data": statement.excluded.data}
                keys = ["meter", "start"]
                connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=new))
                note_due(connection, WORK, meter, start)

    def replay(self, meter: int, days: Iterable[int]) -> None:
        """Have days looked at once more."""
        with self.engine.begin() as connection:
            for start in days:
                note_due(connection, WORK, meter, start)

    def book(self, *, now: int) -> int:
        """All that is due, a transaction for each step; how many intervals had a new version."""
        booker = Booker(self.prices, now=now)
        more = True
        while more:
            with self.engine.begin() as connection:
                more = booker.step(connection)
        return booker.intervals

    def wrong(self) -> list[str]:
        """What `credit audit` finds."""
        with self.engine.connect() as connection:
            return list(findings(connection))

    def balance(self, meter: int) -> int:
        """Of the account."""
        with self.engine.connect() as connection:
            wanted = select(col(CreditAccount.balance)).where(col(CreditAccount.meter) == meter)
            return int(connection.execute(wanted).scalar_one())

    def entries(self, meter: int) -> list[tuple[str, int]]:
        """Key and amount of the meter's side, in their order."""
        mine = (col(CreditEntry.meter) == meter, col(CreditEntry.account) == METER)
        wanted = select(col(CreditEntry.transaction_key), col(CreditEntry.amount)).where(*mine)
        with self.engine.connect() as connection:
            return [
                (key, amount) for key, amount in connection.execute(wanted.order_by(col(CreditEntry.key)))
            ]


# --- the reference: plain, slow, in exact fractions of the currency ------------------------------------

_ZURICH = ZoneInfo("Europe/Zurich")
_BLOCKS: dict[tuple[str, str], list[tuple[str | None, str]]] = {
    ("2026-01", "T1"): [(None, "0.35123")],
    ("2026-01", "T2"): [("0.05", "0.10001"), ("0.4", "0.2"), (None, "0.30003")],
    ("2026-12", "T1"): [("0.3", "0.2"), (None, "0.5")],
    ("2026-12", "T2"): [(None, "0.40007")],
}
"""By version and tariff: kWh and price, of `CREDIT`."""


def expected_cost(energies: Mapping[int, int]) -> int:
    """Thousandths of a cent that intervals cost together, by their begins (ms) and thousandths of a Wh."""
    sums: dict[tuple[str, str], Fraction] = {}
    for at, energy in energies.items():
        local = moment(at).astimezone(UTC).astimezone(_ZURICH)
        tariff = "T2" if local.hour >= 22 or local.hour < 6 else "T1"
        key = (f"{local:%Y-%m}", tariff)
        sums[key] = sums.get(key, Fraction(0)) + Fraction(energy, 1_000_000)
    return sum(_cost(month, tariff, kwh) for (month, tariff), kwh in sums.items())


def _cost(month: str, tariff: str, kwh: Fraction) -> int:
    version = "2026-12" if month >= "2026-12" else "2026-01"
    cost, below = Fraction(0), Fraction(0)
    for up_to, price in _BLOCKS[version, tariff]:
        top = kwh if up_to is None else min(kwh, Fraction(Decimal(up_to)))
        cost += max(Fraction(0), top - below) * Fraction(Decimal(price))
        below = max(below, top)
    return round(cost * 100_000)  # half to even
