"""SCD and CID: clean by schema and checker in every shape, deterministic, incremental."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from meter_firmware.settings import SimulateSettings
from meter_firmware.simulate import simulated_profile
from scl_builder.build import builder
from scl_builder.build.builder import build_cid, build_scd
from scl_builder.build.project import ControlModel, HistoryItem, Ied, Meter, Project
from scl_builder.check.checker import check
from scl_builder.check.schema import load_schema
from scl_builder.read.cid import Device, read_cid
from tests.support.scd import house, meter_id

NS = {"s": "http://www.iec.ch/61850/2003/SCL"}
SCL = "{http://www.iec.ch/61850/2003/SCL}"
CONTROL_MODELS = get_args(ControlModel)


def meter(number: int, *, name: str = "House") -> Meter:
    """A plausible meter."""
    return house(
        number,
        name=f"{name} {number}",
        address=f"Main Street {number}",
        address_code="12345",
        vendor="Peacefair",
        model="PZEM-004T v3",
        serial=f"PZ{number:06d}",
        firmware="0.1.0",
    )


@lru_cache
def project(
    meters: int = 2,
    *,
    ieds: int = 2,
    control_model: ControlModel = "sbo-with-enhanced-security",
    instances: int = 1,
) -> Project:
    """``ieds`` IEDs with ``meters`` meters each."""
    return Project(
        "town",
        3,
        tuple(
            Ied(f"SMGW{k:03d}", "192.0.2.10", 102 + k, tuple(meter(1000 * k + n) for n in range(meters)))
            for k in range(1, ieds + 1)
        ),
        history=(HistoryItem(3, "2026-11-23T12:00:00Z", "bridge", "2 meters more"),),
        report_instances=instances,
        control_model=control_model,
        tool_version="0.1.0",
    )


def find(xml: bytes, path: str) -> list[etree._Element]:
    """Elements at an XPath, with ``s`` for SCL's namespace."""
    found = etree.fromstring(xml).xpath(path, namespaces=NS)
    assert isinstance(found, list)
    return [element for element in found if isinstance(element, etree._Element)]


def attributes(xml: bytes, path: str) -> list[str]:
    """Attribute or text values at an XPath."""
    found = etree.fromstring(xml).xpath(path, namespaces=NS)
    assert isinstance(found, list)
    return [str(value) for value in found]


def assert_clean(xml: bytes) -> None:
    """No error of the 2007B4 schema (asked directly) and no finding of the checker."""
    schema = load_schema()
    assert schema.validate(etree.fromstring(xml)), list(schema.error_log)[:5]
    assert check(xml) == []


@pytest.mark.parametrize("meters", [0, 1, 51, 100])
@pytest.mark.parametrize("control_model", ["sbo-with-enhanced-security", "direct-with-normal-security"])
@pytest.mark.parametrize("instances", [1, 2, 3])
def test_clean_in_every_size(meters: int, control_model: ControlModel, instances: int) -> None:
    plan = project(meters, control_model=control_model, instances=instances)
    assert_clean(build_scd(plan))
    assert_clean(build_cid(plan, "SMGW002"))


@pytest.mark.parametrize("control_model", CONTROL_MODELS)
def test_clean_with_every_control_model(control_model: ControlModel) -> None:
    assert_clean(build_scd(project(1, control_model=control_model)))


def test_clean_without_ieds_and_with_most_instances() -> None:
    assert_clean(build_scd(Project("empty", 0, ())))
    assert_clean(build_scd(project(1, instances=99)))


@pytest.mark.parametrize("without", [{1}, {0, 1, 2}], ids=["one of three", "all"])
def test_a_meter_without_a_relay_has_no_switch(without: set[int]) -> None:
    meters = tuple(replace(meter(n), relay=n not in without) for n in range(3))
    plan = Project("p", 1, (Ied("SMGW001", "192.0.2.1", 102, meters),), report_instances=2)
    for xml in (build_scd(plan), build_cid(plan, "SMGW001")):
        assert_clean(xml)
        for number in range(3):
            classes = attributes(xml, f"//s:LDevice[@inst='M{number}']/*/@lnClass")
            switches = [] if number in without else ["CSWI", "XSWI"]
            assert classes == ["LLN0", "LPHD", "MMXN", "MMTN", "MMXN", "MMXN", *switches]
    switched = [f"M{n}" for n in range(3) if n not in without]
    assert attributes(build_scd(plan), "//s:DataSet[@name='dsPos']/s:FCDA/@ldInst") == switched
    assert attributes(build_scd(plan), "//s:LNode[@lnClass='XSWI']/@ldInst") == switched
    assert len(attributes(build_scd(plan), "//s:LNode/@ldInst")) == 3
    assert bool(find(build_scd(plan), "//s:ReportControl[@name='brcbPos']")) is bool(switched)


