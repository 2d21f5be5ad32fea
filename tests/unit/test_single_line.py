"""The single-line diagram: what is read from an SCD, and what the page shows of it."""

from __future__ import annotations

import re
import uuid
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import anyio
import httpx
import pytest

import web.feeders
from broker.contract.topics import Topic, Topics
from scl_builder.build.builder import build_scd
from scl_builder.build.project import Ied, Meter, Project
from scl_builder.read.scl_xml import NoXmlError
from scl_builder.read.single_line import Feeder, SingleLine, Substation, Tap, Transformer, read_single_line
from scl_builder.read.topology_file import read_topology
from tests.support.bridges import birth, reading, stamp
from tests.unit.test_scl_topology import EXAMPLE, town
from web.app import make_app
from web.archive import Archive
from web.auth.accounts import Accounts, Role
from web.feeders import Feeders
from web.live.hub import Hub
from web.live.state import Live
from web.pages.single_line import ELSEWHERE, MOST, Chosen, Diagram, Line
from web.parts import Parts
from web.run import make_parts
from web.serving.problem import ProblemError
from web.settings import WebSettings

FIRST_VIEW = 200_000
"""Octets of a page."""
SITE = """<Substation name="S"><PowerTransformer name="T" type="PTR">
<TransformerWinding name="W1" type="PTW"><Terminal connectivityNode="S/H/A/N" voltageLevelName="H"/></TransformerWinding>
<TransformerWinding name="W2" type="PTW"><Terminal connectivityNode="S/L/B/N" voltageLevelName="L"/></TransformerWinding>
</PowerTransformer>
<VoltageLevel name="H"><Bay name="A"><ConnectivityNode name="N" pathName="S/H/A/N"/></Bay></VoltageLevel>
<VoltageLevel name="L">{}</VoltageLevel></Substation>"""  # noqa: E501
LINE = """<Bay name="{name}"><ConductingEquipment name="Line" type="LIN">
<Terminal connectivityNode="{begin}"/><Terminal connectivityNode="S/L/{name}/N"/></ConductingEquipment>
<ConductingEquipment type="DIS"><LNode iedName="I" ldInst="{name}" lnClass="XSWI"/></ConductingEquipment>
<LNode iedName="None" lnClass="CSWI"/><ConnectivityNode name="N" pathName="S/L/{name}/N"/></Bay>"""


def scd(sections: str) -> bytes:
    """A file with these sections."""
    space = "http://www.iec.ch/61850/2003/SCL"
    return f'<SCL xmlns="{space}"><Header id="x"/>{sections}<IED name="I"/></SCL>'.encode()


def test_the_example_is_read_as_it_was_drawn() -> None:
    line = read_single_line(build_scd(town(read_topology(EXAMPLE.read_text()))))
    first = Tap("SMGW001", "M1", "House 1", "A", switch=True)
    mill = (
        Feeder("Mill/LV/T1_F1", "Mill Lane", "overhead line", (
            Tap("SMGW001", "M3", "House 3", "", switch=True), first,
            Tap("SMGW001", "M2", "House 2", "B", switch=False),
        )),
        Feeder("Mill/LV/T1_F2", "", "cable", (
            Tap("SMGW001", "M4", '<&"ı', "", switch=True), Tap("SMGW002", "M5", "House 5", "", switch=True),
        )),
    )  # fmt: skip
    transformer = Transformer("T1", "400 kVA", "34.5 kV", "0.4 kV", mill)
    assert line.substations == (Substation("Mill", "Transformer house at the mill", (transformer,)),)
    assert line.elsewhere == (Tap("SMGW002", "M6", "SMGW002M6", "", switch=True),)


def test_without_a_topology_nothing_is_drawn() -> None:
    line = read_single_line(build_scd(town(None)))
    assert line.substations == ()
    assert [tap.device for tap in line.elsewhere] == [
        *(f"SMGW001M{n}" for n in (1, 2, 3, 4)), "SMGW002M5", "SMGW002M6",
    ]  # fmt: skip


def test_a_feeder_is_one_by_its_connection_and_not_by_its_name() -> None:
    bays = LINE.format(name="C", begin="S/L/B/N") + LINE.format(name="D", begin="S/L/Z/N")
    line = read_single_line(scd(SITE.format(bays)))
    ((transformer,),) = (site.transformers for site in line.substations)
    assert [(one.path, [tap.device for tap in one.taps]) for one in transformer.feeders] == [
        ("S/L/C", ["IC"])
    ]
    assert [tap.device for tap in line.elsewhere] == ["ID"]
    assert (transformer.high, transformer.low) == ("", ""), "no level has a voltage"


