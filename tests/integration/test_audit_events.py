"""What the bridge's writer puts into the audit: with the ledger, in one transaction, on both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from bridge.ingest.ledger import Deadlines
from bridge.store.queries import Store
from bridge.store.tables import moment
from broker.contract.messages import format_ts
from broker.mqtt.packets import DUP, RETAIN, Publish
from tests.integration.test_bridge_store import NOW, TOPICS, TS, Rig, birth, message, meter_id, reading
from tests.support.databases import migrated

pytest_plugins = ("tests.support.databases",)

WHO = "remote-control desk 4"
COMMAND = f"{TOPICS.prefix}/{meter_id(1)}/command"
RESULT = f"{TOPICS.prefix}/{meter_id(1)}/result"


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    engine = migrated(database_url)
    with Store.open(database_url) as store:
        yield Rig(engine, store)
    engine.dispose()


def order(command_id: str, *, via: str | None = None) -> dict[str, Any]:
    origin = {"category": "remote-control", "identifier": "desk 4"} | ({"via": via} if via else {})
    times = {"issued_at": TS, "expires_at": format_ts(moment(NOW + 5000))}
    return {"command_id": command_id, "position": "open", "origin": origin, **times}


def command(command_id: str, *, via: str | None = None, flags: int = 0) -> Publish:
    return message(1, "command", order(command_id, via=via), flags=flags)


def result(command_id: str, outcome: str, reason: str = "") -> Publish:
    fields = {"command_id": command_id, "outcome": outcome, "reason": reason, "ts": TS}
    return message(1, "result", fields)


def refused(command_id: str, reason: str) -> Publish:
    fields = {"meter_id": meter_id(1), "command": order(command_id, via="mms 192.0.2.7"), "reason": reason}
    return Publish(TOPICS.refused("mms").encode(), json.dumps(fields | {"ts": TS}).encode(), b"", 0)


def told(rig: Rig) -> list[tuple[str, str, str, str]]:
    """event, who, origin, outcome of every row; the chain is whole."""
    rows = list(rig.store.verified_audit(()))
    assert all(row.meter_id == meter_id(1) for row in rows)
    return [(row.event, row.who, row.origin, row.outcome) for row in rows]


def details(rig: Rig) -> list[dict[str, Any]]:
    return [json.loads(row.detail) for row in rig.store.audit()]


def test_a_command_is_issued_and_ended(rig: Rig) -> None:
    rig.take(command("c1", via="cli desk4"))
    assert told(rig) == [("command-issued", WHO, "cli desk4", "")]
    rig.take(result("c1", "refused", "blocked"), now=NOW + 100)
    assert told(rig)[1:] == [("command-ended", WHO, RESULT, "refused")]
    issued = {"issued_at": NOW, "expires_at": NOW + 5000}
    assert details(rig) == [
        {"command_id": "c1", "position": "open", **issued},
        {"command_id": "c1", "position": "open", "reason": "blocked"},
    ]
    assert [row.ts for row in rig.store.audit()] == [NOW, NOW + 100]


def test_both_in_one_batch_and_nothing_twice(rig: Rig) -> None:
    rig.take(command("c1"), result("c1", "done"), result("c1", "refused", "repeated"), result("c1", "done"))
    rig.take(result("c1", "done"), command("c1", flags=DUP))
    expected = [("command-issued", WHO, COMMAND, ""), ("command-ended", WHO, RESULT, "done")]
    assert told(rig) == expected
    rig.take(command("c1"))
    assert told(rig) == [*expected, ("command-repeated", WHO, COMMAND, "")]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ((command("c1", flags=RETAIN),), [("command-issued", WHO, ""), ("command-ended", WHO, "refused")]),
        ((result("c1", "done"),), [("command-ended", "", "done")]),
        ((message(1, "command", order("c1") | {"position": "half"}),), [("command-ended", "", "refused")]),
        (
            (refused("c1", "offline"), result("c1", "done")),
            [("command-issued", WHO, ""), ("command-ended", WHO, "refused"), ("command-ended", WHO, "done")],
        ),
    ],
    ids=["retained", "result alone", "malformed", "service lost the broker"],
)
def test_what_goes_wrong_is_recorded_too(
    rig: Rig, messages: tuple[Publish, ...], expected: list[tuple[str, str, str]]
) -> None:
    rig.take(*messages)
    assert [(event, who, outcome) for event, who, _, outcome in told(rig)] == expected


def test_a_refusal_tells_from_where(rig: Rig) -> None:
    rig.take(refused("c1", "offline"))
    assert [origin for _, _, origin, _ in told(rig)] == ["mms 192.0.2.7", TOPICS.refused("mms")]


def test_a_command_id_of_another_meter_hides_no_command(rig: Rig) -> None:
    """The second meter has never had that id and obeys; the ledger has one row for each id."""
    rig.take(message(2, "command", order("c1")))
    rig.take(command("c1"), result("c1", "done"))
    rows = [row for row in rig.store.verified_audit(()) if row.meter_id == meter_id(1)]
    assert [(row.event, row.origin, row.outcome) for row in rows] == [
        ("command-issued", COMMAND, ""),
        ("command-ended", RESULT, "done"),
    ]
    assert all("belongs to another meter" in row.detail for row in rows)


def test_a_time_out_and_a_late_answer(rig: Rig) -> None:
    rig.take(command("c1"))
    Deadlines(rig.engine, grace=0).enforce()
    Deadlines(rig.engine, grace=0).enforce()
    rig.take(result("c1", "done"))
    assert [(event, origin, outcome) for event, _, origin, outcome in told(rig)] == [
        ("command-issued", COMMAND, ""),
        ("command-ended", "bridge", "timed out"),
        ("command-ended", RESULT, "done"),
    ]
    assert details(rig)[-1]["late"] is True


def test_a_change_of_a_block(rig: Rig) -> None:
    block = {"open": True, "close": False, "ts": TS, "origin": order("x", via="cli desk4")["origin"]}
    rig.take(message(1, "block", block), message(1, "block", block))
    refusal = {"meter_id": meter_id(1), "block": block, "reason": "the broker is away", "ts": TS}
    rig.take(Publish(TOPICS.refused("mms").encode(), json.dumps(refusal).encode(), b"", 0))
    assert told(rig) == [
        ("relay-block", WHO, "cli desk4", "set"),
        ("relay-block", WHO, "cli desk4", "refused"),
    ]
    assert details(rig)[0] == {"blocked": "opening", "ts": NOW}


def test_a_meter_that_leaves_and_returns(rig: Rig) -> None:
    rig.take(birth(1))
    assert told(rig) == []
    rig.take(message(1, "birth", b""))
    rig.take(message(1, "birth", b""))
    rig.take(birth(1, name="Mill"))
    assert [event for event, *_ in told(rig)] == ["meter-retired", "meter-returned"]
    assert [row.identity for row in rig.store.audit()] == ["serial-1"] * 2


def test_readings_are_none_of_its_business(rig: Rig) -> None:
    rig.take(birth(1), *(reading(1, seq) for seq in range(1, 100)))
    assert told(rig) == []


def test_without_the_audit_there_is_no_ledger_and_no_reading(rig: Rig) -> None:
    """One transaction: what cannot be recorded has not happened for the store either."""
    rename = "ALTER TABLE audit RENAME TO gone"
    with rig.engine.begin() as connection:
        connection.execute(text(rename))
    with pytest.raises(Exception, match="audit"):
        rig.take(command("c1"), reading(1, 1))
    with rig.engine.begin() as connection:
        connection.execute(text("ALTER TABLE gone RENAME TO audit"))
    assert rig.store.commands() == []
    rig.take(command("c1"), reading(1, 1))
    assert len(told(rig)) == 1


def test_queries(rig: Rig) -> None:
    rig.take(command("c1"), now=NOW)
    rig.take(command("c2"), result("c1", "done"), now=NOW + 1000)
    rig.take(birth(1), now=NOW + 2000)
    rig.take(message(1, "birth", b""), now=NOW + 3000)

    def numbers(**query: Any) -> list[int]:
        return [row.no for row in rig.store.audit(**query)]

    assert numbers() == [1, 2, 3, 4]
    assert numbers(last=2) == [3, 4]
    assert numbers(since=moment(NOW + 1000), until=moment(NOW + 3000)) == [2, 3]
    assert numbers(event="command-ended") == [3]
    assert numbers(who="desk") == [1, 2, 3]
    assert numbers(who="d_sk") == []
    assert numbers(subject="serial") == [4]
    assert numbers(subject=meter_id(1), last=1) == [4]
    assert numbers(subject=meter_id(2)) == []
