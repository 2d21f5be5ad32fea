"""The MMS bridge's metrics and health, as Prometheus and a supervisor see them."""

from __future__ import annotations

import os
import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.support.brokers import Broker, free_port
from tests.support.cli import KEPT
from tests.support.mms import eventually, scene


def fetched(port: int, path: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics(port: int) -> dict[str, float]:
    """Every sample; labels stand behind the name."""
    _, text = fetched(port, "/metrics")
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_metrics_count_and_health_follows_the_broker_and_the_readings(broker: Broker) -> None:
    port = free_port()
    async with scene(broker, metrics_port=port) as running:
        meter = await running.add_meter(1, interval=0.3)
        await running.publish_cid()
        with await running.associate():
            await meter.read(voltage=230.0)
            await eventually(lambda: metrics(port)["meter61850_mms_updates_total"] >= 1)
            told = metrics(port)
            assert told["meter61850_mms_associations[SMGW001]"] == 1
            assert (told["meter61850_mms_meters"], told["meter61850_mms_meters_online"]) == (1, 1)
            assert told["meter61850_mms_wait_hook"] == (os.environ.get(KEPT) != "false")
            assert fetched(port, "/nothing")[0] == 404
            await eventually(lambda: fetched(port, "/healthz") == (503, _silent()))
            await meter.reads_until(lambda: fetched(port, "/healthz")[0] == 200, voltage=231.0)
            broker.kill()
            await eventually(lambda: fetched(port, "/healthz") == (503, "no connection to the broker\n"))


def _silent() -> str:
    return "no reading flows: every meter's values are stale\n"
