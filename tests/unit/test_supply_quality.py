"""Quality of supply: exact cases, the same as a plain reference, and reliability against counted minutes."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

import pytest

from bridge.store.outages import DOUBTFUL, HIGH, MEDIUM, Outage, index, outages
from bridge.store.silences import Silence, silences, still
from bridge.store.supply_format import Day, runs_of
from bridge.store.supply_hour import Hour, Nominal, Run, deviation, hour_of, negative_sequence
from bridge.store.supply_week import FIELDS, week
from bridge.store.tables import DAY_MS, HOUR_MS
from broker.calendar import Calendar
from tests.support.stores import DAY0

S = 1000
MINUTE = 60_000
WEEK_MS = 7 * DAY_MS
Values = Mapping[str, float | None]
FEEDERS = {"A": [1, 2, 3, 4], "B": [5, 6]}


def columns(*readings: tuple[int, Values], first: int = 1) -> dict[str, Any]:
    """Readings, by their s after DAY0."""
    names = dict.fromkeys(name for _, values in readings for name in values)
    found: dict[str, Any] = {name: [values.get(name) for _, values in readings] for name in names}
    count = len(readings)
    return found | {
        "ts": [DAY0 + at * S for at, _ in readings],
        "epoch": [1] * count,
        "seq": list(range(first, first + count)),
    }


def hour(*readings: tuple[int, Values]) -> Hour:
    return hour_of(columns(*readings), DAY0, near=60_000, nominal=Nominal())


def volts(*values: float | None, step: int = 10) -> list[tuple[int, Values]]:
    """A voltage every ``step`` s."""
    return [(place * step, {"voltage": value}) for place, value in enumerate(values)]


def report(hours: list[tuple[int, Hour]], *, start: int = DAY0, end: int = DAY0 + WEEK_MS) -> dict[str, Any]:
    return dict(zip(FIELDS, week(hours, start=start, end=end, near=60_000), strict=True))


def steady(start: int, count: int, voltage: float = 230.0, **others: Any) -> list[tuple[int, Hour]]:
    """Hours with the same in each 10 minutes."""
    one = Hour((230.0, 50.0), 360, {"voltage": [round(voltage * 10)] * 6}, None, [], [])
    return [(start + n * HOUR_MS, one._replace(**others)) for n in range(count)]


def test_means_are_of_ten_minutes_and_what_is_not_known_is_no_mean() -> None:
    found = hour(
        (0, {"voltage": 230.0}),
        (599, {"voltage": 231.0}),
        (600, {"voltage": None}),
        (3599, {"voltage": 207.0}),
    )
    assert found.means == {"voltage": [2305, None, None, None, None, 2070]}


def test_each_phase_and_its_unbalance() -> None:
    lines = {"voltage_l12": 390.0, "voltage_l23": 400.0, "voltage_l31": 410.0}
    phases = {"voltage_l1": 220.0, "voltage_l2": 230.0, "voltage_l3": 240.0}
    found = hour((0, {**phases, "voltage": 1.0, **lines}))
    assert {name: values[0] for name, values in found.means.items()} == {
        "voltage_l1": 2200, "voltage_l2": 2300, "voltage_l3": 2400, "unbalance": 289,
    }  # fmt: skip
    assert hour((0, phases)).means["deviation"][0] == 435
    assert {*hour((0, lines)).means} == {*lines, "unbalance"}, "a delta network"
    assert report([(DAY0, hour((0, lines)))])["within_10"] == 100.0, "400 V is √3 times 230 V"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.02, 0.05])
def test_the_negative_sequence_is_that_of_symmetrical_components(share: float) -> None:
    """Against the phasors: U1 = 1, U2 = share; lines are a difference of phases, all rotated alike."""
    a = complex(-0.5, sqrt(3) / 2)
    phases = [1 + share, a * a + share * a, a + share * a * a]
    lines = [abs(phases[n] - phases[(n + 1) % 3]) for n in range(3)]
    assert negative_sequence(*lines) == pytest.approx(100 * share, abs=1e-6)


def test_deviation_and_nothing_at_all() -> None:
    assert deviation(220.0, 230.0, 240.0) == pytest.approx(100 * 10 / 230)
    assert {of(v, v, v) for of in (deviation, negative_sequence) for v in (0.0, 1e-100, 5e-324)} == {0.0}


def test_frequency_is_the_mean_of_ten_seconds() -> None:
    told = [
        (at, {"frequency": value}) for at, value in ((0, 50.0), (5, 51.2), (10, 50.5), (20, 49.4), (30, 46.0))
    ]
    assert hour(*told).frequency == (4, 1, 3, 46000, 50600)
    row = report([(DAY0, hour(*told))])
    assert (row["frequency_within_1"], row["frequency_judgement"]) == (25.0, "not met")


def test_sags_and_swells_go_on_from_reading_to_reading() -> None:
    found = hour(*volts(230, 206.9, 200, 230, 207.0, 253.1, 253.0, 11, None, 180))
    assert [tuple(event) for event in found.events] == [
        (0, 10, 20, 870), (0, 70, 70, 48), (0, 90, 90, 783), (1, 50, 50, 1100),
    ]  # fmt: skip
    row = report([(DAY0, found)])
    assert (row["sags"], row["sag_longest"], row["sag_lowest"], row["interruptions"]) == (3, 10.0, 4.8, 1)
    assert (row["swells"], row["swell_longest"]) == (1, 0.0)


@pytest.mark.parametrize(("gap", "sags"), [(60, 1), (70, 2)])
def test_a_sag_goes_on_over_the_hour_unless_a_silence_ends_it(gap: int, sags: int) -> None:
    first = hour((3590, {"voltage": 200.0}))
    second = hour_of(
        columns((3590 + gap, {"voltage": 190.0}), (3600 + gap, {"voltage": 230.0})), DAY0 + HOUR_MS,
        near=60_000, nominal=Nominal(),
    )  # fmt: skip
    row = report([(DAY0, first), (DAY0 + HOUR_MS, second)])
    assert (row["sags"], row["sag_lowest"]) == (sags, 82.6)
    assert row["sag_longest"] == (gap if sags == 1 else 0)
    cut = report([(DAY0, first), (DAY0 + HOUR_MS, second)], start=DAY0 + HOUR_MS)
    assert cut["sags"] == sags - 1, "it belongs to the week in which it begins"


@pytest.mark.parametrize(
    ("bad", "voltage", "judgement", "within", "extremes"),
    [
        (8, 253.1, "not met", 95.24, 95.24),  # above +10 %, which nothing may be
        (8, 206.9, "met", 95.24, 100.0),
        (9, 206.9, "not met", 94.64, 100.0),
        (1, 195.4, "not met", 99.4, 99.4),
        (1, 195.5, "met", 99.4, 100.0),
        (168, 207.0, "met", 100.0, 100.0),
    ],
)
def test_a_week_is_judged(bad: int, voltage: float, judgement: str, within: float, extremes: float) -> None:
    hours = steady(DAY0, 168 - bad) + steady(DAY0 + (168 - bad) * HOUR_MS, bad, voltage)
    row = report(hours)
    assert (row["voltage_judgement"], row["within_10"], row["within_extremes"]) == (
        judgement,
        within,
        extremes,
    )
    assert (row["coverage"], row["readings"]) == (100.0, 168 * 360)


def test_what_is_not_covered_is_not_known_but_bad_stays_bad() -> None:
    assert report(steady(DAY0, 150))["voltage_judgement"] == "not known"
    assert report(steady(DAY0, 160))["voltage_judgement"] == "met"
    assert report(steady(DAY0, 1, 180.0))["voltage_judgement"] == "not met"
    nothing = report([])
    assert (nothing["voltage_judgement"], nothing["coverage"], nothing["within_10"]) == (
        "not known",
        0.0,
        None,
    )


def test_the_nominal_voltage_is_that_of_its_time() -> None:
    hours = steady(DAY0, 84) + steady(DAY0 + 84 * HOUR_MS, 84, 120.0, nominal=(120.0, 60.0))
    assert report(hours)["within_10"] == 100.0


@pytest.mark.parametrize(("name", "hours"), [("2026-W43", 169), ("2026-W13", 167), ("2026-W48", 168)])
def test_weeks_where_the_clock_changes(name: str, hours: int) -> None:
    period = Calendar.named("Europe/Zurich").week(name)
    assert period.hours == hours
    start, end = (round(at.timestamp() * 1000) for at in (period.start, period.end))
    row = report(steady(start - HOUR_MS, hours + 2), start=start, end=end)
    assert (row["coverage"], row["readings"]) == (100.0, 360 * hours)


def test_weeks_have_names() -> None:
    zurich = Calendar.named("Europe/Zurich")
    assert zurich.week("2026-W53").start.isoformat() == "2026-12-27T23:00:00+00:00"
    assert zurich.week_of(zurich.time("2027-01-03T23:59")).name == "2026-W53"
    for wrong in ("2027-W53", "2026-W00", "2026-48", "2026-W5"):
        with pytest.raises(ValueError, match="is no week: 2026-W48 is one"):
            zurich.week(wrong)


def test_a_day_is_stored_whole() -> None:
    day = Day(DAY0)
    day.hours[0] = first = hour(*volts(230, 206.9, 200, 230, 11))
    day.hours[5] = later = hour((0, {"voltage_l1": 230.0, "frequency": 50.0}), (900, {"voltage_l1": 231.0}))
    assert Day(DAY0, day.encoded()).hours == day.hours
    assert list(runs_of(DAY0, day.encoded())) == [
        (DAY0, first.runs), (DAY0 + 5 * HOUR_MS, later.runs),
    ]  # fmt: skip


# --- outages ---------------------------------------------------------------------------------------


def runs(*several: tuple[int, int, int]) -> list[tuple[int, list[Run]]]:
    """Runs of an hour: begin and end in s, and the first number; a reading each 10 s."""
    return [(DAY0, [Run(a, b, 1, seq, 1, seq + (b - a) // 10) for a, b, seq in several])]


@pytest.mark.parametrize(("seq", "taken"), [(62, 0.0), (121, 59 / 60), (63, 1 / 60), (1, None)])
def test_numbers_that_are_left_out_are_readings_that_were_taken(seq: int, taken: float | None) -> None:
    (one,) = silences(7, runs((0, 600, 1), (1200, 1800, seq)), near=60_000, interval=10.0)
    assert (one.begin, one.end) == (DAY0 + 600 * S, DAY0 + 1200 * S)
    assert one.taken == pytest.approx(taken)


def test_history_that_comes_later_leaves_no_silence() -> None:
    assert silences(7, runs((0, 600, 1), (610, 1800, 62)), near=60_000, interval=10.0) == []


def test_readings_without_voltage_are_an_interruption() -> None:
    found = hour(*volts(230, 0, 0, 0, 230, step=50))
    (one,) = silences(7, [(DAY0, found.runs)], near=60_000, interval=50.0)
    assert (one.begin, one.end, one.dark) == (DAY0, DAY0 + 200 * S, True)


def test_who_is_not_back() -> None:
    now, told = DAY0 + 9 * HOUR_MS, runs((0, 600, 1))
    one = still(7, told, now=now, read_at=DAY0 + 600 * S, interval=10.0)
    assert one is not None
    assert (one.begin, one.end) == (DAY0 + 600 * S, None)
    assert still(7, told, now=now, read_at=now - MINUTE, interval=10.0) is None, "it sends"


def silent(meter: int, begin: float, end: float | None, taken: float | None = 0.0, **others: Any) -> Silence:
    """In minutes after DAY0."""
    until = None if end is None else DAY0 + round(end * MINUTE)
    return Silence(meter, DAY0 + round(begin * MINUTE), until, taken, slack=10_000, **others)


def judged(*several: Silence, wills: Any = None) -> list[Outage]:
    return outages(FEEDERS, several, wills=wills or {})


@pytest.mark.parametrize(
    ("several", "sure", "meters", "why"),
    [
        ([silent(1, 0, 60), silent(2, 0.1, 30)], HIGH, (1, 2), "2 of 4 meters were silent at the same"),
        ([silent(1, 0, 60)], DOUBTFUL, (1,), "alone without readings: that house"),
        ([silent(1, 0, 60, None)], DOUBTFUL, (1,), "alone: communications, or that house"),
        ([silent(1, 0, 60, 0.2)], DOUBTFUL, (1,), "alone: communications, or that house"),
        ([silent(1, 0, None, None), silent(2, 0, None, None)], DOUBTFUL, (1, 2), "not back"),
        ([silent(1, 0, 60, None), silent(2, 0, 60)], DOUBTFUL, (2, 1), "not known whether"),
        ([silent(1, 0, 60, dark=True)], HIGH, (1,), "1 of 4 meters measured no voltage"),
        ([silent(1, 0, 60), silent(5, 0, 60)], DOUBTFUL, (1,), "alone"),
    ],
)  # fmt: skip
def test_what_a_silence_is(several: list[Silence], sure: str, meters: tuple[int, ...], why: str) -> None:
    first, *_ = judged(*several)
    assert (first.feeder, first.sure, first.meters) == ("A", sure, meters)
    assert why in first.reason


def test_silences_at_other_times_are_no_outage_together() -> None:
    assert [one.sure for one in judged(silent(1, 0, 60), silent(2, 1.2, 60))] == [DOUBTFUL] * 2
    assert [one.sure for one in judged(silent(1, 0, 60), silent(2, 1.1, 60))] == [HIGH]


def test_two_of_many_are_less_sure() -> None:
    (one,) = outages({"A": range(1, 6)}, [silent(1, 0, 60), silent(2, 0, 60)], wills={})
    assert one.sure == MEDIUM


def test_who_took_readings_had_power() -> None:
    assert judged(*(silent(meter, 0, 60, 0.99) for meter in FEEDERS["A"])) == [], "communications of all"
    outage, doubtful = judged(
        silent(1, 0, 60), silent(2, 0, 60), silent(3, 0, 60, 1.0), silent(4, 0, None, None),
        wills={1: [DAY0 + 90 * S], 2: [DAY0 + 2 * HOUR_MS]},
    )  # fmt: skip
    assert (outage.meters, outage.sure, doubtful.meters, doubtful.sure) == ((1, 2), HIGH, (4,), DOUBTFUL)
    assert outage.reason.split("; ")[1:] == [
        "the connection of 1 was lost then",
        "1 others were silent and took readings, so these had power",
        "1 more may have had none",
    ]


def test_saidi_saifi_and_caidi() -> None:
    """IEEE 1366, with sums by hand: 60 + 30 and 20 minutes of 6 customers; 5 minutes are momentary."""
    found = judged(
        silent(1, 0, 60), silent(2, 0, 30), silent(3, 200, 205), silent(4, 200, 205),
        silent(5, 300, 320), silent(6, 300, 305), silent(1, 900, 990),
    )  # fmt: skip
    own = [one for one in found if one.feeder == "A"]
    assert index("A", FEEDERS["A"], own).row() == ("A", 4, 1, 1, 22.5, 0.5, 45.0, 1)
    everybody = [*FEEDERS["A"], *FEEDERS["B"]]
    assert index("total", everybody, found).row() == (
        "total",
        6,
        2,
        1,
        round(110 / 6, 3),
        0.5,
        round(110 / 3, 3),
        1,
    )
    assert index("total", everybody, found, momentary=4.9).row()[2:4] == (3, 0)
    assert index("none", [], []).row() == ("none", 0, 0, 0, None, None, None, 0)
