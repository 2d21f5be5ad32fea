"""What `credit run` sends: how many at once, under which command_id, and from which balance on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from admin.switching.prepaid import CUTS, Service, _Batch, _chosen, _rules
from bridge.credit.credit_file import parse
from bridge.credit.cutting import Account, Act, Decision, decide
from bridge.credit.standing import State
from bridge.store import database
from broker.contract.known import Known
from broker.contract.relay import Position
from broker.mqtt.settings import MqttSettings
from tests.unit.test_credit_cutting import HOUR, METER, NOW, RULES, house, order, standing

FILE = """
currency = "EUR"
restore = 0
[[version]]
from = 2020-01-01
prices.T1 = 0.35
"""
ANY = cast(Any, SimpleNamespace())


def test_many_cuts_do_not_rest_on_one_look() -> None:
    """Commands go out one a second, and whether data is missing is looked at before all of them."""
    found = [Decision(f"m{number}", act, "why") for act in (Act.CUT, Act.RESTORE) for number in range(100)]
    held = Decision("held", Act.CUT, "why", held="friendly hours")
    assert list(_chosen([held, *found], Act.CUT)) == [f"m{number}" for number in range(CUTS)]
    assert len(_chosen(found, Act.RESTORE)) == 100


def test_a_refusal_does_not_use_the_id_of_the_order() -> None:
    """The order was not given: the next attempt has its id, and the ledger keeps what it heard first."""
    seen: Any = SimpleNamespace(accounts={METER: Account(standing(), house())})
    batch = _Batch(ANY, ANY, ANY, Act.CUT, {METER: Decision(METER, Act.CUT, "why")}, seen, ANY)
    ordered = batch._orders[METER].command_id
    assert batch._command(house()).command_id == ordered
    meters: list[Known] = [house(online=False), house(Position.OPEN)]
    refused = {batch._command(meter).command_id for meter in meters}
    assert len(refused | {ordered}) == 3


@pytest.mark.parametrize(("operations", "does"), [(8, True), (7, False), (9, False)])
def test_a_relay_that_does_not_name_our_cut_is_restored_if_it_made_no_other_move(
    operations: int, does: bool
) -> None:
    """A device behind an adapter that moved late, or a relay that the bridge has told again."""
    paid = standing(state=State.CUT, cut_at=NOW - HOUR, balance=9999)
    meter = house(Position.OPEN, operations=operations)
    (decision,) = decide(
        [Account(paid, meter, (order(outcome="done"),))], now=NOW, rules=RULES, recent_cuts=()
    )
    assert (decision.act, decision.do) == (Act.RESTORE, does)
    named = house(Position.OPEN, operations=operations, command_id="c9")
    account = Account(paid, named, (order(outcome="done"),))
    (decision,) = decide([account], now=NOW, rules=RULES, recent_cuts=())
    assert not decision.do, "others have switched"


def test_power_does_not_come_back_while_the_account_is_exhausted() -> None:
    credit = parse(FILE, source="x")
    assert _rules(credit, lambda _at: False).restore_at == 1, "without an emergency credit 0 is exhausted"
    more = replace(credit, file=parse(f"emergency = 1\n{FILE}", source="x").file)
    assert _rules(more, lambda _at: False).restore_at == 0


async def test_it_goes_on_after_what_nobody_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = database.connect("sqlite:///:memory:")
    service, stop = Service(engine, engine, MqttSettings()), asyncio.Event()
    told: list[Exception | None] = [KeyError("x"), RuntimeError("y"), None]

    async def looks(_stop: asyncio.Event) -> bool:
        if (error := told.pop(0)) is not None:
            raise error
        stop.set()
        return False

    monkeypatch.setattr(service, "round", looks)
    async with asyncio.timeout(10):
        await service.serve(seconds=0.01, stop=stop)
    assert told == []
    engine.dispose()
