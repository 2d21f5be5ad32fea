"""What of a changed CID needs no new server: texts, and meters that have got a spare device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scl_builder.build.builder import build_cid, build_scd
from scl_builder.build.project import Ied, Meter, Project
from scl_builder.model.logical_devices import profile_of
from scl_builder.read.cid import Cid, read_cid
from scl_builder.read.retold import Retold, retold
from tests.support.scd import house, meter_id

PLATE = {"vendor": "Peacefair", "model": "PZEM-004T", "firmware": "1.0"}
HOUSES = tuple(house(number, name=f"House {number}", **PLATE) for number in range(1, 6))
SPARES = (Meter("", "M6"), Meter("", "M7"))
IED = Ied("SMGW001", "127.0.0.1", 102, (*HOUSES, *SPARES))
SIXTH = house(6, name="Çiftlik 6", address="Street 1", serial="S-6", **PLATE)


def cid(ied: Ied = IED, **settings: Any) -> Cid:
    project = Project("town", 1, (ied,))
    return read_cid(build_cid(replace(project, **settings), "SMGW001"))


def told(news: Retold | None) -> dict[str, str]:
    """Reference → text."""
    assert news is not None
    return {f"{one.domain}/{one.node}.{'.'.join(one.path)}": one.value for one in news.texts}


def with_meters(*meters: Meter, **changes: Any) -> Ied:
    return replace(IED, meters=meters, **changes)


def test_the_same_tells_nothing() -> None:
    assert retold(cid(), cid()) == Retold({}, ())


def test_a_birth_in_a_spare_device_is_texts_alone() -> None:
    """It is the sixth with this plate, so that the plate moves into a type that all six share."""
    news = retold(cid(), cid(with_meters(*HOUSES, SIXTH, SPARES[1])))
    assert told(news) == {
        "SMGW001M6/LLN0.NamPlt.d": "Ciftlik 6",
        "SMGW001M6/LLN0.NamPlt.dU": "Çiftlik 6",
        "SMGW001M6/LPHD1.PhyNam.vendor": "Peacefair",
        "SMGW001M6/LPHD1.PhyNam.swRev": "1.0",
        "SMGW001M6/LPHD1.PhyNam.serNum": "S-6",
        "SMGW001M6/LPHD1.PhyNam.model": "PZEM-004T",
        "SMGW001M6/LPHD1.PhyNam.location": "Street 1",
        "SMGW001M6/LPHD1.PhyNam.mRID": meter_id(6),
    }
    assert news is not None
    assert news.owners == {"SMGW001M6": meter_id(6)}


def test_a_house_with_another_name_is_a_text() -> None:
    renamed = replace(HOUSES[0], name="Mill")
    assert told(retold(cid(), cid(with_meters(renamed, *HOUSES[1:], *SPARES)))) == {
        "SMGW001M1/LLN0.NamPlt.d": "Mill"
    }


def test_a_text_that_ends_is_empty() -> None:
    nameless = replace(HOUSES[0], name="")
    news = retold(cid(), cid(with_meters(nameless, *HOUSES[1:], *SPARES)))
    assert told(news) == {"SMGW001M1/LLN0.NamPlt.d": ""}


def test_another_version_of_the_tool_is_texts() -> None:
    news = retold(cid(tool_version="1.0"), cid(tool_version="2.0"))
    assert set(told(news).values()) == {"2.0"}


THREE = profile_of(("power_l1", "power_l2", "power_l3"))


@pytest.mark.parametrize(
    "ied",
    [
        with_meters(*HOUSES, *SPARES, Meter("", "M8")),
        with_meters(*HOUSES, SPARES[0]),
        with_meters(*HOUSES, SIXTH, SPARES[1], changes=2),
        with_meters(*HOUSES, replace(SIXTH, relay=False), SPARES[1]),
        with_meters(*HOUSES, replace(SIXTH, profile=THREE), SPARES[1]),
        with_meters(*HOUSES[:4], replace(HOUSES[4], meter_id=meter_id(9)), *SPARES),
        with_meters(*HOUSES[:4], Meter("", "M5"), *SPARES),
        replace(IED, port=103),
        replace(IED, tls_port=3782),
    ],
    ids=["more", "fewer", "confRev", "relay", "profile", "other owner", "no owner", "port", "TLS"],
)
def test_another_model_or_owner_is_another_configuration(ied: Ied) -> None:
    assert retold(cid(), cid(ied)) is None


@pytest.mark.parametrize(
    "settings",
    [{"control_model": "direct-with-enhanced-security"}, {"report_instances": 3}, {"operate_timeout": 7000}],
)
def test_another_setting_is_another_configuration(settings: dict[str, Any]) -> None:
    assert retold(cid(), cid(**settings)) is None


def test_a_spare_device_is_in_the_file_and_nowhere_named() -> None:
    scd = build_scd(Project("town", 1, (IED,))).decode()
    (line,) = (line for line in scd.splitlines() if line.startswith('<LDevice inst="M7"'))
    assert line.startswith('<LDevice inst="M7"><LN0 ')
    assert ("CSWI" in line, "desc=" in line, line.count("<DOI ")) == (True, False, line.count('"ClcSrc"'))
    assert scd.count('<FCDA ldInst="M7"') == scd.count('<FCDA ldInst="M1"') > 1, (
        "a member of each data set from the start"
    )
    assert scd.count('<LNode iedName="SMGW001" ldInst="M6"') == 0, "at no place of the substation"
    (device,) = (device for device in cid().devices if device.inst == "M7")
    assert device.meter_id == ""
