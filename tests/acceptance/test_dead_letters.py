"""Dead letters from the command line: list, show, put right and retry, purge."""

from __future__ import annotations

import json
from pathlib import Path

from paho.mqtt import publish

from tests.support.brokers import Broker
from tests.support.chain import chain, until

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


def test_list_show_retry_and_purge(broker: Broker, tmp_path: Path) -> None:
    with chain(broker, tmp_path) as running:
        store = ("--database", running.url)

        def send(kind: str, payload: str) -> None:
            topic = f"sm/v1/{METER}/{kind}"
            publish.single(topic, payload, qos=1, hostname=broker.host, port=broker.port)

        def listed() -> list[dict[str, object]]:
            found: list[dict[str, object]] = running.cli_json("dead-letters", *store)
            return found

        reading = json.dumps({"epoch": 1, "seq": 1, "ts": "yesterday", "voltage": 230})

        def both() -> list[dict[str, object]]:
            send("relay", "{")  # again until the bridge has subscribed: the same one only counts
            send("reading", reading)
            return listed() if len(running.rows("SELECT 1 FROM dead_letter")) == 2 else []

        rows = until(both, why="two dead letters")
        keys = {str(row["topic"]).rpartition("/")[2]: str(row["key"]) for row in rows}
        before = max(str(row["last_seen"]) for row in rows)

        shown = running.cli_json("dead-letters", "show", keys["reading"], *store)
        assert '"yesterday"' in shown["payload"]
        assert shown["cause"].startswith("reading: ts: Input should be a valid datetime")

        running.cli("dead-letters", "retry", "--all", *store, "--mqtt", running.mqtt)
        again = until(
            lambda: [
                row
                for row in listed()
                if str(row["topic"]).endswith("/reading") and str(row["last_seen"]) > before
            ],
            why="still bad: a dead letter again",
        )
        assert [row["cause"] for row in again] == [shown["cause"]]
        assert any(str(row["topic"]).endswith("/relay") for row in listed())  # not about readings: left alone

        running.cli("dead-letters", "show", "999", *store, code=3)
        running.cli("dead-letters", "purge", *store, code=2)
        running.cli("dead-letters", "purge", keys["relay"], *store)
        assert [str(row["topic"]).rpartition("/")[2] for row in listed()] == ["reading"]
        running.cli("dead-letters", "purge", "--older", "1d", *store)
        assert len(listed()) == 1
        running.cli("dead-letters", "purge", "--all", *store)
        assert listed() == []
