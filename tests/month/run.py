"""Delivers a simulated month to a store, as meters do, and holds what the store tells against the truth."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Engine, select, update
from sqlmodel import col

from bridge.ingest.rows import Row
from bridge.losses.nodes import Node, nodes
from bridge.losses.report import losses, suspicions
from bridge.store.demand import demand
from bridge.store.tables import DAY_MS, ROLLUP, LoadProfile, Meter, moment
from bridge.store.tariff_energy import tariff_energy
from bridge.store.tariffs import parse
from broker.calendar import Calendar, Period
from tests.month.simulation import PHASES, Month
from tests.support.stores import Kept, meter_id

BATCH = 5000
TS = 3
TOLD = 5
"""Differences of a kind that are told."""
DAY_TARIFF = ("06:00", "22:00")
TARIFFS = f"""
[[version]]
from = 2020-01-01
default = "T2"
[[version.times]]
hours = ["{DAY_TARIFF[0]}-{DAY_TARIFF[1]}"]
tariff = "T1"
"""
INTERVAL_MS = 15 * 60_000
FEWEST_DAYS = 21
"""For suspicions: the rules need weeks."""

Step = Callable[[str, int, int], None]
"""What is done, of how many the how-manieth."""


def deliver(kept: Kept, month: Month, step: Step) -> None:
    """Day by day, in an order of chance; then what was unheard, and what a copied card sends."""
    _register(kept, month)
    by_day, later = _sorted_out(month)
    chance = random.Random(month.seed)
    for day in sorted(by_day):
        rows = by_day.pop(day)
        chance.shuffle(rows)
        put(kept, rows, now=(day + 1) * DAY_MS)
        kept.upkeep(now=(day + 1) * DAY_MS + 1)
        step("days", day - month.start // DAY_MS + 1, month.days + 1)
    copies = [row for n, one in enumerate(month.events) if one.copied for row in month.copies(n)]
    assert put(kept, copies, now=end_of(month)) == 0, "a reading with a name that is taken was stored"
    put(kept, later, now=end_of(month))
    kept.upkeep(now=end_of(month))


def _register(kept: Kept, month: Month) -> None:
    """The first reading of each meter, and how often it takes one."""
    firsts = [month.rows(house)[0] for house in range(month.houses)]
    firsts += [month.feeder_rows(feeder)[0] for feeder in range(month.feeders)]
    put(kept, firsts, now=month.start + 1)
    with kept.engine.begin() as connection:
        for number in range(1, month.houses + month.feeders + 1):
            named = {"name": f"House {number}", "ied": "SMGW001", "number": number}
            mine = col(Meter.meter_id) == meter_id(number)
            connection.execute(update(Meter).where(mine).values(interval=month.interval, **named))


def end_of(month: Month) -> int:
    """A time after the month (ms)."""
    return month.start + (month.days + 2) * DAY_MS


def everything(month: Month) -> Iterator[Row]:
    """All readings that are ever taken, without copies."""
    for house in range(month.houses):
        yield from month.rows(house)
    for feeder in range(month.feeders):
        yield from month.feeder_rows(feeder)


def _sorted_out(month: Month) -> tuple[dict[int, list[Row]], list[Row]]:
    """By the day on which they arrive, and the readings that arrive at the end."""
    by_day: dict[int, list[Row]] = defaultdict(list)
    later = []
    for house, happened in enumerate(month.events):
        for row in month.rows(house):
            if row[2] - 1 in happened.unheard:
                later.append(row)
            else:
                by_day[row[TS] // DAY_MS].append(row)
    for feeder in range(month.feeders):
        for row in month.feeder_rows(feeder):
            by_day[row[TS] // DAY_MS].append(row)
    return by_day, later


def put(kept: Kept, rows: list[Row], *, now: int) -> int:
    """Store them in batches; how many were new."""
    left = iter(rows)
    new = 0
    while batch := list(islice(left, BATCH)):
        new += kept.put(*batch, now=now)
    return new


def replay(kept: Kept, month: Month) -> list[str]:
    """Deliver all of it once more; nothing may change."""
    before = contents(kept.engine)
    rows = list(everything(month))
    random.Random(month.seed + 1).shuffle(rows)
    found = []
    if new := put(kept, rows, now=end_of(month)):
        found.append(f"{new} readings were stored again")
    kept.upkeep(now=end_of(month))
    after = contents(kept.engine)
    return found + [f"{table} changed" for table, rows in before.items() if rows != after[table]]


def contents(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """What was computed from the readings."""
    tables = (LoadProfile.__table__, ROLLUP)  # type: ignore[attr-defined]
    with engine.connect() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=str) for table in tables
        }


def judge(kept: Kept, month: Month) -> dict[str, list[str]]:
    """The differences from the truth, by what was compared."""
    calendar = Calendar.named("UTC")
    houses = [kept.meter(number + 1) for number in range(month.houses)]
    days = list(calendar.days(*_span(month)))
    found = {
        "energy of the month": list(islice(_energy(kept, month, houses, days), TOLD)),
        "intervals of houses to which nothing happens": list(islice(_intervals(kept, month, houses), TOLD)),
        "energy by tariff": list(islice(_bills(kept, month, houses, days, calendar), TOLD)),
        "feeders": list(islice(_feeders(kept, month), TOLD)),
        "losses of days without events": list(islice(_losses(kept, month, days), TOLD)),
    }
    if month.days >= FEWEST_DAYS:
        found["houses that are worth a look"] = list(_suspicions(kept, month, calendar))
    return found


def _span(month: Month) -> tuple[datetime, datetime]:
    return moment(month.start), moment(month.start + month.days * DAY_MS)


def _energy(kept: Kept, month: Month, houses: list[Meter], days: list[Period]) -> Iterator[str]:
    sums: dict[str, float] = defaultdict(float)
    for row in demand(kept.store.profiles, houses, days).documents():
        sums[row["meter_id"]] += row["energy_import"] or 0.0
    for house, meter in enumerate(houses):
        counted, happened = month.counted[house], month.events[house]
        want = int(counted.sum())
        if happened.reset is not None:  # nobody knows what was counted between the reading before it and it
            want -= int(counted[happened.reset])
        if sums[meter.meter_id] != want:
            yield f"house {house + 1}: {sums[meter.meter_id]} Wh, and {want} were counted; {happened}"


def _intervals(kept: Kept, month: Month, houses: list[Meter]) -> Iterator[str]:
    each = INTERVAL_MS // (1000 * month.interval)
    for house in month.untouched():
        counted = month.counted[house].reshape(-1, each).sum(axis=1)
        table = kept.store.profiles.table(
            houses[house], start=month.start, end=month.start + month.days * DAY_MS
        )
        for row, want in zip(table.documents(), counted, strict=True):
            if row["energy_import"] != want or row["energy_import_mark"] != "measured":
                yield f"house {house + 1}: {row}, and {want} Wh were counted"


def _bills(
    kept: Kept, month: Month, houses: list[Meter], days: list[Period], calendar: Calendar
) -> Iterator[str]:
    tariffs = parse(TARIFFS, source="month", calendar=calendar)
    day = 86_400 // month.interval
    begin, end = (int(text[:2]) * 3600 // month.interval for text in DAY_TARIFF)
    some = list(month.untouched())
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in tariff_energy(kept.store.profiles, [houses[n] for n in some], days, tariffs).documents():
        found[row["meter_id"]].append((row["energy_t1"], row["energy_t2"]))
    for house in some:
        counted = month.counted[house].reshape(month.days, day)
        first = counted[:, begin:end].sum(axis=1)
        want = list(zip(first.tolist(), (counted.sum(axis=1) - first).tolist(), strict=True))
        if found[houses[house].meter_id] != want:
            yield f"house {house + 1}: {found[houses[house].meter_id][:3]}…, and {want[:3]}… were counted"


def _feeders(kept: Kept, month: Month) -> Iterator[str]:
    days = list(Calendar.named("UTC").days(*_span(month)))
    for feeder in range(month.feeders):
        meter = kept.meter(month.houses + feeder + 1)
        table = demand(kept.store.profiles, [meter], days)
        told = sum(row["energy_import"] or 0.0 for row in table.documents())
        if told != (want := int(month.into_feeders[feeder].sum())):
            yield f"feeder {feeder + 1}: {told} Wh, and {want} were counted"


def _nodes(kept: Kept, month: Month) -> list[Node]:
    return nodes(topology(month), kept.store.registry())


def _losses(kept: Kept, month: Month, days: list[Period]) -> Iterator[str]:
    per_day = 86_400 // month.interval
    for row in losses(kept.store, _nodes(kept, month), days).documents():
        _, is_feeder, number = row["feeder"].rpartition("_F")
        if not is_feeder:
            continue
        feeder = int(number) - 1
        day = (row["start"] - month.start) // DAY_MS
        some = slice(day * per_day, (day + 1) * per_day)
        if month.is_disturbed(feeder, some):
            continue
        want = int(
            month.into_feeders[feeder, some].sum() - month.counted[month.houses_of(feeder), some].sum()
        )
        if row["loss"] != want:
            yield f"feeder {feeder + 1}, {row['period']}: {row['loss']} Wh, and {want} were lost"


def _suspicions(kept: Kept, month: Month, calendar: Calendar) -> Iterator[str]:
    end = month.start + month.days * DAY_MS
    table = suspicions(kept.store, _nodes(kept, month), calendar, start=month.start, end=end)
    found = {(int(row["name"].split()[1]) - 1, row["rule"]) for row in table.documents()}
    want = {(house, "gap-rises") for house, one in enumerate(month.events) if one.theft is not None}
    want |= {(house, "phase") for house in [month.wrong_phase] if house is not None}
    yield from (f"house {house + 1}: {rule} was not found" for house, rule in sorted(want - found))
    yield from (
        f"house {house + 1}: {rule}, and nothing is odd there" for house, rule in sorted(found - want)
    )


def topology(month: Month) -> str:
    """The file: one transformer, and each feeder with its own meter and the phases of its houses."""
    text = '[[substation]]\nname = "Mill"\n[[substation.transformer]]\nname = "T1"\n'
    for feeder in range(month.feeders):
        text += f'[[substation.transformer.feeder]]\nname = "F{feeder + 1}"\n'
        text += f'own_meter = "M{month.houses + feeder + 1}"\n'
        some = range(month.houses)[month.houses_of(feeder)]
        for phase in range(PHASES):
            names = [f'"House {house + 1}"' for house in some if month.told_phase_of(house) == phase]
            text += f"phase.{'ABC'[phase]} = [{', '.join(names)}]\n"
    return text
