"""Changes of blocks in the ledger: each once, with who made it, on both databases."""

from __future__ import annotations

import json
from typing import Any

from tests.bridges import METER, OTHER, TOPICS, chain, command, eventually, stamp
from tests.brokers import Broker

pytest_plugins = ("tests.databases",)

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
