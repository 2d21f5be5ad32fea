"""What the standard allows is no error: prefixes, vendors' parts, comments, other editions, capabilities."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from scl_builder.check.checker import Finding, check
from scl_builder.check.diff import diff
from scl_builder.check.outline import parse
from scl_builder.read.cid import read_cid
from scl_builder.read.findings import Severity

FAULTS = Path(__file__).parent / "scl_faults"
CLEAN = (FAULTS / "clean.scd").read_text()
NS = "http://www.iec.ch/61850/2003/SCL"
VERSION = ' version="2007" revision="B" release="4"'


def changed(old: str, new: str) -> bytes:
    """The clean file with one change."""
    assert old in CLEAN
    return CLEAN.replace(old, new, 1).encode()


def prefixed(xml: str, prefix: str) -> str:
    """The same file with ``prefix`` before the names of SCL's elements."""
    named = re.sub(r"<(/?)([A-Za-z0-9]+)(?=[\s>/])", rf"<\1{prefix}:\2", xml).replace(
        ':type="tP_', f':type="{prefix}:tP_'
    )
    return named.replace(f'xmlns="{NS}"', f'xmlns:{prefix}="{NS}"')


def errors(xml: bytes) -> list[Finding]:
    """Findings that are errors."""
    return [found for found in check(xml) if found.severity is Severity.ERROR]


@dataclass(frozen=True)
class Part:
    """Something that means nothing to SCL, and where it goes."""

    kind: str
    element: int
    place: int

    def put_into(self, elements: list[etree._Element]) -> None:
        """Insert it between two children of an element, or into its text."""
        parent = elements[self.element % len(elements)]
        part = PARTS[self.kind]()
        if len(parent):
            parent.insert(self.place % (len(parent) + 1), part)
            return
        text = parent.text or ""
        at = self.place % (len(text) + 1)
        parent.text, part.tail = text[:at], text[at:]
        parent.append(part)


def _vendor() -> etree._Element:
    return etree.fromstring('<v:IED xmlns:v="http://v.example/1" name="A"><v:LDevice/>x</v:IED>')


def _without_prefix() -> etree._Element:
    return etree.fromstring(f'<Val xmlns="urn:v*"><LN xmlns="{NS}" lnClass="LLN0"/><!-- c --></Val>')


PARTS: dict[str, Callable[[], etree._Element]] = {
    "comment": lambda: etree.Comment(" <IED/> "),
    "instruction": lambda: etree.ProcessingInstruction("v", "x"),
    "vendor": _vendor,
    "without prefix": _without_prefix,
}
PLACES = st.builds(Part, st.sampled_from(sorted(PARTS)), st.integers(0, 10_000), st.integers(0, 30))


def decorated(parts: list[Part], prefix: str) -> bytes:
    """The clean file with ``parts`` in it."""
    text = prefixed(CLEAN, prefix) if prefix else CLEAN
    root = etree.fromstring(text.encode(), etree.XMLParser(remove_comments=True))
    elements = list(root.iter("*"))
    for part in parts:
        part.put_into(elements)
    return etree.tostring(root.getroottree(), xml_declaration=True, encoding="UTF-8")


def served(xml: bytes) -> object:
    """What an MMS server of the file would have."""
    cid = read_cid(xml)
    nodes = [
        (device.domain, node.name, node.objects, dict(node.values), node.data_sets, node.reports)
        for device in cid.devices
        for node in device.nodes
    ]
    return cid.ied, cid.endpoint, cid.max_associations, nodes


@settings(max_examples=150)
@given(st.lists(PLACES, max_size=6), st.sampled_from(["", "scl", "ns0", "v"]))
def test_parts_that_mean_nothing_are_no_error_and_no_difference(parts: list[Part], prefix: str) -> None:
    xml = decorated(parts, prefix)
    found = check(xml)
    assert {finding.rule for finding in found} <= {"vendor"}
    assert all(finding.severity is Severity.WARNING for finding in found)
    assert all(0 < finding.line <= xml.count(b"\n") + 1 for finding in found)
    assert diff(parse(CLEAN.encode()), parse(xml)) == []
    assert served(xml) == served(CLEAN.encode())


@settings(max_examples=60)
@given(st.lists(PLACES, max_size=4), st.sampled_from(["", "scl", "v"]), st.sampled_from(["Wrong", "lnClass"]))
def test_an_error_is_found_among_them_at_its_line(parts: list[Part], prefix: str, name: str) -> None:
    """A schema error, whatever the prefix and whatever stands beside it; its line is that of its tag."""
    xml = decorated(parts, prefix)
    tag = f"{prefix}:Header" if prefix else "Header"
    xml = xml.replace(f"<{tag} ".encode(), f'<{tag} {name}="x" '.encode(), 1)
    line = xml[: xml.index(f'{name}="x"'.encode())].count(b"\n") + 1
    assert [(finding.rule, finding.line) for finding in errors(xml)] == [("schema", line)]


