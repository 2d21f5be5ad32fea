"""Where the library's file is not one that we have tested, everything is the same, only slower.

The whole of the MMS tests in this state: ``make mms``, or pytest with ``--wait-hook off``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration import (
    test_mms_births,
    test_mms_control,
    test_mms_model,
    test_mms_observe,
    test_mms_reports,
)
from tests.support.brokers import Broker
from tests.support.cli import KEPT


@pytest.fixture(autouse=True)
def _off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEPT, "false")


async def test_the_bridge_says_that_it_is_off(broker: Broker) -> None:
    await test_mms_observe.test_metrics_count_and_health_follows_the_broker_and_the_readings(broker)


async def test_the_model_is_the_cid(broker: Broker, tmp_path: Path) -> None:
    await test_mms_model.test_discovered_model_is_the_cid(broker, tmp_path, "sbo-with-enhanced-security")


async def test_changes_are_reported(broker: Broker) -> None:
    await test_mms_reports.test_a_changed_reading_is_one_report(broker)


async def test_a_clients_own_data_set_is_reported(broker: Broker) -> None:
    await test_mms_reports.test_a_clients_data_set_is_reported_though_no_configured_one_has_its_member(broker)


async def test_a_birth_drops_nobody(broker: Broker) -> None:
    await test_mms_births.test_an_old_generation_is_fed_until_its_last_association_ends(broker)


async def test_a_meter_is_switched(broker: Broker) -> None:
    await test_mms_control.test_operate_opens_and_closes(broker, "sbo-with-enhanced-security")


async def test_a_selection_has_one_owner(broker: Broker) -> None:
    await test_mms_control.test_one_owner_at_a_time_over_all_generations(broker)
