"""In a deployment each accepted device enrols as a meter of its own; the adapter speaks for these alone."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from adapters.adapter import Adapter
from adapters.enrolling import Admission, Entrance
from adapters.points import meter_id_of
from broker.contract.enrolment_codes import EnrolmentCode
from broker.mqtt.identity import CERTIFICATE, common_name
from tests.support import made_up
from tests.support.adapters import DEADLINE, settings, town
from tests.support.brokers import Broker
from tests.support.sites import Deployed, deployed

KEYS = ("d1", "d2")


async def test_the_adapter_speaks_for_the_meters_that_it_enrolled(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "site").mkdir()
    with deployed(tmp_path / "site", "registrar") as site:
        code = await asyncio.to_thread(site.new_code, "--count", "5", "--automatic")
        await run(site, broker, tmp_path, code, caplog)
        for key in KEYS:  # what such an identity may, the matrix of rights shows: this meter alone
            folder = tmp_path / "adapter" / meter_id_of(made_up.NAME, key) / "identity"
            assert (folder / "client.key").stat().st_mode & 0o777 == 0o600
            assert common_name(folder / CERTIFICATE) == meter_id_of(made_up.NAME, key)


async def run(
    site: Deployed, broker: Broker, tmp_path: Path, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Two devices are told of; both meters are heard in the deployment."""
    made = settings(
        broker,
        tmp_path,
        source=[{"name": "home", "family": made_up.NAME, "mqtt": {"host": broker.host, "port": broker.port}}],
        mqtt={"host": "127.0.0.1", "port": site.ports[1]},  # of no use without an identity
    )
    authority = site.folder / "d" / "ca" / "ca.crt"
    entrance = Entrance("127.0.0.1", authority, EnrolmentCode.parse(code), port=site.ports[2])
    stop = asyncio.Event()
    running = asyncio.create_task(Adapter(made, admit=Admission(entrance)).run(stop))
    async with town(broker) as devices:
        for key in KEYS:
            await devices.tell(key, "info", {}, retain=True)
        async with asyncio.timeout(DEADLINE):
            while sum(text.endswith("is online") for text in caplog.messages) < len(KEYS):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    stop.set()
    await asyncio.wait_for(running, DEADLINE)