@pytest.mark.parametrize("prefix", ["scl", "s", "IEC61850"])
def test_every_fault_of_a_prefixed_file_is_told(prefix: str) -> None:
    for path in sorted(FAULTS.glob("*.scd")):
        if path.name in ("not_well_formed.scd", "doctype.scd"):
            continue
        plain = [(found.rule, found.line, found.severity) for found in check(path.read_bytes())]
        told = check(prefixed(path.read_text(), prefix).encode())
        assert [(found.rule, found.line, found.severity) for found in told] == plain, path.name


def test_several_prefixes_of_one_name_space() -> None:
    xml = prefixed(CLEAN, "a").replace(f'xmlns:a="{NS}"', f'xmlns:a="{NS}" xmlns:b="{NS}"')
    xml = xml.replace('<a:LN lnClass="MMXN"', '<b:LN wrong="x" lnClass="MMXN"')
    line = xml[: xml.index("wrong=")].count("\n") + 1
    assert [(found.rule, found.line) for found in errors(xml.encode())] == [("schema", line)]


def test_a_type_without_the_prefix_is_a_warning() -> None:
    """xsi:type is a qualified name, which tools forget when they write prefixes."""
    xml = prefixed(CLEAN, "scl").replace('"scl:tP_IP"', '"tP_IP"')
    (found,) = check(xml.encode())
    assert (found.rule, found.severity) == ("address", Severity.WARNING)
    assert "scl:tP_IP" in found.cure
    assert [found.rule for found in errors(changed('"tP_IP"', '"tP_Nothing"'))] == ["schema"]


def test_whatever_stands_in_private_is_nobodys() -> None:
    inside = f'<Private type="v"><IED name="A b"><LN/></IED><s:Val xmlns:s="{NS}"/>text</Private>'
    assert check(changed("<Header ", inside + "<Header ")) == []
    assert check(changed('<LN0 lnClass="LLN0" inst="" lnType="LLN0">',
                         '<LN0 lnClass="LLN0" inst="" lnType="LLN0">' + inside)) == []  # fmt: skip


def test_vendors_attributes_are_no_error() -> None:
    vendor = 'xmlns:v="urn:v" v:x="1" '
    assert check(changed("<IED ", f"<IED {vendor}")) == []
    found = check(changed("<FCDA ", f"<FCDA {vendor}"))
    assert [(finding.rule, finding.severity) for finding in found] == [("vendor", Severity.WARNING)]


def test_many_vendor_elements_do_not_take_long() -> None:
    many = '<v:a xmlns:v="urn:v"/>' * 20_000
    found = check(changed("<Header ", f"{many}<Header "))
    assert found == []
    deep = '<v:a xmlns:v="urn:v">' + "<v:a>" * 1_500 + "</v:a>" * 1_501
    assert check(changed("<Header ", f"{deep}<Header ")) == []


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (' xsi:schemaLocation="http://www.iec.ch/61850/2003/SCL SCL.xsd"', "", "version"),
        (' xsi:type="tP_MMS-Port"', "", "address"),
        (' xsi:type="tP_IP"', "", "address"),
        (' xsi:type="tP_MMS-Port"', ' xsi:type="tP"', "address"),
        ("<FileHandling", '<GOOSE max="8"/><FileHandling', "services"),
        ("<FileHandling", '<GSSE max="8"/><FileHandling', "services"),
        ("<FileHandling", '<SMVsc max="2"/><FileHandling', "services"),
    ],
)
def test_what_is_allowed_is_a_hint(old: str, new: str, rule: str) -> None:
    found = check(changed(old, new))
    assert [(finding.rule, finding.severity) for finding in found] == [(rule, Severity.HINT)]


