"""With a build of libiec61850 whose structures we do not know, everything is the same, only slower."""

from __future__ import annotations

from pathlib import Path

import pytest

from mms_bridge.libiec61850 import shared_types, short_texts, stencil, value_writer
from tests.integration import test_mms_births, test_mms_model, test_mms_reports
from tests.support.brokers import Broker


@pytest.fixture(autouse=True)
def _unknown_build(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (stencil, shared_types):
        monkeypatch.setattr(module, "known_version", lambda: False)
    monkeypatch.setattr(stencil, "_stencils", {})
    monkeypatch.setattr(short_texts, "_PLACES", None)
    monkeypatch.setattr(value_writer, "FLOAT_AT", None)


async def test_the_model_is_the_cid(broker: Broker, tmp_path: Path) -> None:
    await test_mms_model.test_discovered_model_is_the_cid(broker, tmp_path, "sbo-with-enhanced-security")


async def test_changes_are_reported(broker: Broker) -> None:
    await test_mms_reports.test_a_changed_reading_is_one_report_within_a_second(broker)


async def test_a_clients_own_data_set_is_reported(broker: Broker) -> None:
    await test_mms_reports.test_a_clients_data_set_is_reported_though_no_configured_one_has_its_member(broker)


async def test_a_birth_drops_nobody(broker: Broker) -> None:
    await test_mms_births.test_an_old_generation_is_fed_until_its_last_association_ends(broker)
