"""A command that a meter obeyed is in the ledger, whoever was away: the meter keeps its result until then."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.store.audit import Kind
from broker.contract.commands import NOT_MOVED
from broker.contract.notice import MeterNotice
from broker.mqtt.settings import MqttSettings
from meter_firmware import simulate
from meter_firmware.relay import results
from meter_firmware.settings import OutboxSettings, SimulateSettings
from tests.support.bridges import (
    BIRTH,
    METER,
    TOPICS,
    Client,
    Rig,
    birth,
    chain,
    command,
    eventually,
    result,
    stamp,
)
from tests.support.brokers import Broker

pytest_plugins = ("tests.support.databases",)


@contextmanager
def meter(broker: Broker, folder: Path) -> Iterator[str]:
    """A real meter, simulated hardware; its id."""
    settings = SimulateSettings(
        n=1,
        interval=0.2,
        data_dir=folder / "meters",
        outbox=OutboxSettings(resend_after=0.5),
        # No short keepalive: after a standstill the meter would refuse on a new connection until the
        # bridge, which may be away, has vouched for the blocks.
        mqtt=MqttSettings(port=broker.port),
    )
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(simulate.run(settings, stop=stop),))
    thread.start()
    try:
        yield simulate.meter_ids(settings)[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def recorded(folder: Path, command_id: str) -> bool:
    """Whether the meter, which has ended, knows that the bridge has the result."""
    (file,) = folder.glob("meters/*/meter.sqlite")
    with closing(sqlite3.connect(file)) as connection:
        query = "SELECT answered FROM command WHERE command_id = ?"
        return bool(connection.execute(query, (command_id,)).fetchone()[0] == 2)


def obey(broker: Broker, meter_id: str, command_id: str, **others: Any) -> None:
    """Have the meter obey a command, and hear that it has."""
    with Client(broker) as issuer:
        eventually(lambda: issuer.latest.get(TOPICS.meter(meter_id, "reading")), what="the meter is there")
        issuer.publish(TOPICS.meter(meter_id, "command"), command(command_id, **others))
        told = TOPICS.meter(meter_id, "result")

        def answer() -> dict[str, Any] | None:
            """To this command: those before it may be told again."""
            heard = [json.loads(payload) for topic, payload in list(issuer.all) if topic == told]
            return next((one for one in heard if one["command_id"] == command_id), None)

        eventually(answer, what="it has answered")
        found = answer()
        assert found is not None
        assert found["outcome"] == "done", found


def vouched(rig: Rig, meter_id: str) -> bool:
    """Whether the meter has heard that the broker has all blocks: then it obeys without the bridge."""
    return b'"blocks":true' in rig.client.latest.get(TOPICS.meter(meter_id, "stored"), b"")


def row_of(rig: Rig, command_id: str) -> tuple[str, str, str, bool]:
    """Outcome, position, issuer, and whether the times are there."""
    row = rig.store.command(command_id)
    assert row is not None
    return row.outcome, row.position, row.origin_identifier, bool(row.issued_at and row.expires_at)


def audited(rig: Rig, command_id: str) -> list[str]:
    """What the audit has of the command."""
    rows = [row for row in rig.store.audit() if json.loads(row.detail).get("command_id") == command_id]
    return [row.event for row in rows]


WHOLE = ("done", "open", "operator", True)


def test_a_result_survives_a_broker_that_forgets_it_with_its_command(
    broker: Broker, database_url: str, tmp_path: Path
) -> None:
    with chain(broker, database_url) as rig, meter(broker, tmp_path) as meter_id:
        eventually(lambda: vouched(rig, meter_id), what="this bridge confirms")
        rig.bridge.kill()
        obey(broker, meter_id, "c1")
        broker.kill()
        for file in broker.config.parent.rglob("*.db"):
            file.unlink()
        broker.start()
        rig.bridge.start()
        eventually(lambda: rig.store.command("c1"), what="the meter tells it again", seconds=60)
        assert row_of(rig, "c1") == WHOLE
        assert audited(rig, "c1") == [Kind.COMMAND_ISSUED, Kind.COMMAND_ENDED]


def test_a_result_comes_again_over_the_same_connection(
    broker: Broker, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bridge's queue at the broker is gone: too many messages went by while it was away."""
    monkeypatch.setattr(results, "FIRST_WAIT", 0.5)
    with chain(broker, database_url) as rig, meter(broker, tmp_path) as meter_id:
        eventually(lambda: vouched(rig, meter_id))
        rig.bridge.kill()
        obey(broker, meter_id, "c1")
        rig.bridge.settings = rig.bridge.settings.model_copy(update={"client_id": "another"})
        rig.bridge.start()
        eventually(lambda: rig.store.command("c1"), what="the meter tells it again", seconds=60)
        assert row_of(rig, "c1") == WHOLE
        obey(broker, meter_id, "c2", position="closed")
        eventually(lambda: rig.store.command("c2"))
        obey(broker, meter_id, "c3")  # by now the meter has heard what was said of the first
    assert recorded(tmp_path, "c1")


