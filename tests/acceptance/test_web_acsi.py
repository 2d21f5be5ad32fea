"""ACSI over HTTP tells what MMS tells: every data object of the model, read by an independent client."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from open61850.data import BitStringData, TimestampData
from open61850.mms import MmsClient, ObjectName
from open61850.quality import Quality

from scl_builder.model.data_object import DataObject, LogicalNode
from scl_builder.model.logical_devices import GATEWAY_LD, METER_LD
from scl_builder.model.reference import Reference
from tests.support.chain import until
from tests.support.web import Web, beside_meters

VALUES = {"MV": (("mag", "f"), "MX"), "BCR": (("actVal",), "ST")}
DBPOS = {"off": 0x40, "on": 0x80, "intermediate-state": 0x00}
FED = [
    (node, one) for node in METER_LD for one in node.objects if one.source.startswith(("reading", "relay"))
]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """One meter that has read and was killed: its values do not change any more."""
    with beside_meters(tmp_path_factory.mktemp("web"), 1) as web:
        (meter_id,) = web.wait_for_meters(1)
        web.chain.wait_for_domain(web.chain.domain(meter_id))
        web.chain.processes.pop("meters1").kill()
        web.wait_for_meters(1, "offline")
        yield web


@pytest.fixture(scope="module")
def domain(web: Web) -> str:
    """The meter's logical device."""
    return web.chain.domain(web.wait_for_meters(1, "offline")[0])


@pytest.fixture(scope="module")
def mms(web: Web, domain: str) -> Iterator[MmsClient]:
    """An association, where the meter is offline, too."""
    with web.chain.connect() as client:
        until(lambda: "old" in str(Quality.from_bitstring(read(client, domain, *FED[0])[1])), why="old data")
        yield client


def get(web: Web, path: str) -> Any:
    """A document; AssertionError unless 200."""
    with web.program() as client:
        answer = client.get(f"{web.url}/iec61850/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def read(mms: MmsClient, domain: str, node: LogicalNode, one: DataObject) -> tuple[Any, Any, Any]:
    """Value, q and t over MMS."""
    path, fc = VALUES.get(one.cdc, (("stVal",), "ST"))
    base = Reference("", node.name, (one.name,), fc)
    names = [base.child(*path), base.child("q"), base.child("t")]
    value, q, t = mms.read_many([ObjectName(name.mms[1], domain) for name in names])
    assert isinstance(q, BitStringData)
    assert isinstance(t, TimestampData)
    return value, q, t


@pytest.mark.parametrize(("node", "one"), FED, ids=[f"{node.name}.{one.name}" for node, one in FED])
def test_values_quality_and_time_are_those_of_mms(
    web: Web, mms: MmsClient, domain: str, node: LogicalNode, one: DataObject
) -> None:
    value, q, t = read(mms, domain, node, one)
    path, fc = VALUES.get(one.cdc, (("stVal",), "ST"))
    told = get(web, f"{domain}/{node.name}/{one.name}")
    http = told["value"]
    assert told["cdc"] == one.cdc
    quality = str(Quality.from_bitstring(q))
    assert http["q"]["validity"] in quality
    assert http["q"].get("oldData", False) == ("old" in quality.lower())
    assert abs(datetime.fromisoformat(http["t"]) - t.value) < timedelta(milliseconds=1)
    found = http
    for name in path:
        found = found[name]
    if isinstance(value, BitStringData):
        assert DBPOS[found] == value.value[0]
    elif one.cdc == "MV":
        assert struct.pack("f", found) == struct.pack("f", value.value)
    else:
        assert found == value.value
    alone = get(web, f"{domain}/{node.name}/{one.name}/{'/'.join(path)}")
    assert (alone["value"], alone["fc"]) == (found, fc)


def test_the_directories_are_those_of_mms(web: Web, mms: MmsClient, domain: str) -> None:
    devices = {child["name"] for child in get(web, "")["children"]}
    assert devices == set(mms.get_name_list(9))
    for name in sorted(devices):
        tables = METER_LD if name == domain else GATEWAY_LD
        nodes = [child["name"] for child in get(web, name)["children"]]
        assert nodes == [node.name for node in tables]
        for node in tables:
            objects = [child["name"] for child in get(web, f"{name}/{node.name}")["children"]]
            assert objects == [one.name for one in node.objects]


def test_what_stands_in_the_cid_is_told(web: Web, domain: str) -> None:
    assert get(web, f"{domain}/MMXN1/Vol/units/SIUnit")["value"] == "V"
    assert get(web, f"{domain}/XSWI1/SwTyp/stVal")["value"] == "Load Break"
    assert get(web, f"{domain}/LPHD1/Proxy/stVal")["value"] == "true"


def test_the_gateway_counts_its_meters(web: Web, domain: str) -> None:
    gateway = next(child["name"] for child in get(web, "")["children"] if child["name"] != domain)
    assert get(web, f"{gateway}/GGIO1/IntIn1/stVal")["value"] == 1
    assert get(web, f"{gateway}/GGIO1/IntIn2/stVal")["value"] == 0
    assert get(web, f"{gateway}/GGIO1/Ind2/stVal")["value"] is True


@pytest.mark.parametrize(
    "path", ["SM_0", "{}/MMXN9", "{}/MMXN1/Nix", "{}/MMXN1/Vol/nix", "{}/MMXN1/Vol/mag/x"]
)
def test_what_is_not_there_is_404_and_says_what_is(web: Web, domain: str, path: str) -> None:
    with web.program() as client:
        answer = client.get(f"{web.url}/iec61850/{path.format(domain)}")
    assert answer.status_code == 404
    assert ":" in answer.json()["detail"]


def test_the_web_process_has_not_loaded_the_c_library(web: Web, domain: str) -> None:
    """It answered with a CID's structure and values; the MMS bridge beside it has the library."""
    assert get(web, f"{domain}/MMXN1/Vol")["cdc"] == "MV"
    maps = {name: Path(f"/proc/{web.chain.processes[name].pid}/maps").read_text() for name in ("web", "mms")}
    assert "libiec61850" in maps["mms"]
    assert "libiec61850" not in maps["web"]
