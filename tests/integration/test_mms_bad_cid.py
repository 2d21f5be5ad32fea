"""A CID that cannot be served costs nothing: what was served goes on, and the good one can come back."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from open61850.mms import MmsClient
from open61850.mms.errors import MmsError

from tests.support.brokers import Broker, free_port
from tests.support.mms import DrivenMeter, Scene, eventually, scene


async def publish(running: Scene, cid: bytes) -> None:
    """Publish a CID for the scene's IED."""
    await running.client.publish(running.topics.cid("SMGW001"), cid, qos=1, retain=True)


async def told(running: Scene, meter: DrivenMeter, volts: float) -> None:
    """Return when a new association reads ``volts``: everything published before was taken."""
    await meter.read(voltage=volts)

    def shows() -> bool:
        with (
            suppress(MmsError, OSError),
            MmsClient.connect("127.0.0.1", running.port, timeout=60.0) as client,
        ):
            value = client.read(f"{meter.domain}/MMXN1.Vol.mag.f[MX]")
            return bool(getattr(value, "value", 0) == pytest.approx(volts))
        return False

    await eventually(shows)


def listens(port: int) -> bool:
    """Whether somebody listens on ``port``; asked without connecting, which would make the IED's server."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


FAULTS = {
    "a type that nobody knows": (b'bType="FLOAT32"', b'bType="INT128"'),
    "a literal that the enumeration has not": (b"<Val>sbo-with-enh", b"<Val>sbo-with-anh"),
    "no XML": (b"<SCL", b"<<SCL"),
    "an address that is not ours": (b'xsi:type="tP_IP">127.0.0.1<', b'xsi:type="tP_IP">192.0.2.1<'),
    "a port that is none": (b'xsi:type="tP_MMS-Port">', b'xsi:type="tP_MMS-Port">9'),
    "an older model": (b'<DO name="VolAmp"', b'<DO name="VAr"'),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("used", [True, False], ids=["with a server", "without"])
async def test_what_was_served_goes_on_and_comes_back(broker: Broker, fault: str, used: bool) -> None:
    async with scene(broker) as running:
        meter = await running.add_meter(1)
        good = await running.publish_cid()
        await eventually(lambda: listens(running.port))
        if used:
            await told(running, meter, 230.0)
        bad = good.replace(*FAULTS[fault])
        assert bad != good
        await publish(running, bad)
        await told(running, meter, 231.0) if fault != "an older model" else await meter.read(voltage=231.0)
        await publish(running, good)
        await told(running, meter, 232.0)


async def test_a_port_that_is_taken_leaves_the_old_one_open(broker: Broker) -> None:
    async with scene(broker) as running:
        meter = await running.add_meter(1)
        good = await running.publish_cid()
        await told(running, meter, 230.0)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", free_port()))
            taken.listen()
            port = taken.getsockname()[1]
            await publish(running, good.replace(b">%d<" % running.port, b">%d<" % port))
            await told(running, meter, 231.0)
            await publish(running, good)
            await told(running, meter, 232.0)


async def test_clients_of_an_older_model_are_served(broker: Broker) -> None:
    """After an upgrade the retained CIDs are the old bridge's until the new one has published."""
    async with scene(broker) as running:
        meter = await running.add_meter(1)
        good = await running.publish_cid()
        await publish(running, good.replace(*FAULTS["an older model"]))
        await told(running, meter, 230.0)
        await told(running, meter, 231.0)
