"""An SCD that is too large to be sent as it is reaches everybody who reads it as the XML that it was."""

from __future__ import annotations

from pathlib import Path

import aiomqtt

from broker.contract.compressed import PLAIN_BYTES, packed
from broker.contract.topics import Topics
from tests.support.brokers import Broker
from tests.support.cli import run
from web.live.hub import Hub
from web.live.state import Live

TOPICS = Topics("sm/v1")
SCD = b"<SCL>" + b"<!-- a meter -->" * 50_000 + b"</SCL>\n"


async def test_exported_as_it_was(broker: Broker, tmp_path: Path) -> None:
    assert len(SCD) > PLAIN_BYTES > len(packed(SCD))
    async with aiomqtt.Client(broker.host, broker.port) as bridge:
        await bridge.publish(TOPICS.scd, packed(SCD), qos=1, retain=True)
    mqtt = ("--mqtt", f"{broker.host}:{broker.port}")
    run("scl", "export", *mqtt, "--output", "town.scd", folder=tmp_path)
    assert (tmp_path / "town.scd").read_bytes() == SCD


def test_page_has_it_as_it_was() -> None:
    live = Live(TOPICS, Hub(), stale_intervals=3)
    live.take(TOPICS.scd, packed(SCD), retained=True)
    assert live.scd == SCD
    live.take(TOPICS.scd, packed(SCD)[:-1], retained=False)
    assert (live.scd, live.counters["rejected"]) == (SCD, 1)