ANYTHING = st.text(st.characters(codec=None, categories=None), max_size=300)


@settings(max_examples=60)
@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING)
def test_hostile_text_stays_text(name: str, address: str, vendor: str, serial: str, what: str) -> None:
    hostile = Meter(meter_id(0), "M0", name, address, what, vendor, serial, serial, vendor)
    plan = Project(
        name,
        1,
        (Ied("SMGW001", "192.0.2.1", 102, (hostile, meter(1))),),
        (HistoryItem(1, what, name, what),),
        tool_version=vendor,
    )
    for xml in (build_scd(plan), build_cid(plan, "SMGW001")):
        assert check(xml) == []
        assert len(find(xml, "//s:LDevice")) == 3


def test_markup_in_a_name_is_text() -> None:
    evil = '"/></Val></DAI><!--&amp;]]><IED name="X"/>'
    xml = build_scd(Project("p", 1, (Ied("A", "192.0.2.1", 102, (house(1, name=evil),)),)))
    assert attributes(xml, "//s:DOI[@name='NamPlt']/s:DAI[@name='d']/s:Val/text()") == [evil]
    assert attributes(xml, "//s:LDevice/@desc") == [evil]
    assert attributes(xml, "//s:IED/@name") == ["A"]


def test_same_project_same_bytes_whatever_the_order() -> None:
    plan = project(5)
    shuffled = replace(plan, ieds=tuple(replace(ied, meters=ied.meters[::-1]) for ied in plan.ieds[::-1]))
    assert build_scd(shuffled) == build_scd(plan)
    assert build_cid(shuffled, "SMGW001") == build_cid(plan, "SMGW001")


