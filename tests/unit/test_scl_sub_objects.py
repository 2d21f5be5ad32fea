"""Sub data objects (SDO) in files: read, compared and bounded by every reader of ours."""

from __future__ import annotations

import pytest

from admin.mms.scl_model import read_scl
from broker.contract.errors import ConfigurationError
from scl_builder.build.builder import build_cid
from scl_builder.build.project import Ied, Project
from scl_builder.check.checker import check
from scl_builder.check.diff import diff
from scl_builder.check.outline import parse
from scl_builder.read.cid import CidError, DataObject, read_cid
from tests.support.scd import house
from tests.support.three_phases import THREE_PHASES

LD = "SMGW001M1"
METER = house(1, profile=THREE_PHASES)
CID = build_cid(Project("t", 1, (Ied("SMGW001", "10.0.0.7", 102, (METER,)),)), "SMGW001")
BOMB = "".join(
    f'<DOType id="D{depth}" cdc="WYE">'
    + "".join(f'<SDO name="s{number}" type="D{depth + 1}"/>' for number in range(20))
    + "</DOType>"
    for depth in range(30)
)
"""Types of types: 20 to the 30th sub data objects."""


def changed(before: str, after: str) -> bytes:
    assert before in CID.decode()
    return CID.decode().replace(before, after, 1).encode()


def data_object(name: str) -> DataObject:
    (meter,) = (device for device in read_cid(CID).devices if device.domain == LD)
    node, _, rest = name.partition(".")
    (found,) = (one for part in meter.nodes if part.name == node for one in part.objects if one.name == rest)
    return found


def test_a_file_with_sub_data_objects_has_no_finding() -> None:
    assert check(CID) == []


def test_the_reader_knows_where_each_value_goes() -> None:
    told = [name for name, _, _ in data_object("MMXU1.PhV").values()]
    assert told == [f"PhV.{part}" for part in ("phsA", "phsB", "phsC", "neut", "net", "res")]
    assert [(value.path, value.t) for _, _, value in data_object("MMTR1.DmdWh").values()] == [
        (("actVal",), "t"),
        (("frVal",), "frTm"),
    ]


def test_a_value_of_an_instance_reaches_its_sub_data_object() -> None:
    ln = '<LN lnClass="MSQI" inst="1" lnType="MSQI"'
    dai = '<DAI name="multiplier"><Val>k</Val></DAI>'
    sdi = f'<DOI name="SeqV"><SDI name="c1"><SDI name="units">{dai}</SDI></SDI></DOI>'
    xml = changed(f"{ln}/>", f"{ln}>{sdi}</LN>")
    assert check(xml) == []
    values = {node.name: node.values for device in read_cid(xml).devices for node in device.nodes}
    assert values["MSQI1"] == {("SeqV", "c1", "units", "multiplier"): "k"}
    assert (
        read_scl(xml).devices("SMGW001")[LD]["MSQI1"].values["CF", "SeqV", "c1", "units", "multiplier"] == 3
    )
    assert [str(change) for change in diff(parse(CID), parse(xml))] == [
        f"SMGW001: {LD}: MSQI1.SeqV.c1.units.multiplier added: k"
    ]


def test_what_changes_in_a_sub_data_object_is_a_difference() -> None:
    q = '<DA name="q" fc="MX" bType="Quality" qchg="true"/>'
    type_id = '<DOType id="CMV_A" cdc="CMV">'
    begin = CID.decode().index(type_id)
    end = CID.decode().index("</DOType>", begin)
    without = CID.decode()[begin:end].replace(q, "")
    told = [str(change) for change in diff(parse(CID), parse(changed(CID.decode()[begin:end], without)))]
    assert [line.partition(f"{LD}: ")[2] for line in told] == [
        "MMXU1.A.neut.q [MX] removed",
        "MMXU1.A.phsA.q [MX] removed",
    ]


@pytest.mark.parametrize("loop", [True, False])
def test_types_that_would_never_end_are_refused(loop: bool) -> None:
    more = '<DOType id="D0" cdc="WYE"><SDO name="s" type="D0"/></DOType>' if loop else BOMB
    xml = changed('<DOType id="BCR_Wh_actVal_frVal"', f'{more}<DOType id="BCR_Wh_actVal_frVal"').replace(
        b'type="MV_Hz"', b'type="D0"'
    )
    with pytest.raises(CidError):
        read_cid(xml)
    if not loop:
        with pytest.raises(ConfigurationError, match="more than"):
            read_scl(xml).devices("SMGW001")
        with pytest.raises(ValueError, match="more than"):
            diff(parse(CID), parse(xml))
    assert check(xml) != []
