"""In a deployment each accepted device enrols as a meter of its own; the adapter speaks for these alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

from paho.mqtt.reasoncodes import ReasonCode

from adapters.adapter import Adapter
from adapters.enrolling import Admission, Entrance
from adapters.points import meter_id_of
from broker.contract.enrolment_codes import EnrolmentCode
from broker.mqtt.client import new_client
from broker.mqtt.settings import MqttSettings
from tests.support import made_up
from tests.support.adapters import DEADLINE, settings, town
from tests.support.brokers import Broker
from tests.support.sites import Deployed, deployed


async def test_the_adapter_speaks_for_the_meters_that_it_enrolled(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    with deployed(tmp_path / "site", "registrar") as site:
        code = await asyncio.to_thread(site.new_code, "--count", "5", "--automatic")
        await run(site, broker, tmp_path, code)
        folder = tmp_path / "adapter" / meter_id_of(made_up.NAME, "d1") / "identity"
        assert (folder / "client.key").stat().st_mode & 0o777 == 0o600
        mine, other = meter_id_of(made_up.NAME, "d1"), meter_id_of(made_up.NAME, "d2")
        assert await granted(folder, mine) < 0x80
        assert await granted(folder, other) >= 0x80


async def run(site: Deployed, broker: Broker, tmp_path: Path, code: str) -> None:
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
        keys = ("d1", "d2")
        for key in keys:
            await devices.tell(key, "info", {}, retain=True)
        folders = [tmp_path / "adapter" / meter_id_of(made_up.NAME, key) / "identity" for key in keys]
        await asyncio.gather(*(heard(folder) for folder in folders))
    stop.set()
    await asyncio.wait_for(running, DEADLINE)


async def heard(folder: Path) -> None:
    """Wait until the meter of this identity is online, as itself may see it."""
    async with asyncio.timeout(DEADLINE):
        while not (folder / "connection.toml").exists():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.05)


async def granted(folder: Path, meter_id: str) -> int:
    """What the broker says when this identity wants to hear the commands of a meter."""
    async with new_client(MqttSettings(identity=folder), identifier="test") as client:
        (code,) = await client.subscribe(f"sm/v1/{meter_id}/command", qos=1)
    return code.value if isinstance(code, ReasonCode) else code