def test_same_bytes_in_every_process() -> None:
    """Nothing depends on the order of a set: other hash seeds, same file."""
    code = (
        "import hashlib; from tests.unit.test_scl_builder import build_scd, project;"
        "print(hashlib.sha256(build_scd(project(3))).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[2],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_remembered_meters_do_not_change_the_file() -> None:
    plan = project(3)
    before = build_scd(plan)
    builder.forget()
    assert build_scd(plan) == before


def test_one_more_meter_renders_one_ied() -> None:
    plan = project(20)
    build_scd(plan)
    rendered = builder._ied.rendered
    fresh = replace(plan.ieds[0], meters=(*map(replace, plan.ieds[0].meters), meter(7, name="New")))
    grown = replace(plan, ieds=(fresh, replace(plan.ieds[1])))
    scd = build_scd(grown)
    assert builder._ied.rendered == rendered + 1
    builder.forget()
    assert build_scd(grown) == scd
    assert builder._ied.rendered == rendered + 3


@pytest.mark.parametrize(
    "other",
    [
        replace(project(2), tool_version="0.2.0"),
        replace(project(2), report_instances=3),
        replace(project(2), control_model="status-only"),
        replace(project(2), ieds=tuple(replace(ied, changes=9) for ied in project(2).ieds)),
    ],
)
def test_what_is_remembered_is_of_the_same_project(other: Project) -> None:
    """The names of the IEDs are the same: all else that the text is made of is compared."""
    build_scd(project(2))
    remembered = build_scd(other), build_cid(other, "SMGW001")
    builder.forget()
    assert (build_scd(other), build_cid(other, "SMGW001")) == remembered
    assert remembered[0] != build_scd(project(2))


def test_a_cid_changes_only_with_its_own_ied() -> None:
    """The MMS bridge rebuilds an IED when its CID changes: a revision elsewhere must not change it."""
    plan = project(3)
    other = replace(plan.ieds[1], meters=(*plan.ieds[1].meters, meter(7)))
    grown = replace(plan, ieds=(plan.ieds[0], other), revision=4, history=())
    assert build_cid(grown, "SMGW001") == build_cid(plan, "SMGW001")
    assert build_cid(grown, "SMGW002") != build_cid(plan, "SMGW002")


def test_cid_has_the_ied_of_the_scd() -> None:
    plan = project(3)
    scd, cid = build_scd(plan), build_cid(plan, "SMGW002")
    for path in ("s:IED[@name='SMGW002']", "s:DataTypeTemplates", "//s:ConnectedAP[@iedName='SMGW002']"):
        (ours,), (theirs,) = find(cid, path), find(scd, path)
        assert etree.tostring(ours, with_tail=False) == etree.tostring(theirs, with_tail=False)
    assert attributes(cid, "//s:IED/@name") == ["SMGW002"]
    with pytest.raises(ValueError, match="no IED 'SMGW009'"):
        build_cid(plan, "SMGW009")


def test_letters_beyond_ascii_are_kept_in_du() -> None:
    turkish = house(1, name="Değirmen", address="Çiğdem Sokağı 7", address_code="06500")
    xml = build_cid(Project("p", 1, (Ied("A", "192.0.2.1", 102, (turkish,)),)), "A")
    values = {e.get("name"): e[0].text for e in find(xml, "//s:DOI[@name='NamPlt']/s:DAI")}
    assert values == {"d": "Degirmen", "dU": "Değirmen"}
    values = {e.get("name"): e[0].text for e in find(xml, "//s:LDevice[@desc]//s:DOI[@name='PhyNam']/s:DAI")}
    plain, own = "Cigdem Sokag? 7, 06500", {"mRID": meter_id(1)}
    assert values == {"location": plain, "d": plain, "dU": "Çiğdem Sokağı 7, 06500"} | own, "dU is of d (7-3)"
    assert attributes(xml, "//s:LDevice/@desc") == ["Değirmen"]


def test_bytes_of_a_meter() -> None:
    """What a meter costs in the SCD, its part of its IED included: 1,700 is the limit."""
    ieds = [simulated(number) for number in range(40)]
    few, more = (len(build_scd(Project("town", 1, tuple(ieds[:n]), tool_version="0.1.0"))) for n in (20, 40))
    assert (more - few) / 1000 <= 1700


def simulated(number: int) -> Ied:
    """An IED of 50 meters that say what simulated ones say."""
    settings = SimulateSettings(n=50, seed=1)
    meters = []
    for key in range(50 * number + 1, 50 * number + 51):
        profile = simulated_profile(settings, key)
        identity, hardware = profile.identity, profile.hardware
        meters.append(
            Meter(
                profile.meter_id,
                f"M{key}",
                name=identity.name,
                address=identity.address,
                address_code=identity.address_code,
                vendor=hardware.vendor,
                model=hardware.model,
                serial=hardware.serial,
                firmware="0.1.0",
            )
        )
    return Ied(f"SMGW{number + 1:03d}", "127.0.0.1", 10102 + number, tuple(meters), changes=50)


def test_a_meter_is_named_by_its_number_and_says_whose_it_is() -> None:
    xml = build_cid(
        Project("p", 1, (Ied("SMGW001", "192.0.2.1", 102, (house(17, name="House 17"),)),)), "SMGW001"
    )
    assert_clean(xml)
    assert attributes(xml, "//@ldName") == []
    assert attributes(xml, "//s:LDevice/@desc") == ["House 17"]
    assert attributes(xml, "//s:Private[@type='meter61850:meter_id']/text()") == [meter_id(17)]
    device, gateway = read_cid(xml).devices
    assert (device.domain, device.inst, device.meter_id) == ("SMGW001M17", "M17", meter_id(17))
    assert (gateway.domain, gateway.inst, gateway.meter_id) == ("SMGW001GW", "GW", "")
    (plate_node,) = (node for node in device.nodes if node.name == "LPHD1")
    assert plate_node.values["PhyNam", "mRID"] == meter_id(17)


def test_names_of_an_old_deployment_are_ld_names() -> None:
    old = replace(house(17), ld_name="SM_" + meter_id(17).replace("-", ""))
    xml = build_cid(Project("p", 1, (Ied("SMGW001", "192.0.2.1", 102, (old, house(18))),)), "SMGW001")
    assert_clean(xml)
    named = [(device.domain, device.inst, device.meter_id) for device in read_cid(xml).devices]
    assert named[:2] == [(old.ld_name, "M17", meter_id(17)), ("SMGW001M18", "M18", meter_id(18))]


def test_a_device_that_is_nobodys_yet_names_no_meter() -> None:
    xml = build_cid(Project("p", 1, (Ied("A", "192.0.2.1", 102, (Meter("", "M1"), Meter("", "M2"))),)), "A")
    assert_clean(xml)
    assert [device.meter_id for device in read_cid(xml).devices] == ["", "", ""]


def test_no_resident_is_named() -> None:
    """The name of a resident reaches neither the types of a project nor its files."""
    assert "owner" not in {field.name for field in fields(Meter)}
    assert find(build_scd(project(7)), "//*[@name='owner']") == []


@pytest.mark.parametrize("count", [1, 5, 6, 50])
def test_what_many_meters_say_alike_stands_once(count: int) -> None:
    """From six meters on a shared type says it; the meters' values are the same either way."""
    odd = replace(meter(99), firmware="0.2.0")
    ied = Ied("A", "192.0.2.1", 102, (*(meter(n) for n in range(count)), odd))
    xml = build_cid(Project("p", 1, (ied,)), "A")
    said = attributes(xml, "//s:DAI[@name='vendor']/s:Val/text() | //s:DA[@name='vendor']/s:Val/text()")
    assert said.count("Peacefair") == (2 if count >= 6 else count + 1)
    cid = read_cid(xml)
    plates = [plate(device) for device in cid.devices[:-1]]
    assert plates == [("Peacefair", "0.1.0", "PZEM-004T v3")] * count + [
        ("Peacefair", "0.2.0", "PZEM-004T v3")
    ]


def plate(device: Device) -> tuple[str | None, ...]:
    """vendor, swRev and model as a server of this file has them."""
    (node,) = (node for node in device.nodes if node.name == "LPHD1")
    (name,) = (do for do in node.objects if do.name == "PhyNam")
    values = {attribute.name: attribute.value for attribute in name.attributes}
    return tuple(node.values.get(("PhyNam", key), values[key]) for key in ("vendor", "swRev", "model"))


def test_a_meter_that_joins_comes_last_in_every_data_set() -> None:
    numbers = [2, 10, 9, 11]
    ied = Ied("A", "192.0.2.1", 102, tuple(meter(n) for n in numbers), changes=7)
    xml = build_cid(Project("p", 1, (ied,)), "A")
    for name in ("dsVol", "dsWatt", "dsPos", "dsTotWh", "dsBeh"):
        members = attributes(xml, f"//s:DataSet[@name='{name}']/s:FCDA/@ldInst")
        assert members == ["M2", "M9", "M10", "M11"]
    assert attributes(xml, "//s:LDevice/@inst") == ["M2", "M9", "M10", "M11", "GW"]
    assert set(attributes(xml, "//s:ReportControl/@confRev")) == {"8"}


def test_bays_are_address_codes() -> None:
    codes = ["7530", "7530", "", "06 500", "06500", "Ç1", "Ç1", "x" * 300]
    meters = tuple(replace(meter(n), address_code=code) for n, code in enumerate(codes))
    xml = build_scd(Project("p", 1, (Ied("A", "192.0.2.1", 102, meters),)))
    assert_clean(xml)
    bays = {
        bay.get("name", ""): [node.get("ldInst") for node in bay]
        for bay in find(xml, "//s:Substation//s:Bay")
    }
    assert bays["Bay_7530"] == ["M0", "M1"]
    assert bays["Bay"] == ["M2"]
    assert bays["Bay_06500"] == ["M4"]
    assert sorted(map(len, bays.values())) == [1, 1, 1, 1, 2, 2]
    assert max(map(len, bays)) < 64


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: house(1, ld_name="SM-1"), "logical device name 'SM-1'"),
        (lambda: house(1, ld_name="S" * 65), "at most 64 characters"),
        (lambda: Meter("SM_1", "M1"), "meter_id 'SM_1': a UUID in lower case"),
        (lambda: Meter(meter_id(1), "M-1"), "logical device inst 'M-1'"),
        (lambda: Meter(meter_id(1), "GW"), "is the gateway's own"),
        (lambda: Ied("A" * 62, "192.0.2.1", 102, (house(10),)), "M10': at most 64 characters"),
        (lambda: Ied("A", "192.0.2.1", 102, tuple(map(meter, range(101)))), "A has 101 meters: at most 100"),
        (lambda: Ied("A", "192.0.2.1", 102, (), changes=0), "changes 0 of A"),
        (
            lambda: Project("p", 1, (Ied("A", "192.0.2.1", 102, (house(1), Meter(meter_id(2), "M1"))),)),
            "logical device 'AM1' occurs twice",
        ),
        (
            lambda: Project("p", 1, (Ied("A", "192.0.2.1", 102, (house(1), Meter(meter_id(1), "M2"))),)),
            f"meter_id '{meter_id(1)}' occurs twice",
        ),
        (
            lambda: Project(
                "p",
                1,
                (
                    Ied("A", "192.0.2.1", 102, (house(1),)),
                    Ied("B", "192.0.2.1", 103, (Meter(meter_id(2), "M1"),)),
                ),
            ),
            "logical device inst 'M1' occurs twice",
        ),
        (lambda: Ied("A-B", "192.0.2.1", 102, ()), "IED name 'A-B'"),
        (lambda: Ied("A" * 63, "192.0.2.1", 102, ()), "at most 62 characters"),
        (lambda: Ied("None", "192.0.2.1", 102, ()), "IED name 'None'"),
        (lambda: Ied("A", "localhost", 102, ()), "localhost"),
        (lambda: Ied("A", "192.0.2.1", 0, ()), "MMS port 0 of A"),
        (lambda: Project("p", 1, (), report_instances=0), "report instances 0"),
        (lambda: Project("p", 1, (), report_instances=100), "report instances 100"),
        (lambda: replace(project(1), ieds=(project(1).ieds[0],) * 2), "IED name 'SMGW001' occurs twice"),
        (
            lambda: Project("p", 1, (Ied("A", "192.0.2.1", 102, (meter(1), meter(1))),)),
            "occurs twice",
        ),
        (lambda: Project("p", 1, (), control_model="sbo"), "control model 'sbo'"),  # type: ignore[arg-type]
    ],
)
def test_impossible_values_are_refused(make: object, says: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=says):
        make()
