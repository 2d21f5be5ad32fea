"""Time quality over MMS: the gateway's own points follow the clock of its host."""

from __future__ import annotations

import pytest

from broker import host_clock
from tests.integration.test_mms_values import gateway
from tests.support.brokers import Broker
from tests.support.mms import eventually, scene


async def test_an_unsynchronized_host_is_told_and_so_is_its_return(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [False]
    monkeypatch.setattr(host_clock, "clock_synchronized", lambda: kept[0])
    async with scene(broker) as running:
        await running.add_meter(1)
        await running.publish_cid()
        with await running.associate() as client:

            def told() -> tuple[object, bool, bool]:
                sync, meters = gateway(client, "LTMS1.TmSyn"), gateway(client, "GGIO1.IntIn1")
                return sync.value, sync.synchronized, meters.synchronized

            await eventually(lambda: told() == (1, False, False))
            assert gateway(client, "LTMS1.TmSrc").value == "host clock"
            kept[0] = True
            await eventually(lambda: told() == (2, True, True))
