"""Attacks with commands on a running deployment: replayed, forged, retained, expired. No relay moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.contract.block import Block
from broker.contract.messages import utc_now
from broker.contract.relay import Position
from broker.contract.result import Outcome
from tests.support.attackers import Desk, client, listening, order, rows
from tests.support.chain import until
from tests.support.houses import TOPICS, Street, street


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    with street(tmp_path_factory.mktemp("street")) as running:
        yield running


def ledger(houses: Street, command_id: str) -> list[tuple[str, str, int]]:
    """What the bridge has written of a command: outcome, reason, repeats."""
    query = "SELECT outcome, reason, repeats FROM command WHERE command_id = ?"
    return rows(houses, query, command_id)


async def moved(desk: Desk, meter: str) -> str:
    """A good command that moves the relay; its id."""
    position = desk.houses.state().houses[meter].relay.position
    command = order(Position.CLOSED if position is Position.OPEN else Position.OPEN)
    assert (await desk.obeyed(meter, command)).outcome is Outcome.DONE
    return command.command_id


async def restarted(desk: Desk) -> None:
    """The late meter runs again and is online."""
    before, houses = len(desk.heard), desk.houses
    houses.programs["late"].start()
    await desk.online(houses.late, before=before)


async def test_a_good_command_is_seen_by_every_check(houses: Street) -> None:
    """The control of all others: what they compare does change when a relay moves."""
    before = houses.state().houses[houses.late]
    async with listening(houses) as desk:
        command_id = await moved(desk, houses.late)
    after = houses.state().houses[houses.late]
    assert after.contact != before.contact
    assert after.relay.operations == before.relay.operations + 1
    assert after.relay.command_id == command_id
    until(lambda: ledger(houses, command_id) == [("done", "", 0)], why="in the ledger")


@pytest.mark.parametrize("sender", ["otto", "mms", "admin"])
async def test_a_replayed_command_moves_nothing(sender: str, houses: Street) -> None:
    async with listening(houses) as desk:
        command_id = await moved(desk, houses.late)
        with houses.unharmed():
            for count, position in enumerate(Position, 1):
                await desk.send(sender, houses.late, order(position, command_id=command_id))
                answer = await desk.refused(command_id, count=count)
                assert answer.reason.startswith("repeated:")
            until(lambda: ledger(houses, command_id) == [("done", "", 2)], why="repeats counted")


async def test_an_old_command_after_a_restart_moves_nothing(houses: Street) -> None:
    late = houses.programs["late"]
    async with listening(houses) as desk:
        command_id = await moved(desk, houses.late)
        with houses.unharmed():
            late.kill()
            before = len(desk.heard)
            await restarted(desk)
            told = await desk.result(command_id, before=before)  # once more: a killed broker forgets
            assert told.outcome is Outcome.DONE
            await desk.send("otto", houses.late, order(Position.CLOSED, command_id=command_id))
            answer = await desk.refused(command_id)
            assert answer.reason.startswith("repeated:")


@pytest.mark.parametrize("sender", ["anna", "thief", "far", "bridge", "registrar"])
async def test_who_may_not_command_is_not_heard(sender: str, houses: Street) -> None:
    name = houses.thief if sender == "thief" else sender
    async with listening(houses) as desk:
        with houses.unharmed():
            command = order()
            now = utc_now()
            block = Block(open=True, close=True, ts=now, origin=command.origin).payload()
            for meter in houses.ids:
                await desk.send(name, meter, command)
                await desk.send(name, meter, command, retain=True)
                if sender != "bridge":  # it tells again what is blocked, as the ledger has it
                    await desk.send(name, meter, block, kind="block", retain=True)
                await desk.unheard(command.command_id, meter)
                assert not desk.told(TOPICS.meter(meter, "block"), block)
            assert ledger(houses, command.command_id) == []


# fmt: off
REFUSED = {
    "expired": (order, {"issued": -60.0}, Outcome.EXPIRED, "expired"),
    "just expired": (order, {"issued": -20.1}, Outcome.EXPIRED, "expired"),
    "issued in the future": (order, {"issued": 30.0}, Outcome.REFUSED, "clock doubt"),
    "expires before it is issued": (order, {"issued": 4.5, "valid": -0.5}, Outcome.REFUSED, "malformed"),
    "valid for a day": (order, {"valid": 86_400.0}, Outcome.REFUSED, "valid for"),
}
# fmt: on


@pytest.mark.parametrize("what", REFUSED)
async def test_an_issuers_untimely_command_moves_nothing(what: str, houses: Street) -> None:
    make, options, outcome, reason = REFUSED[what]
    async with listening(houses) as desk:
        with houses.unharmed():
            for meter in houses.ids:
                command = make(**options)  # type: ignore[arg-type]
                answer = await desk.obeyed(meter, command)
                assert (answer.outcome, answer.reason[: len(reason)]) == (outcome, reason)
                kept = until(lambda: ended(houses, command.command_id), why="ended in the ledger")  # noqa: B023
                assert kept == outcome


def ended(houses: Street, command_id: str) -> str:
    """The outcome that the ledger has; empty before the answer is in it."""
    return next((str(outcome) for outcome, *_ in ledger(houses, command_id)), "")


def malformed() -> dict[str, bytes]:
    """Payloads that are no command."""
    good = order().payload()
    return {
        "empty": b"",
        "no JSON": b"open",
        "half": good[:-20],
        "not UTF-8": good.replace(b"open", b"\xff\xfe\x00\x80"),
        "another position": good.replace(b'"open"', b'"OPEN"'),
        "no expiry": good.replace(b"expires_at", b"expires"),
        "an id of 65 letters": order(command_id="x" * 64).payload().replace(b"x" * 64, b"x" * 65),
        "a list": b"[" + good + b"]",
        "nested deep": b"[" * 100_000,
        "a megabyte": good[:-1] + b',"more":"' + b"x" * 1_000_000 + b'"}',
        "a megabyte of zeros": b"\x00" * 1_000_000,
    }


@pytest.mark.parametrize("what", malformed())
async def test_what_is_no_command_moves_nothing(what: str, houses: Street) -> None:
    async with listening(houses) as desk:
        with houses.unharmed():
            for meter in houses.ids:
                payload = malformed()[what]
                before = len(desk.heard)
                await desk.send("otto", meter, payload)
                await desk.obeyed(meter, order(issued=-60.0))  # answered, so the one before was judged
                topic = TOPICS.meter(meter, "result")
                results = [m.payload for m in desk.heard[before:] if m.topic.value == topic]
                assert not any(b'"done"' in bytes(result) for result in results)
            if payload:
                topics = {TOPICS.meter(meter, "command") for meter in houses.ids}
                query = "SELECT DISTINCT topic FROM dead_letter WHERE size = ?"
                until(
                    lambda: topics <= {row[0] for row in rows(houses, query, len(payload))},
                    why="kept aside as dead letters",
                )


@pytest.mark.parametrize("topic", ["{upper}/command", "{thief}/command/", "{late}/command/x", "x/command"])
async def test_a_command_to_nobody_moves_nothing(topic: str, houses: Street) -> None:
    late, command = houses.late, order()
    where = topic.format(upper=late.upper(), thief=houses.thief, late=late)
    async with listening(houses) as desk, client(houses.site.settings("otto")) as otto:
        with houses.unharmed():
            await otto.publish(f"sm/v1/{where}", command.payload(), qos=1)
            await desk.unheard(command.command_id, late)


async def test_a_retained_command_moves_nothing(houses: Street) -> None:
    async with listening(houses) as desk:
        with houses.unharmed():
            for meter in houses.ids:
                command = order()
                await desk.send("otto", meter, command, retain=True)
                answer = await desk.result(command.command_id)
                assert (answer.outcome, answer.reason[:9]) == (Outcome.REFUSED, "retained:")
                await desk.send("otto", meter, b"", retain=True)


@pytest.mark.parametrize("retain", [True, False])
async def test_a_command_that_waits_for_a_meter_moves_nothing(retain: bool, houses: Street) -> None:
    """Retained, it is refused when the meter comes; not retained, it never arrives."""
    late, command = houses.programs["late"], order(valid=50.0)
    async with listening(houses) as desk:
        with houses.unharmed():
            late.stop()
            await desk.send("otto", houses.late, command, retain=retain)
            await restarted(desk)
            if retain:
                answer = await desk.result(command.command_id)
                assert (answer.outcome, answer.reason[:9]) == (Outcome.REFUSED, "retained:")
                await desk.send("otto", houses.late, b"", retain=True)
            else:
                await desk.unheard(command.command_id, houses.late)
