"""Changes of blocks in the ledger: each once, with who made it, on both databases."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from sqlmodel import Session

from bridge.meters import block_ledger
from bridge.meters.blocks import Blocks
from bridge.mqtt.notice import Notice
from broker.contract.block import Block
from broker.contract.notice import MeterNotice
from broker.mqtt.packets import Publish
from tests.support.bridges import METER, OTHER, TOPICS, Client, Rig, chain, command, eventually, stamp
from tests.support.brokers import Broker
from tests.support.databases import migrated

pytest_plugins = ("tests.support.databases",)

BLOCK = TOPICS.meter(METER, "block")


def block(*, open: bool = False, close: bool = False, who: str = "desk 4", ts: str = "") -> dict[str, Any]:
    """A block's payload."""
    origin = {"category": "remote-control", "identifier": who}
    return {"open": open, "close": close, "ts": ts or stamp(), "origin": origin}


def test_each_change_is_one_record_however_often_it_is_told(broker: Broker, database_url: str) -> None:
    first, second = block(open=True), block(who="admin")
    with chain(broker, database_url) as rig:
        rig.client.publish(BLOCK, json.dumps(first), retain=True)
        eventually(lambda: len(rig.store.blocks()) == 1)
        rig.client.publish(BLOCK, json.dumps(second), retain=True)
        rig.client.publish(BLOCK, json.dumps(second), retain=True)
        rig.client.publish(TOPICS.meter(OTHER, "block"), json.dumps(block(close=True)), retain=True)
        rig.client.publish(BLOCK, "")  # says nothing
        rig.client.publish(TOPICS.meter(METER, "command"), command("c1"))
        eventually(lambda: rig.store.command("c1"))
    with chain(broker, database_url) as rig:  # hears what is retained once more
        rig.client.publish(TOPICS.meter(METER, "command"), command("c2"))
        eventually(lambda: rig.store.command("c2"))
        rows = [
            (row.block_open, row.block_close, row.origin_category, row.origin_identifier, row.reason)
            for row in rig.store.blocks(METER)
        ]
        assert rows == [
            (False, False, "remote-control", "admin", ""),
            (True, False, "remote-control", "desk 4", ""),
        ]
        assert len(rig.store.blocks()) == 3
        assert rig.store.dead_letters() == []


def test_a_refused_change_is_a_record_too(broker: Broker, database_url: str) -> None:
    wanted = block(open=True)
    refusal = {"meter_id": METER, "block": wanted, "reason": "operate: the broker is away", "ts": stamp()}
    with chain(broker, database_url) as rig:
        for _ in range(2):
            rig.client.publish(TOPICS.refused("mms"), json.dumps(refusal))
        eventually(lambda: len(rig.store.blocks()) == 1)
        (row,) = rig.store.blocks()
        assert (row.block_open, row.reason) == (True, "operate: the broker is away")
        rig.client.publish(BLOCK, json.dumps(wanted), retain=True)  # and then it was set after all
        eventually(lambda: [row.reason for row in rig.store.blocks()] == ["", "operate: the broker is away"])


def test_a_block_of_a_clock_that_is_ahead_is_recorded(broker: Broker, database_url: str) -> None:
    """Its time is for its order: who changes it next takes a later one."""
    with chain(broker, database_url) as rig:
        rig.client.publish(BLOCK, json.dumps(block(open=True, ts=stamp(hours=1))), retain=True)
        eventually(lambda: len(rig.store.blocks()) == 1)
        assert rig.store.dead_letters() == []


def lost_by(broker: Broker) -> None:
    """The broker is killed, and comes back without its file, as one that never wrote it."""
    broker.kill()
    for file in broker.config.parent.rglob("*.db"):
        file.unlink()
    broker.start()


def kept(broker: Broker, meter_id: str = METER) -> dict[str, Any]:
    """What a broker keeps on the meter's topic."""
    echo = TOPICS.meter(OTHER, "stored")
    with Client(broker) as fresh:
        fresh.publish(echo, "{}")  # the broker sends it behind all that is retained
        eventually(lambda: echo in fresh.latest)
        payload = fresh.latest.get(TOPICS.meter(meter_id, "block"))
    with suppress(ValueError):
        told: dict[str, Any] = json.loads(payload or b"{}")
        return told
    return {}


def notices(rig: Rig) -> list[MeterNotice]:
    """What the bridge said to the meter."""
    topic = TOPICS.meter(METER, "notice")
    return [MeterNotice.model_validate_json(told) for name, told in rig.client.all if name == topic]


def test_a_block_in_the_ledger_survives_broker_and_bridge(broker: Broker, database_url: str) -> None:
    """The broker writes its state every five minutes; the meter is offline."""
    wanted = Block.model_validate(block(open=True))
    with chain(broker, database_url) as rig:
        rig.client.publish(BLOCK, wanted.payload(), retain=True)
        eventually(lambda: [told.block_ts for told in notices(rig)] == [wanted.ts])
        rig.bridge.kill()
    lost_by(broker)
    with chain(broker, database_url):
        eventually(lambda: kept(broker).get("open") is True, what="the bridge tells it again")