@pytest.mark.parametrize("xml", [b"", b"<SCL", b"<!DOCTYPE a><a/>", scd("</Substation>")])
def test_what_is_no_xml_is_said(xml: bytes) -> None:
    with pytest.raises(NoXmlError):
        read_single_line(xml)


def test_an_scd_is_read_once_and_only_as_far_as_its_substations(monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[bytes]()

    def counted(xml: bytes) -> SingleLine:
        read.append(xml)
        return read_single_line(xml)

    monkeypatch.setattr(web.feeders, "read_single_line", counted)
    whole = build_scd(town(read_topology(EXAMPLE.read_text())))
    cut, wrong = whole[: whole.index(b"<IED")], whole[: whole.index(b"T1_F2")]
    live = Live(Topics(), Hub())
    feeders = Feeders(live)
    assert (feeders.line(), feeders.of(1)) == (SingleLine(), None)
    live.scd = cut
    assert feeders.line() == read_single_line(whole)
    assert [feeders.of(number) for number in (1, 5, 6)] == ["Mill/LV/T1_F1", "Mill/LV/T1_F2", None]
    assert feeders.numbers("Mill/LV/T1_F1") == {1, 2, 3}
    live.scd = wrong
    assert [feeders.line(), feeders.line(), feeders.of(1)] == [None, None, None]
    assert read == [cut, wrong]
    with pytest.raises(ProblemError, match="no feeder"):
        feeders.numbers("Mill/LV/T1_F1")


@cache
def houses(count: int) -> tuple[tuple[Ied, ...], bytes]:
    """IEDs with so many houses of one address code, and the SCD with the example's topology."""
    meters = [
        Meter(meter_id(n), f"M{n}", name=f"House {n}", address_code="7530") for n in range(1, count + 1)
    ]
    ieds = tuple(
        Ied(f"SMGW{first:04}", "192.0.2.1", 102 + first, tuple(meters[first : first + 100]))
        for first in range(0, count, 100)
    )
    return ieds, build_scd(Project("town", 1, ieds, topology=read_topology(EXAMPLE.read_text())))


def large(folder: Path, count: int) -> tuple[Parts, str]:
    """The parts of a web with so many houses, each third of another state, and an observer's token."""
    settings = WebSettings(users=folder / "users.json", database_url=f"sqlite:///{folder}/none.sqlite")
    parts = make_parts(settings)
    live = parts.live
    live.connected(True)
    ieds, live.scd = houses(count)
    for ied in ieds:
        for meter in ied.meters:
            live.devices[f"{ied.name}{meter.inst}"] = meter.meter_id
            appears(live, meter)
    return parts, Accounts(settings.users).add_token("program", Role.OBSERVER)


def appears(live: Live, meter: Meter) -> None:
    """House 1, 4, … online, 2, 5, … offline, 3, 6, … stale."""
    third = int(meter.inst[1:]) % 3
    told = birth(name=meter.name, address_code="7530", interval=3600)
    status = f'{{"online": {"false" if third == 2 else "true"}, "session": "s1", "ts": "{stamp()}"}}'
    for kind, payload in (("birth", told), ("status", status)):
        live.handlers[kind](Topic(kind, meter.meter_id), payload.encode(), retained=True)
    if third == 1:
        live.handlers["reading"](
            Topic("reading", meter.meter_id), reading(1, power=1000.0).encode(), retained=False
        )


def meter_id(number: int) -> str:
    """Of a house."""
    return str(uuid.UUID(int=(0xC << 124) + (4 << 76) + (8 << 60) + number))


def feeders(parts: Parts, chosen: Chosen = Chosen()) -> dict[str, Line]:  # noqa: B008 - frozen
    """The lines that are shown, by key."""
    assert parts.live.scd is not None
    diagram = Diagram(parts.live, read_single_line(parts.live.scd), chosen)
    lines = [line for site in diagram.sites() for one in site["transformers"] for line in one["lines"]]
    return {line.key: line for line in (*lines, diagram.elsewhere())}


def names(line: Line) -> list[str]:
    """The meters that are shown."""
    return [point.name for _, points in line.phases for point in points]


def test_a_thousand_meters_are_folded_and_found(tmp_path: Path) -> None:
    parts, _ = large(tmp_path, 1000)
    folded = feeders(parts)
    assert list(folded) == ["Mill/LV/T1_F1", "Mill/LV/T1_F2", ELSEWHERE]
    assert [names(line) for line in folded.values()] == [[], [], []]
    counts = folded["Mill/LV/T1_F2"].counts
    told = ("meters", "online", "offline", "stale", "unknown", "power")
    assert [counts[name] for name in told] == [997, 333, 332, 332, 0, 333_000.0]
    shown = feeders(parts, Chosen("Mill/LV/T1_F2"))["Mill/LV/T1_F2"]
    assert (names(shown)[:2], len(names(shown)), shown.found) == (["House 4", "House 5"], MOST, 997)
    last = feeders(parts, Chosen("Mill/LV/T1_F2", start=900))["Mill/LV/T1_F2"]
    assert (names(last)[-1], len(names(last))) == ("House 1000", 97)
    some = feeders(parts, Chosen("Mill/LV/T1_F2", search="house 99", state="offline"))["Mill/LV/T1_F2"]
    assert names(some) == ["House 992", "House 995", "House 998"]
    assert feeders(parts, Chosen("Mill/LV/T1_F2", start=5000))["Mill/LV/T1_F2"].phases == []


def test_a_few_are_all_shown_by_phase_and_name(tmp_path: Path) -> None:
    parts, _ = large(tmp_path, 12)
    lines = feeders(parts)
    assert [phase for phase, _ in lines["Mill/LV/T1_F1"].phases] == ["A", "B", ""]
    assert names(lines["Mill/LV/T1_F2"]) == [f"House {n}" for n in range(4, 13)]
    parts.live.devices.clear()  # the registry has not been read yet
    line = feeders(parts)["Mill/LV/T1_F1"]
    assert names(line) == ["House 1", "House 2", "House 3"]
    assert (line.counts["meters"], line.counts["unknown"]) == (0, 3)


def page(parts: Parts, token: str, path: str) -> str:
    """The page as an observer has it; AssertionError unless 200."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(make_app(parts, None))
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/html"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers=headers
        ) as client:
            return await client.get(path)

    answer = anyio.run(asked)
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.fixture
def no_revisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store without any."""
    monkeypatch.setattr(Archive, "store", SimpleNamespace(revisions=lambda last: []))


@pytest.mark.usefixtures("no_revisions")
def test_the_page_of_a_thousand_meters_is_small_and_obeys_its_policy(tmp_path: Path) -> None:
    parts, token = large(tmp_path, 1000)
    for path, points in (("/scl", 0), ("/scl?feeder=Mill/LV/T1_F2", MOST)):
        told = page(parts, token, path)
        assert len(told) < FIRST_VIEW
        assert len(re.findall("data-meter=", told)) == points
        assert not re.search(r"\sstyle=|<style|\son\w+=", told)
    assert "1 to 100 of 997" in told
    assert 'href="/scl?feeder=Mill%2FLV%2FT1_F2&amp;start=100#feeder"' in told


@pytest.mark.usefixtures("no_revisions")
def test_names_of_the_file_are_text(tmp_path: Path) -> None:
    parts, token = large(tmp_path, 3)
    parts.live.scd = build_scd(town(read_topology(EXAMPLE.read_text().replace("Mill Lane", "<b>Lane</b>"))))
    told = page(parts, token, "/scl")
    assert "<bdi>&lt;b&gt;Lane&lt;/b&gt;</bdi>" in told
    assert "<bdi>&lt;&amp;&#34;ı</bdi>" in told, "a house that is not known yet has the name of the SCD"


@pytest.mark.usefixtures("no_revisions")
@pytest.mark.parametrize(
    ("published", "words"),
    [
        (None, "METER61850_TOPOLOGY"),
        (build_scd(town(None)), "METER61850_TOPOLOGY"),
        (b"<SCL", "The published SCD cannot be read."),
    ],
    ids=["none", "no-topology", "no-xml"],
)
def test_without_a_diagram_the_page_says_how_to_get_one(
    tmp_path: Path, published: bytes | None, words: str
) -> None:
    parts, token = large(tmp_path, 3)
    parts.live.scd = published
    assert words in page(parts, token, "/scl")
