"""What the code of this tree makes of a data object ``NODE.DO`` that the power of a reading feeds: JSON.

It is a program, so that a test can run it in a copy of the tree whose table has one more row.

    python -m tests.support.one_more_row MMXN1.VolAmpr mag.f FOLDER
"""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from open61850.mms import MmsClient
from open61850.mms.errors import DataAccessError

from admin.mms.comparison import differences
from broker.contract.quantities import HOUSEHOLD
from scl_builder.build.builder import build_scd
from scl_builder.build.project import Ied, Project
from scl_builder.check.checker import check
from scl_builder.model.logical_devices import PROFILES, profile_of
from tests.integration.test_mms_model import described, served
from tests.support.brokers import Broker, mosquitto
from tests.support.mms import eventually, scene
from tests.support.scd import house
from tools.docs.conformance import conformance_markdown

POWERS = (200.0, -350.5)


async def seen(broker: Broker, name: str, path: str) -> dict[str, Any]:
    """Everything that a test asks of the data object."""
    meter_of_scd = house(1, profile=profile_of(HOUSEHOLD))
    scd = build_scd(Project("t", 1, (Ied("SMGW001", "127.0.0.1", 102, (meter_of_scd,)),)))
    async with scene(broker) as running:
        meter = await running.add_meter(1)
        cid = await running.publish_cid()
        values = []
        with await running.associate() as client:
            for power in POWERS:
                await meter.read(power=power)
                await eventually(partial(_is, client, f"{meter.domain}/MMXN1.Watt.mag.f[MX]", power))
                values.append(_value(client, f"{meter.domain}/{name}.{path}[MX]"))
            different = await asyncio.to_thread(_differences, client, cid)
    return {
        "findings": [str(found) for xml in (scd, cid) for found in check(xml)],
        "in_scd": f'<DO name="{name.partition(".")[2]}" ' in scd.decode(),
        "values": values,
        "differences": different,
        "conformance": [line for line in _of_today().splitlines() if f"| {name} |" in line],
    }


def _of_today() -> str:
    """The conformance statement up to the meters that have more than one phase and one direction."""
    text, more, _ = conformance_markdown().partition(f" of a {PROFILES[1].name} meter ")
    assert more
    return text


def _differences(client: MmsClient, cid: bytes) -> list[str]:
    file = described(cid)
    return [str(found) for found in differences(file, served(client, file))]


def _value(client: MmsClient, name: str) -> Any:
    try:
        return getattr(client.read(name), "value", None)
    except DataAccessError:
        return None


def _is(client: MmsClient, name: str, value: float) -> bool:
    return bool(_value(client, name) == value)


if __name__ == "__main__":
    with mosquitto(Path(sys.argv[3])) as running_broker:
        sys.stdout.write(json.dumps(asyncio.run(seen(running_broker, *sys.argv[1:3]))))