def test_the_broker_is_told_again_whenever_it_has_less(broker: Broker, database_url: str) -> None:
    older, newer = block(open=True, ts=stamp(seconds=-60)), block(open=True, close=True)
    with chain(broker, database_url) as rig:
        for wanted in (older, newer):
            rig.client.publish(BLOCK, json.dumps(wanted), retain=True)
        eventually(lambda: len(rig.store.blocks()) == 2)
        for less in ("", "rubbish", json.dumps(older)):
            rig.client.publish(BLOCK, less, retain=True)
            eventually(lambda: kept(broker).get("close") is True, what=f"told again after {less!r}")
        lost_by(broker)
        eventually(lambda: kept(broker).get("close") is True, what="the same bridge, an empty broker")
        with Client(broker) as later:
            later.publish(BLOCK, json.dumps(block()), retain=True)
        eventually(lambda: len(rig.store.blocks()) == 3)
        assert kept(broker)["open"] is False, "what is newer than the ledger stays"


def test_a_bridge_that_was_away_does_not_undo_what_is_newer(broker: Broker, database_url: str) -> None:
    with chain(broker, database_url) as rig:
        rig.client.publish(BLOCK, json.dumps(block(ts=stamp(seconds=-60))), retain=True)
        eventually(lambda: len(rig.store.blocks()) == 1)
        rig.bridge.kill()
        rig.client.publish(BLOCK, json.dumps(block(open=True)), retain=True)
        rig.bridge.start()
        eventually(lambda: len(rig.store.blocks()) == 2)
        rig.client.publish(TOPICS.meter(METER, "command"), command("c1"))
        eventually(lambda: rig.store.command("c1"))
        told = [json.loads(payload)["open"] for topic, payload in rig.client.all if topic == BLOCK]
        assert told == [False, True], "nothing came between"


def test_what_a_newer_issuer_blocks_is_recorded_and_kept(broker: Broker, database_url: str) -> None:
    origin = {"category": "load-management", "identifier": "x" * 70, "via": "y" * 300}
    with chain(broker, database_url) as rig:
        rig.client.publish(
            BLOCK, json.dumps({"open": True, "ts": "2150-01-01T00:00:00Z", "origin": origin}), retain=True
        )
        eventually(lambda: len(rig.store.blocks()) == 1)
        (row,) = rig.store.blocks()
        assert (row.block_open, row.block_close, row.origin_identifier) == (True, False, "x" * 64)
        eventually(lambda: kept(broker).get("ts", "2150") < "2100", what="with a time that all can read")
        rig.client.publish(BLOCK, json.dumps({"open": False, "close": False, "origin": origin}), retain=True)
        eventually(lambda: kept(broker).get("open") is True, what="what releases must be valid")
        eventually(rig.dead)
        assert len(rig.store.blocks()) == 1


def test_of_a_group_the_leader_speaks_and_knows_what_others_have_written(database_url: str) -> None:
    engine = migrated(database_url)
    told: list[tuple[str, bytes]] = []
    leads, confirmed, arrived = False, True, 0
    keeper = Blocks(
        engine,
        TOPICS,
        publish=lambda topic, payload: told.append((topic, payload)),
        confirmed=lambda: confirmed,
        leads=lambda: leads,
        taken=lambda: arrived,
    )
    theirs = Block.model_validate(block(open=True))
    with Session(engine) as session:
        notice = Notice(METER, theirs, Publish(BLOCK.encode(), b"", b"", 0))
        block_ledger.noted(session, [notice], now=1)
        session.commit()
    keeper.begin()
    arrived = 3
    keeper.ready()
    keeper.passed(3)
    assert told == [], "another one leads"
    assert not keeper.complete, "and has not published it yet"
    leads, confirmed = True, False
    keeper.take_over()
    keeper.look()
    assert [topic for topic, _ in told] == [BLOCK]
    assert Block.model_validate_json(told[0][1]).open
    assert not keeper.complete, "it is under way"
    confirmed = True
    assert keeper.complete
    keeper.take([], [(METER, None)])
    assert len(told) == 2, "somebody has cleared the topic"
    keeper.begin()
    keeper.passed(0)
    arrived = 5
    keeper.ready()
    assert len(told) == 2, "what is retained has not been through the database yet"
    assert not keeper.complete
    origin = theirs.origin.model_copy(update={"via": "cli desk4"})
    keeper.take([], [(METER, theirs.model_copy(update={"origin": origin}))])
    keeper.passed(2)
    assert len(told) == 2, "the broker has it, with more than the ledger keeps"
    assert keeper.complete
    engine.dispose()