def test_a_notice_names_the_result_that_is_recorded(broker: Broker, database_url: str) -> None:
    back = TOPICS.meter(METER, "result")
    with chain(broker, database_url) as rig:
        rig.client.publish(TOPICS.meter(METER, "command"), command("c1"))
        for outcome in ("refused", "done", "done"):
            rig.client.publish(back, result("c1", outcome, "repeated" if outcome == "refused" else ""))
        for command_id, ts in (("none", "1970-01-01T00:00:00Z"), ("c2", stamp(days=1))):
            rig.client.publish(back, json.dumps({"command_id": command_id, "outcome": "done", "ts": ts}))

        def told() -> list[tuple[str, str | None, str]]:
            topic = TOPICS.meter(METER, "notice")
            heard = [MeterNotice.model_validate_json(text) for name, text in rig.client.all if name == topic]
            return [(notice.code, notice.command_id, notice.reason) for notice in heard]

        expected = [("recorded", "c1", outcome) for outcome in ("refused", "done", "done")]
        expected += [("recorded", command_id, "done") for command_id in ("none", "c2")]
        eventually(lambda: told() == expected, what="each, whatever the meter's clock says")
        row = rig.store.command("c1")
        assert row is not None
        assert (row.outcome, row.reason) == ("done", "told as refused before: repeated")


def test_nobody_hides_switching_behind_a_name_that_is_no_text(broker: Broker, database_url: str) -> None:
    origin = {"category": "remote-control", "identifier": "\n\0\0\5", "via": "mms\0"}
    block = {"open": True, "close": False, "ts": stamp(), "origin": origin}
    with chain(broker, database_url) as rig:
        rig.client.publish(TOPICS.meter(METER, "command"), command("c1", origin=origin))
        rig.client.publish(TOPICS.meter(METER, "result"), result("c1", "done"))
        rig.client.publish(TOPICS.meter(METER, "command"), command("c2", position="half", origin=origin))
        rig.client.publish(TOPICS.meter(METER, "result"), result("c2", "done"))
        rig.client.publish(TOPICS.meter(METER, "block"), json.dumps(block), retain=True)
        eventually(lambda: len(rig.store.blocks()) == 1)
        assert row_of(rig, "c1") == ("done", "open", "0x0A000005", True)
        assert row_of(rig, "c2")[0] == "done", "whatever the bridge thought of the command"
        assert rig.store.blocks()[0].origin_identifier == "0x0A000005"
        assert audited(rig, "c1") == [Kind.COMMAND_ISSUED, Kind.COMMAND_ENDED]


def test_a_done_ends_the_entry_whatever_else_the_result_says(broker: Broker, database_url: str) -> None:
    odd = [{"reason": "x" * 300}, {"reason": 7}, {"cause": {"code": 1}}, {"ts": "1970-01-01T00:00:00Z"}]
    with chain(broker, database_url) as rig:
        for number, told in enumerate(odd):
            rig.client.publish(TOPICS.meter(METER, "command"), command(f"c{number}"))
            answer = json.loads(result(f"c{number}", "done")) | told
            rig.client.publish(TOPICS.meter(METER, "result"), json.dumps(answer))
        ids = [f"c{number}" for number in range(len(odd))]
        eventually(lambda: all(rig.store.command(name) for name in ids))
        eventually(lambda: {row_of(rig, name)[0] for name in ids} == {"done"})
        assert rig.store.dead_letters() == []
        row = rig.store.command("c0")
        assert row is not None
        assert row.reason == "x" * 255


def relay(position: str, *, operations: int = 0, command_id: str | None = None) -> str:
    """What the relay tells."""
    told = {"position": position, "operations": operations, "ts": stamp(), "command_id": command_id}
    return json.dumps(told)


def test_done_without_a_move_is_no_more_done_in_the_ledger_than_for_its_issuer(
    broker: Broker, database_url: str
) -> None:
    """MMS, HTTP and CLI say that it has timed out (`broker.contract.commands.became`)."""
    with chain(broker, database_url) as rig:
        rig.client.publish(BIRTH, birth(), retain=True)
        rig.client.publish(TOPICS.meter(METER, "relay"), relay("closed"), retain=True)
        eventually(lambda: (row := rig.meter()) and row.relay == "closed")

        def outcome(command_id: str) -> tuple[str, str]:
            row = rig.store.command(command_id)
            return (row.outcome, row.reason) if row else ("", "")

        for command_id, moves in (("moved", True), ("unmoved", False)):
            expires_at = stamp(seconds=50 if moves else 5)
            rig.client.publish(TOPICS.meter(METER, "command"), command(command_id, expires_at=expires_at))
            if moves:
                told = relay("open", operations=1, command_id=command_id)
                rig.client.publish(TOPICS.meter(METER, "relay"), told, retain=True)
            rig.client.publish(TOPICS.meter(METER, "result"), result(command_id, "done"))
            if moves:  # somebody has switched it back: that this one moved it is known
                told = relay("closed", operations=2, command_id="another")
                rig.client.publish(TOPICS.meter(METER, "relay"), told, retain=True)
        eventually(lambda: outcome("unmoved") == ("timed out", NOT_MOVED), seconds=60)
        rig.client.publish(TOPICS.meter(METER, "result"), result("unmoved", "done"))  # told again
        rig.client.publish(TOPICS.meter(METER, "command"), command("last"))
        eventually(lambda: rig.store.command("last"))
        assert outcome("unmoved") == ("timed out", NOT_MOVED)
        assert outcome("moved") == ("done", "")
        told = relay("open", operations=3, command_id="unmoved")
        rig.client.publish(TOPICS.meter(METER, "relay"), told, retain=True)
        eventually(lambda: outcome("unmoved") == ("done", f"told as timed out before: {NOT_MOVED}"))
        ended = [Kind.COMMAND_ENDED] * 3
        assert audited(rig, "unmoved") == [Kind.COMMAND_ISSUED, *ended]
