"""The topology file and the Substation sections that follow it."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from typer.testing import CliRunner

from admin.commands.scl import app
from scl_builder.build.builder import build_cid, build_scd
from scl_builder.build.project import Ied, Meter, Project
from scl_builder.build.single_line import placed, unmet
from scl_builder.check.checker import check
from scl_builder.model.logical_devices import profile_of
from scl_builder.model.topology import Topology
from scl_builder.read.topology_file import TopologyError, read_topology

NS = {"s": "http://www.iec.ch/61850/2003/SCL"}
EXAMPLE = Path(__file__).parents[2] / "docs" / "topology.example.toml"
THREE_PHASE = profile_of(("power_l1", "power_l2", "energy"))
SITE = '[[substation]]\nname = "Mill"\n[[substation.transformer]]\nname = "T1"\n'
FEEDER = f'{SITE}[[substation.transformer.feeder]]\nname = "F1"\n'


def meter(number: int, **fields: object) -> Meter:
    """Number ``number`` in House ``number``."""
    told: dict[str, object] = {"name": f"House {number}", "address_code": "7530" if number > 3 else "1"}
    return Meter(str(uuid.UUID(int=number)), f"M{number}", **(told | fields))  # type: ignore[arg-type]


def town(topology: Topology | None) -> Project:
    """Six houses in two IEDs: one without a relay, one with three phases, one with a hostile name."""
    first = (meter(1), meter(2, relay=False), meter(3, profile=THREE_PHASE), meter(4, name='<&"\x00ı'))
    ieds = (
        Ied("SMGW001", "192.0.2.1", 102, first),
        Ied("SMGW002", "192.0.2.1", 103, (meter(5), meter(6, address_code="9"))),
    )
    return Project("town", 1, ieds, topology=topology)


def find(xml: bytes, path: str) -> list[etree._Element]:
    """What ``path`` finds in the file."""
    found = etree.fromstring(xml).xpath(path, namespaces=NS)
    assert isinstance(found, list)
    return found


def test_the_example_makes_a_clean_scd_with_every_meter_once() -> None:
    topology = read_topology(EXAMPLE.read_text())
    xml = build_scd(town(topology))
    assert check(xml) == []
    at = "//s:ConductingEquipment[.//s:LNode] | //s:Bay/s:LNode"
    insts = [
        {str(node.get("ldInst")) for node in place.iter(f"{{{NS['s']}}}LNode")} for place in find(xml, at)
    ]
    assert sorted(insts, key=sorted) == [{f"M{number}"} for number in range(1, 7)]
    assert [site.get("name") for site in find(xml, "/s:SCL/s:Substation")] == ["Mill", "SMGW002_Site"]
    assert [node.get("ldInst") for node in find(xml, "//s:Substation[2]//s:LNode")] == ["M6"]


def test_a_diagram_can_be_drawn_from_it() -> None:
    """From the infeed all equipment is reached over terminals and connectivity nodes."""
    xml = build_scd(town(read_topology(EXAMPLE.read_text())))
    nodes = {str(node.get("pathName")) for node in find(xml, "//s:ConnectivityNode")}
    ends: dict[str, set[str]] = {}
    for terminal in find(xml, "//s:Terminal"):
        parent = terminal.getparent()
        assert parent is not None
        if "TransformerWinding" in str(parent.tag):  # the windings of one transformer
            parent = parent.getparent()
            assert parent is not None
        place = parent.getroottree().getpath(parent)
        ends.setdefault(place, set()).add(str(terminal.get("connectivityNode")))
    assert set().union(*ends.values()) <= nodes
    reached = {"Mill/HV/T1/Node"}
    for _ in nodes:
        reached |= set().union(*(found for found in ends.values() if found & reached))
    assert reached == nodes
    assert len(ends) == 1 + 1 + 2 + 5, "infeed, transformer, two feeders, five meters"


def test_lnodes_name_types_that_exist_and_that_the_ied_has() -> None:
    xml = build_scd(town(read_topology(EXAMPLE.read_text())))
    served = {
        (ied.get("name"), device.get("inst"), node.get("lnClass"), node.get("inst"), node.get("lnType"))
        for ied in find(xml, "//s:IED")
        for device in ied.iter(f"{{{NS['s']}}}LDevice")
        for node in device
    }
    rows = find(xml, "//s:Substation[@name='Mill']//s:LNode")
    keys = ("iedName", "ldInst", "lnClass", "lnInst", "lnType")
    assert {tuple(row.get(key) for key in keys) for row in rows} <= served
    assert len(rows) == 4 * 4 + 2, "measurement, register, control and switch; of House 2 no switch"


def test_phases_and_kinds_of_equipment() -> None:
    xml = build_scd(town(read_topology(EXAMPLE.read_text())))
    rows = find(xml, "//s:ConductingEquipment[s:Terminal and @name!='Line' and @name!='Infeed']")
    phases = {
        row.get("name"): [str(part.get("phase")) for part in row.findall("s:SubEquipment", NS)]
        for row in rows
    }
    assert phases == {
        "SMGW001M1": ["A"], "SMGW001M2": ["B"], "SMGW001M3": [], "SMGW001M4": [], "SMGW002M5": [],
    }  # fmt: skip
    kinds = {row.get("name"): row.get("type") for row in rows}
    assert {name for name, kind in kinds.items() if kind == "CTR"} == {"SMGW001M2"}
    assert set(kinds.values()) == {"CTR", "DIS"}


def test_a_topology_changes_no_cid_and_without_one_all_is_as_before() -> None:
    topology = read_topology(EXAMPLE.read_text())
    plain, drawn = town(None), town(topology)
    assert build_cid(plain, "SMGW001") == build_cid(drawn, "SMGW001")
    assert [site.get("name") for site in find(build_scd(plain), "/s:SCL/s:Substation")] == [
        "SMGW001_Site",
        "SMGW002_Site",
    ]
    assert build_scd(drawn) == build_scd(replace(drawn, ieds=drawn.ieds[::-1])), "the same bytes in any order"


def test_the_number_counts_before_the_name_and_the_name_before_the_code() -> None:
    text = (
        FEEDER + 'meters = ["code:7530"]\nphase.A = ["House 5"]\nphase.B = ["SMGW001/M4", "House 4", "M99"]\n'
    )
    topology = read_topology(text)
    ieds = town(None).ieds
    found = {place.phase: [one.inst for one in meters] for place, meters in placed(topology, ieds).items()}
    assert found == {"A": ["M5"], "B": ["M4"]}
    assert [str(choice) for choice in unmet(topology, ieds)] == ["name:House 4", "number:M99"]


def test_the_meter_of_a_whole_feeder_is_no_house_and_changes_nothing_else() -> None:
    houses = FEEDER + 'meters = ["code:7530"]\n'
    with_own = houses.replace("meters", 'own_meter = "House 5"\nmeters')
    with_own = with_own.replace('name = "T1"', 'name = "T1"\nown_meter = "M77"')
    topology = read_topology(with_own)
    (transformer,) = topology.sites[0].transformers
    assert str(transformer.own_meter) == "number:M77"
    assert [str(one.own_meter) for one in transformer.feeders] == ["name:House 5"]
    ieds = town(None).ieds
    assert [[one.inst for one in found] for found in placed(topology, ieds).values()] == [["M4"]]
    assert [str(one) for one in unmet(topology, ieds)] == ["number:M77"]
    nobody = read_topology(houses.replace("meters", 'own_meter = "M88"\nmeters'))
    assert build_scd(town(nobody)) == build_scd(town(read_topology(houses))), "it is not in the SCD"


TRANSFORMER, ON_FEEDER = "substation.transformer", "substation.transformer.feeder"
WRONG = {
    "a = 1": "line 1: a = 1: no such key: substation",
    "": "line 1: there is no [[substation]]",
    "x = [": "not TOML: ",
    "x = " + "[" * 9000: "not TOML",
    '[[substation]]\nname = "A"': f"line 1: {TRANSFORMER} is missing: a substation has one or more",
    SITE.replace('name = "T1"', ""): f"line 3: {TRANSFORMER}.name is missing: letters and digits",
    SITE.replace("Mill", "Mühle"): "line 2: substation.name = 'Mühle': letters and digits",
    SITE.replace('"Mill"', '"Mill"\nhigh_kv = true'): "line 3: substation.high_kv = true: kilovolts",
    SITE + SITE: "line 6: substation.name = 'Mill': another name: line 2 has this one",
    SITE + "feeder = 3": f"line 5: {ON_FEEDER} = 3: tables: [[{ON_FEEDER}]]",
    FEEDER + 'cable = "yes"': f"line 7: {ON_FEEDER}.cable = 'yes': true or false",
    FEEDER + 'meters = "House 1"': f"line 7: {ON_FEEDER}.meters = 'House 1': a list: [",
    FEEDER + "meters = [\n7]": f"line 7: {ON_FEEDER}.meters = 7: text",
    FEEDER + 'meters = [\n"M1",\n"number:7"]': f"line 9: {ON_FEEDER}.meters = 'number:7': a number is M17",
    FEEDER
    + 'meters = ["M1"]\nphase.B = ["M1"]': f"line 8: {ON_FEEDER}.phase.B = 'M1': a meter is in one place"
    "; line 7 has it too",
    FEEDER + 'phase.D = ["M1"]': f"line 7: {ON_FEEDER}.phase.D = ['M1']: no such key: A, B, C",
    FEEDER + 'own_meter = "code:7530"': f"line 7: {ON_FEEDER}.own_meter = 'code:7530': one meter",
    FEEDER + "own_meter = []": f"line 7: {ON_FEEDER}.own_meter = []: text",
    FEEDER + 'own_meter = "M1"\nmeters = ["M1"]': f"line 7: {ON_FEEDER}.own_meter = 'M1': a meter is in one",
    FEEDER + "phase = 3": f"line 7: {ON_FEEDER}.phase = 3: a table",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_file_is_told_with_line_key_value_and_what_is_right(text: str) -> None:
    with pytest.raises(TopologyError) as error:
        read_topology(text)
    assert WRONG[text] in str(error.value)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
_LINES = st.lists(
    st.sampled_from(("[[substation]]", "[[substation.transformer]]", "[[substation.transformer.feeder]]"))
    | st.tuples(
        st.sampled_from(("name", "desc", "high_kv", "cable", "meters", "phase.A", "phase", "x")), _VALUES
    ).map(lambda pair: f"{pair[0]} = {repr(pair[1]).replace('None', '{}').lower()}"),
    max_size=12,
)


@settings(deadline=None, max_examples=300)
@given(_LINES)
def test_whatever_the_file_says_it_is_read_or_told(lines: list[str]) -> None:
    said = ""
    try:
        topology = read_topology("\n".join(lines))
    except TopologyError as error:
        said = str(error)
    assert said.startswith(("line ", "not TOML: ")) or build_scd(town(topology))


def test_the_command_checks_a_file(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["topology", str(EXAMPLE)])
    assert (done.exit_code, "1 substation, 1 transformer, 2 feeders" in done.output) == (0, True)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(FEEDER + "meters = [7]")
    done = CliRunner().invoke(app, ["topology", str(wrong)])
    assert (done.exit_code, "line 7" in done.output) == (1, True)
