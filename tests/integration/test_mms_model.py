"""What is served is what the file says: discovered by an independent client, compared both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from open61850 import scl
from open61850.mms import OBJECT_CLASS_DOMAIN, MmsClient, discover, operate
from open61850.mms.control import ControlError
from open61850.mms.model import compare

from admin.mms.comparison import Devices, differences
from admin.mms.scl_model import read_scl
from admin.mms.served_model import read_device
from mms_bridge.libiec61850.bindings import AddCause
from scl_builder.build.project import ControlModel
from tests.support.brokers import Broker
from tests.support.mms import eventually, scene


def described(cid: bytes) -> Devices:
    """The only IED of a file."""
    file = read_scl(cid)
    return file.devices(file.names[0])


def served(client: MmsClient, file: Devices) -> Devices:
    """What a server shows; blocks."""
    return {
        domain: read_device(client, domain, wanted=file.get(domain, {}))
        for domain in client.get_name_list(OBJECT_CLASS_DOMAIN)
    }


@asynccontextmanager
async def associated(
    broker: Broker, *, meters: int = 1, control_model: ControlModel = "sbo-with-enhanced-security"
) -> AsyncIterator[tuple[MmsClient, bytes]]:
    """A client of a bridge that serves some meters, and their CID."""
    async with scene(broker, control_model=control_model) as running:
        for number in range(meters):
            await running.add_meter(number)
        cid = await running.publish_cid()
        with await running.associate() as client:
            yield client, cid


@pytest.mark.parametrize("control_model", ["sbo-with-enhanced-security", "direct-with-normal-security"])
async def test_discovered_model_is_the_cid(
    broker: Broker, tmp_path: Path, control_model: ControlModel
) -> None:
    async with associated(broker, meters=3, control_model=control_model) as (client, cid):
        file = described(cid)
        shown = await asyncio.to_thread(served, client, file)
        assert [str(found) for found in differences(file, shown)] == []
        nodes = [node for nodes in shown.values() for node in nodes.values()]
        assert sum(len(node.types) for node in nodes) > 300
        assert sum(len(node.values) for node in nodes) > 100
        assert sum(len(node.blocks) for node in nodes) > 0
        # the names once more, by the client's own reader of SCL files
        path = tmp_path / "served.cid"
        path.write_bytes(cid)
        model = await asyncio.to_thread(discover, client)
        assert compare(scl.load_model(path), model) == []
        assert compare(model, scl.load_model(path)) == []


# fmt: off
SPOILED = {
    "type": (b'bType="FLOAT32"', b'bType="INT32"', "MMXN1.Vol.mag.f [MX]: integer32 in the file, float32 on"),
    "name": (b'name="Vol"', b'name="Vols"', "MMXN1.Vols.q [MX]: bit-string(<=13) in the file, nothing on"),
    "functional constraint": (b'name="units" fc="CF"', b'name="units" fc="SP"',
                              "MMXN1.Vol.units.SIUnit [CF]: nothing in the file, integer8 on"),
    "constant": (b"<Val>30000</Val>", b"<Val>20000</Val>",
                 "CSWI1.Pos.sboTimeout [CF]: 20000 in the file, 30000 on"),
    "unit": (b"<Val>V</Val>", b"<Val>A</Val>", "MMXN1.Vol.units.SIUnit [CF]: A in the file, V on"),
    "control model": (b"<Val>sbo-with-enhanced-security</Val>", b"<Val>direct-with-normal-security</Val>",
                      "control model SMGW001M"),
    "enumeration": (b'<EnumVal ord="1">on</EnumVal>', b"", "LLN0.Beh.stVal [ST]: 2 blocked"),
    "report block": (b'buffered="true" ', b"", " [RP]: "),
    "triggers": (b'<TrgOps dchg="true"', b'<TrgOps dchg="false"', " TrgOps: general-interrogation "),
    "options": (b'<OptFields seqNum="true"', b'<OptFields seqNum="false"', " OptFlds: "),
    "revision of a data set": (b'confRev="', b'confRev="9', " ConfRev: 9"),
    "instances": (b'<RptEnabled max="', b'<RptEnabled max="1', "report block "),
    "member of a data set": (b'"XSWI" lnInst="1" doName="Pos"', b'"CSWI" lnInst="1" doName="Pos"',
                             "CSWI1.Pos [ST] in the file, "),
    "logical device": (b'<LDevice inst="M0"', b'<LDevice inst="M0" ldName="X"', "logical device X"),
}
"""What is spoiled in the file → text before, text after, and what a difference then says."""
# fmt: on


@pytest.mark.parametrize("what", SPOILED)
async def test_a_spoiled_file_is_seen(broker: Broker, what: str) -> None:
    before, after, expected = SPOILED[what]
    async with associated(broker) as (client, cid):
        assert before in cid
        file = described(cid.replace(before, after))
        shown = await asyncio.to_thread(served, client, file)
        found = [str(difference) for difference in differences(file, shown)]
        assert any(expected in line for line in found), found


async def test_nothing_is_selected_by_a_comparison(broker: Broker) -> None:
    """To read SBO is to select: the comparison must not."""
    async with associated(broker, control_model="sbo-with-normal-security") as (client, cid):
        shown = await asyncio.to_thread(served, client, described(cid))
        assert list(differences(described(cid), shown)) == []
        (domain,) = (name for name in shown if name.startswith("SMGW001M"))
        selected = await asyncio.to_thread(client.read, f"{domain}/CSWI1$ST$Pos$stSeld")
        assert getattr(selected, "value", None) is False


@pytest.mark.parametrize("others", [0, 1])
async def test_a_meter_without_a_relay_is_served_without_a_switch(broker: Broker, others: int) -> None:
    async with scene(broker) as running:
        meter = await running.add_meter(1, has_relay=False)
        for number in range(others):
            await running.add_meter(10 + number)
        await meter.read(voltage=230.0)
        cid = await running.publish_cid()
        with await running.associate() as client:
            file = described(cid)
            shown = await asyncio.to_thread(served, client, file)
            assert [str(found) for found in differences(file, shown)] == []
            assert sorted(shown[meter.domain]) == ["LLN0", "LPHD1", "MMTN1", "MMXN1", "MMXN4", "MMXN5"]
            told: Any = client.read(f"{meter.domain}/MMXN1.Vol.mag.f[MX]")
            assert told.value == 230.0


async def test_a_generation_from_before_refuses_a_meter_that_has_no_relay_now(broker: Broker) -> None:
    async with scene(broker) as running:
        meter = await running.add_meter(1)
        await running.publish_cid()
        with await running.associate() as client:
            meter.has_relay = False
            await meter.join()
            target = f"{meter.domain}/CSWI1.Pos"

            def refused() -> bool:
                try:
                    operate(client, target, False)
                except ControlError as error:
                    told = error.last_appl_error
                    return told is not None and told.add_cause == AddCause.NOT_SUPPORTED
                return False

            await eventually(refused)
            assert meter.commands == []
