"""The Grafana dashboard asks for metrics that the services really serve."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from tests.integration.test_mms_observe import metrics
from tests.support.bridges import BIRTH, READING, birth, chain, eventually, reading
from tests.support.brokers import Broker, free_port
from tests.support.mms import scene

pytest_plugins = ("tests.support.databases",)

MONITORING = Path(__file__).parents[2] / "docs" / "monitoring"
ON_EVENT = {"meter61850_ledger_commands", "meter61850_mms_commands_total"}
"""These have one sample for each outcome that there was, so none before the first command."""


def asked() -> set[str]:
    """Names of the metrics in the dashboard's expressions."""
    dashboard = json.loads((MONITORING / "grafana.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return {name for expression in expressions for name in re.findall(r"meter61850_\w+", expression)}


async def test_every_metric_of_the_dashboard_is_served(broker: Broker, sqlite_url: str) -> None:
    ports = free_port(), free_port()
    with chain(broker, sqlite_url, metrics_port=ports[0]) as rig:
        rig.client.publish(BIRTH, birth())
        rig.client.publish(READING, reading(1))
        eventually(lambda: rig.stored(1))
        async with scene(broker, metrics_port=ports[1]) as running:
            await running.add_meter(1)
            await running.publish_cid()
            (await running.associate()).close()
            served = {name.partition("[")[0] for port in ports for name in metrics(port)}
    assert asked() - ON_EVENT <= served
    assert len(asked()) > 15


def test_prometheus_scrapes_what_the_services_serve() -> None:
    (job,) = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:9850", "127.0.0.1:9851", "127.0.0.1:9852"]}]
