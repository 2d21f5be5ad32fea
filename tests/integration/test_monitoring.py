"""The Grafana dashboard and the alert rules ask for metrics that the services really serve."""

from __future__ import annotations

import json
import re
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import yaml

from adapters import metrics as of_adapter
from adapters.adapter import Adapter
from adapters.homeassistant import metrics as of_homeassistant
from adapters.homeassistant.service import Progress
from adapters.settings import AdapterSettings
from adapters.sparkplug import metrics as of_sparkplug
from adapters.sparkplug.service import Service
from adapters.sparkplug.settings import SparkplugSettings
from admin.doctor.beside import PROGRAMS
from broker.metrics import PREFIX
from broker.mqtt.settings import MqttSettings
from registrar.expiry import CertificateWatch
from registrar.observe import observed
from tests.integration.test_mms_observe import metrics
from tests.support.bridges import BIRTH, READING, birth, chain, eventually, reading
from tests.support.brokers import Broker, free_port
from tests.support.mms import scene

pytest_plugins = ("tests.support.databases",)

MONITORING = Path(__file__).parents[2] / "docs" / "monitoring"
ON_EVENT = {"meter61850_ledger_commands", "meter61850_mms_commands_total"}
"""These have one sample for each outcome that there was, so none before the first command."""


def of_dashboard() -> list[str]:
    """Its expressions."""
    dashboard = json.loads((MONITORING / "grafana.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def of_rules() -> list[str]:
    """Those of the alerts."""
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def asked(expressions: list[str]) -> set[str]:
    """Names of the metrics in them."""
    return {name for expression in expressions for name in re.findall(r"meter61850_\w+", expression)}


def counted_beside(folder: Path) -> set[str]:
    """Names of what adapter, Home Assistant's and Sparkplug's program count."""
    mqtt = MqttSettings()
    source = {"name": "home", "family": "tasmota"}
    adapter = Adapter(AdapterSettings.model_validate({"source": [source], "data_dir": folder, "mqtt": mqtt}))
    service = Service(SparkplugSettings(group="Village", node="office", mqtt=mqtt, target=mqtt))
    samples = [
        *of_adapter.samples(adapter),
        *of_homeassistant.samples(Progress()),
        *of_sparkplug.samples(service),
    ]
    return {PREFIX + sample.name for sample in samples}


def test_every_metric_of_the_programs_beside_the_chain_is_in_the_dashboard(tmp_path: Path) -> None:
    counted = counted_beside(tmp_path)
    assert len(counted) > 15
    assert counted <= asked(of_dashboard())


async def test_every_metric_of_dashboard_and_rules_is_served(
    broker: Broker, sqlite_url: str, tmp_path: Path
) -> None:
    ports = free_port(), free_port(), free_port()
    with chain(broker, sqlite_url, metrics_port=ports[0]) as rig, registrar(ports[2]):
        rig.client.publish(BIRTH, birth())
        rig.client.publish(READING, reading(1))
        eventually(lambda: rig.stored(1))
        async with scene(broker, metrics_port=ports[1]) as running:
            await running.add_meter(1)
            await running.publish_cid()
            (await running.associate()).close()
            served = {name.partition("[")[0] for port in ports for name in metrics(port)}
    wanted = asked(of_dashboard()), asked(of_rules())
    assert set[str]().union(*wanted) - ON_EVENT - counted_beside(tmp_path) <= served
    assert all(len(names) > 15 for names in wanted)


def registrar(port: int) -> AbstractContextManager[None]:
    """Its metrics, without the registrar."""
    watch = cast("CertificateWatch", SimpleNamespace(ends={"ca": 2e9}, endings=[]))
    return observed(watch, counters=dict, connected=lambda: True, port=port, address="127.0.0.1")


def test_prometheus_scrapes_what_the_services_serve() -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    assert [(MONITORING / name).is_file() for name in config["rule_files"]] == [True]
    job, beside = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:9850", "127.0.0.1:9851", "127.0.0.1:9852"]}]
    targets = [f"127.0.0.1:{program.port}" for program in PROGRAMS]
    assert beside["static_configs"] == [{"targets": targets}]
