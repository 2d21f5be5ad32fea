"""Balance of a feeder and suspicions against the truth of a made-up month."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.losses.aligned import aligned, coarser
from bridge.losses.balance import FIELDS, flows, row, technical
from bridge.losses.report import Read, place_of
from bridge.losses.rules import RULES
from bridge.store.intervals import Mark
from bridge.store.tables import DAY_MS
from broker.calendar import Calendar
from tests.support import theft
from tests.support.theft import COUNT, FACTOR, SPAN, START, Feeder, month

UTC = Calendar.named("UTC")
END = START + COUNT * SPAN


def found(feeder: Feeder) -> set[tuple[int, str]]:
    read = feeder.read()
    place = place_of(read, feeder.phases, UTC, three_phase=read.own)
    assert place is not None
    return {(number, name) for name, rule in RULES.items() for number, _ in rule.find(place)}


@pytest.mark.parametrize("seed", range(20))
def test_all_odd_houses_are_found_and_no_other(seed: int) -> None:
    feeder = month(seed)
    assert found(feeder) == set(feeder.odd.items())


@pytest.mark.parametrize("seed", range(100, 103))
def test_nothing_is_found_where_nothing_is_odd(seed: int) -> None:
    assert found(month(seed, honest=True)) == set()


def shown(feeder: Feeder, start: int, end: int, **read: frozenset[int]) -> dict[str, float]:
    got = feeder.read(**read)
    of = flows(got.own, got.houses)
    return dict(zip(FIELDS, row(of, technical(of), start, end), strict=True))


def test_the_balance_is_the_truth_to_the_wh_where_all_is_measured() -> None:
    feeder = month(3, whole=True)
    told = shown(feeder, START, END)
    lost = sum(feeder.stolen) + sum(feeder.technical)
    assert (told["balanced"], told["coverage"], told["missing"]) == (COUNT, 100.0, 0)
    assert told["energy_supplied"] * 1000 == sum(feeder.own["energy_import"])
    assert round(told["loss"] * 1000) == lost
    assert round((told["energy_supplied"] - told["energy_used"]) * 1000) == lost
    week = shown(feeder, START + DAY_MS, START + 8 * DAY_MS)
    assert week["intervals"] == 7 * 96
    assert round(week["loss"] * 1000) == sum(
        feeder.stolen[at] + feeder.technical[at] for at in range(96, 8 * 96)
    )


def test_what_is_missing_is_no_loss_and_lowers_the_coverage() -> None:
    feeder = month(3)
    told = shown(feeder, START, END)
    of = flows(*feeder.read())
    good = [at for at, is_good in enumerate(of.balanced) if is_good]
    assert told["balanced"] == len(good) < COUNT
    assert round(told["loss"] * 1000) == sum(feeder.stolen[at] + feeder.technical[at] for at in good)
    gaps = sum(value is None for house in feeder.houses for value in house["energy_import"])
    assert (told["missing"], told["measured"]) == (gaps, 20 * COUNT - gaps)
    assert told["coverage"] == round(100 * (1 - gaps / (20 * COUNT)), 2)


def test_the_losses_of_lines_are_fitted_where_nothing_is_stolen() -> None:
    fit = technical(flows(*month(4, honest=True).read()))
    assert fit is not None
    assert fit.factor == pytest.approx(FACTOR, rel=0.001)
    assert fit.constant == pytest.approx(0, abs=0.1)
    told = shown(month(4, honest=True), START, END)
    assert told["loss_technical"] == pytest.approx(told["loss"], rel=0.001)


def test_few_intervals_are_not_fitted_and_no_meter_of_its_own_is_no_loss() -> None:
    feeder = month(4, honest=True)
    for name in feeder.own:
        feeder.own[name][400:] = [None] * (COUNT - 400)
    assert technical(flows(*feeder.read())) is None
    nothing = dict(zip(FIELDS, row(flows([], feeder.read().houses), None, START, END), strict=True))
    assert (nothing["balanced"], nothing["loss"], nothing["energy_used"]) == (0, None, None)


def test_reasons_have_figures_and_accuse_of_nothing() -> None:
    feeder = month(0)
    read = feeder.read()
    place = place_of(read, feeder.phases, UTC, three_phase=read.own)
    assert place is not None
    said = {(number, name): one for name, rule in RULES.items() for number, one in rule.find(place)}
    stolen = said[theft.STOLEN_FROM, "gap-rises"]
    assert stolen.place == feeder.since
    texts = [one.reason for one in said.values()] + [rule.otherwise for rule in RULES.values()]
    assert not [
        word for text in texts for word in ("theft", "steal", "stolen", "fraud") if word in text.lower()
    ]
    assert all(any(char.isdigit() for char in one.reason) and one.intervals > 48 for one in said.values())
    assert "The register stands still" in said[theft.EMPTY, "no-load"].reason
    assert "an empty house" in RULES["no-load"].otherwise


def test_a_register_that_falls_or_negative_power_is_a_reversed_transformer() -> None:
    feeder = month(101, honest=True)
    falls, turned = feeder.houses[:2]
    falls["energy_import_mark"][-300:] = [int(Mark.ESTIMATED)] * 300
    turned["power_mean"] = [None if watts is None else -abs(watts) for watts in turned["power_mean"]]
    for name in ("energy_import", "energy_export"):
        turned[name] = [None if value is None else 0 for value in turned[name]]
    assert found(feeder) == {(0, "reversed"), (1, "reversed")}


def test_unequal_intervals_are_joined() -> None:
    own, houses = month(3, whole=True).read()
    fine = dict(zip(FIELDS, row(flows(own, houses), None, START, END), strict=True))
    joined = aligned([coarser(own[0], 2 * SPAN), *houses])
    told = dict(zip(FIELDS, row(flows(joined[:1], joined[1:]), None, START, END), strict=True))
    assert (told["intervals"], told["balanced"]) == (COUNT // 2, COUNT // 2)
    assert (told["loss"], told["energy_supplied"]) == (fine["loss"], fine["energy_supplied"])


def test_a_house_counts_from_its_first_message_until_it_is_retired() -> None:
    own, houses = month(3, whole=True).read()
    houses[0] = replace(houses[0], places=range(96, 192))
    of = flows(own, houses)
    assert [sum(marks) for marks in zip(*(counts[95:97] for counts in of.marks), strict=True)] == [19, 20]
    assert all(of.balanced)


def test_without_the_feeders_meter_only_what_shows_at_the_house_is_found() -> None:
    feeder = month(0)
    houses = feeder.read().houses
    place = place_of(Read([], houses), feeder.phases, UTC, three_phase=[])
    assert place is not None
    names = {name for name, rule in RULES.items() for _ in rule.find(place)}
    assert names == {"no-load", "flat-nights", "reversed"}
