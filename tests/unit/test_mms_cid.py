"""A CID that cannot be served is refused with one kind of error, whatever is wrong with it."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admin.mms.scl_model import read_scl
from scl_builder.build.builder import build_cid
from scl_builder.build.project import Ied, Project
from scl_builder.check.checker import check
from scl_builder.check.diff import diff
from scl_builder.check.outline import parse
from scl_builder.model.cdc import FunctionalConstraint, TriggerOption
from scl_builder.read.cid import CidError, DataSetMember, read_cid
from tests.support.scd import house, meter_id

LD = "SMGW001M1"
PRIVATE_AGAIN = (
    f'</LDevice><LDevice inst="GW"><Private type="meter61850:meter_id">{meter_id(1)}</Private>'.encode()
)
CID = build_cid(
    Project("t", 1, (Ied("SMGW001", "10.0.0.7", 10102, (house(1, name="Haus Ä", serial="77"),)),)),
    "SMGW001",
)


def test_what_stands_in_the_file_is_read() -> None:
    cid = read_cid(CID)
    assert (cid.ied, cid.endpoint) == ("SMGW001", ("10.0.0.7", 10102))
    meter, gateway = cid.devices
    assert (gateway.domain, meter.domain) == ("SMGW001GW", LD)
    nodes = {node.name: node for node in meter.nodes}
    volts = next(obj for obj in nodes["MMXN1"].objects if obj.name == "Vol")
    mag = volts.attributes[0]
    assert (mag.name, mag.fc) == ("mag", FunctionalConstraint.MX)
    assert mag.triggers & TriggerOption.DATA_CHANGED
    assert mag.children[0].triggers == mag.triggers  # a DA's triggers hold for its parts
    assert nodes["LPHD1"].values["PhyNam", "serNum"] == "77"
    groups = gateway.nodes[0]
    names = [name for report in groups.reports for name in report.instance_names()]
    assert names[:2] == ["urcbVol01", "urcbVol02"]
    assert names[-2:] == ["brcbGw01", "brcbGw02"]
    assert len(names) == 18  # nine data sets have members of such a meter
    assert {report.integrity_ms for report in groups.reports if not report.buffered} == {60_000}
    assert groups.data_sets[0] == ("dsVol", (DataSetMember(LD, "MMXN1", "MX", ("Vol",)),))


@pytest.mark.parametrize(
    ("fault", "instead"),
    [
        (b'fc="MX"', b'fc="XX"'),
        (b'lnType="MMXN"', b'lnType="Missing"'),
        (b'confRev="2"', b'confRev="two"'),
        (b"<IED ", b"<IDE "),
        (b"</SCL>", b""),
        (meter_id(1).encode(), b"House 1"),
        (b'</LDevice>\n<LDevice inst="GW">', PRIVATE_AGAIN),
    ],
)
def test_a_fault_is_one_kind_of_error(fault: bytes, instead: bytes) -> None:
    assert fault in CID
    with pytest.raises(CidError):
        read_cid(CID.replace(fault, instead))


def test_the_port_is_102_when_the_file_names_none() -> None:
    assert read_cid(CID.replace(b'type="MMS-Port"', b'type="Port"')).endpoint == ("10.0.0.7", 102)


@settings(max_examples=200)
@given(st.data())
def test_a_mutated_file_is_read_or_refused(data: st.DataObject) -> None:
    words = sorted({m.group() for m in re.finditer(rb'"[^"]*"|<[A-Za-z]+', CID)})
    word = data.draw(st.sampled_from(words))
    other = data.draw(st.one_of(st.sampled_from(words), st.binary(max_size=8)))
    with suppress(CidError):
        read_cid(CID.replace(word, other))


def test_the_port_for_tls_is_that_of_the_access_point_beside_the_server() -> None:
    assert read_cid(CID).tls_endpoint is None
    ied = Ied("SMGW001", "10.0.0.7", 10102, (house(1),), tls_port=3782)
    xml = build_cid(Project("t", 1, (ied,)), "SMGW001")
    assert check(xml) == []
    assert (read_cid(xml).endpoint, read_cid(xml).tls_endpoint) == (("10.0.0.7", 10102), ("10.0.0.7", 3782))
    first, second = read_scl(xml).endpoint("SMGW001"), read_scl(xml).endpoint("SMGW001", tls=True)
    assert (first, second) == (("10.0.0.7", 10102), ("10.0.0.7", 3782))
    told = [str(change) for change in diff(parse(CID), parse(xml))]
    assert any("10.0.0.7:3782" in line for line in told)
    with pytest.raises(ValueError, match="it cannot be both"):
        Ied("SMGW001", "10.0.0.7", 102, (), tls_port=102)