@pytest.mark.parametrize(
    ("file", "rule"),
    [
        ("connected_ap_missing.scd", "connected-ap"),
        ("ctl_model_without_value.scd", "control"),
        ("ip_missing.scd", "address"),
        ("ld_ns_wrong.scd", "ld-ns"),
        ("ln_class_unknown.scd", "ln-class"),
        ("rpt_enabled_missing.scd", "rpt-enabled"),
        ("services_name_length.scd", "services"),
        ("services_without_reports.scd", "services"),
        ("trigger_missing.scd", "trigger"),
    ],
)
def test_what_the_schema_allows_and_tools_stumble_over_is_a_warning(file: str, rule: str) -> None:
    found = check((FAULTS / file).read_bytes())
    assert [(finding.rule, finding.severity) for finding in found] == [(rule, Severity.WARNING)]


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('<Header id="faults"', '<Header id=""', "header"),
        ('lnClass="MMXN" lnInst="1" doName="Vol" fc="MX"', 'lnClass="MMXN" lnInst="1" fc="MX"', "fcda"),
    ],
)
def test_what_may_be_left_out_is_a_warning(old: str, new: str, rule: str) -> None:
    found = check(changed(old, new))
    assert [(finding.rule, finding.severity) for finding in found] == [(rule, Severity.WARNING)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('<EnumType id="HealthKind">', '<EnumType id="HealthKind"><EnumVal ord="-1">Starting</EnumVal>'),
        (
            '<EnumType id="HealthKind">',
            '<EnumType id="HealthKind">'
            + "".join(f'<EnumVal ord="{-n}">Private{n}</EnumVal>' for n in range(1, 20)),
        ),
        ('<P type="MMS-Port"', '<P type="X-own">7</P><P type="MMS-Port"'),
    ],
)
def test_what_is_allowed_is_nothing(old: str, new: str) -> None:
    assert check(changed(old, new)) == []


@pytest.mark.parametrize("ordinal", ["4", "9", ""])
def test_a_private_literal_that_is_not_negative_is_an_error(ordinal: str) -> None:
    new = f'<EnumType id="HealthKind"><EnumVal ord="{ordinal}">Starting</EnumVal>'
    assert errors(changed('<EnumType id="HealthKind">', new))


EDITIONS = [
    "",
    ' version="2003" revision="A"',
    ' version="2007" revision="A"',
    ' version="2007" revision="B"',
    *(f' version="2007" revision="B" release="{release}"' for release in (1, 2, 3, 5, 6, 12)),
    ' version="2007" revision="C" release="5"',
    ' version="2019" revision="A" release="1"',
]


@pytest.mark.parametrize("written", EDITIONS)
def test_each_edition_is_judged_by_itself(written: str) -> None:
    found = check(changed(VERSION, written))
    assert [(finding.rule, finding.severity) for finding in found] == [("version", Severity.HINT)]


@pytest.mark.parametrize(
    "written", [' version="banana"', ' version="2007" revision="B" release="0"',
                ' version="2007" revision="b" release="x"', ' version="1999"']
)  # fmt: skip
def test_what_is_no_edition_is_an_error(written: str) -> None:
    assert [finding.rule for finding in errors(changed(VERSION, written))] == ["version"]


@pytest.mark.parametrize(
    ("written", "severity"),
    [
        ("", Severity.WARNING),
        (' version="2007" revision="A"', Severity.WARNING),
        (' version="2007" revision="B" release="3"', Severity.ERROR),
        (VERSION, Severity.ERROR),
        (' version="2007" revision="B" release="5"', Severity.WARNING),
    ],
)
def test_only_its_own_schema_makes_an_error(written: str, severity: Severity) -> None:
    xml = changed(VERSION, written).replace(b"<Header ", b'<Header newer="x" ')
    assert [found.severity for found in check(xml) if found.rule == "schema"] == [severity]


@pytest.mark.parametrize("written", EDITIONS)
def test_a_dangling_reference_is_an_error_in_every_edition(written: str) -> None:
    xml = changed(VERSION, written).replace(b'name="Hz" type="MV_Hz"', b'name="Hz" type="Nothing"')
    assert [found.rule for found in errors(xml)] == ["dangling"]


def test_edition_1_has_other_tables() -> None:
    """INS for Beh, a spelling of its own, no ldNs of 2007: right in 2003, wrong in 2007."""
    first = CLEAN.replace('cdc="ENS"', 'cdc="INS"').replace("IEC 61850-7-4:2007B", "IEC 61850-7-4:2003")
    assert errors(first.encode())
    assert errors(first.replace(VERSION, "").encode()) == []


def test_one_address_in_two_subnetworks() -> None:
    start, end = CLEAN.index("<SubNetwork"), CLEAN.index("</SubNetwork>") + len("</SubNetwork>")
    other = re.sub(r'<SubNetwork name="[^"]*"', '<SubNetwork name="Other"', CLEAN[start:end])
    other = other.replace('apName="AP1"', 'apName="AP2"')
    xml = CLEAN[:end] + other + CLEAN[end:]
    xml = xml.replace("</AccessPoint>\n</IED>", '</AccessPoint>\n<AccessPoint name="AP2"/>\n</IED>')
    assert check(xml.encode()) == []
