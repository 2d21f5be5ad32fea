"""The checker: a file for each fault, hostile input, and no false alarm.

A fault file says in its second line what is wrong with it and what the checker must say: the rule, the
line, and a text that the message must name.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scl_builder.check.checker import Finding, check

FAULTS = Path(__file__).parent / "scl_faults"
CLEAN = (FAULTS / "clean.scd").read_bytes()
EXPECTED = re.compile(r"<!-- fault: .+ \| rule: (\S+) \| line: (\d+) \| names: (.*?) -->")
NOT_SINGLE = {"clean.scd", "many_faults.scd"}
SINGLE = sorted(path.name for path in FAULTS.glob("*.scd") if path.name not in NOT_SINGLE)


def test_clean_file_has_no_finding() -> None:
    assert check(CLEAN) == []


def test_there_is_a_file_for_each_rule() -> None:
    """Every rule name that stands in the checker's source is shown by at least one file."""
    source = "".join(path.read_text() for path in (Path(__file__).parents[2] / "scl_builder").rglob("*.py"))
    rules = set(re.findall(r'found\.add\(\s*[\w.\[\]"]+,\s*"([\w-]+)"', source)) | {"xml", "schema"}
    shown = {found[1] for name in SINGLE if (found := EXPECTED.search((FAULTS / name).read_text()))}
    assert rules - shown == set()
    assert len(rules) > 25


@pytest.mark.parametrize("name", SINGLE)
def test_exactly_this_fault_is_found(name: str) -> None:
    xml = (FAULTS / name).read_bytes()
    expected = EXPECTED.search(xml.decode())
    assert expected is not None
    findings = check(xml)
    assert [(found.rule, found.line) for found in findings] == [(expected[1], int(expected[2]))]
    assert expected[3] in findings[0].message
    assert findings[0].cure
    assert "\n" not in str(findings[0])


def test_many_faults_are_all_told() -> None:
    """A hand-written template: every kind of fault in it is told, once for each place."""
    findings = check((FAULTS / "many_faults.scd").read_bytes())
    told = {(found.line, found.rule) for found in findings}
    assert told >= {
        (3, "version"), (5, "name"), (6, "connected-ap"), (7, "services"), (8, "services"), (12, "ln0"),
        (13, "value"), (16, "instance"), (16, "value"), (19, "ln-type"), (22, "fcda"), (23, "fcda"),
        (25, "conf-rev"), (25, "dat-set"), (25, "rpt-enabled"), (32, "order"), (43, "do-missing"),
        (45, "cdc"), (49, "cdc"), (50, "do-unknown"), (54, "dangling"), (56, "do-missing"), (62, "trigger"),
        (68, "enum"), (72, "ld-ns"), (76, "da-missing"), (79, "da-missing"), (80, "da-type"), (81, "da-fc"),
        (84, "da-type"), (88, "da-missing"), (92, "control"), (95, "dangling"), (97, "trigger"),
        (101, "enum"), (106, "order"),
    }  # fmt: skip
    assert len(findings) == len(set(findings))


def test_half_a_frozen_register_is_found() -> None:
    """Each group of attributes is whole (IEC 61850-7-3): frVal without frEna, frPd, frRs and frTm is none."""
    frozen = {"frVal": "INT64", "frTm": "Timestamp", "frEna": "BOOLEAN", "frPd": "INT32", "frRs": "BOOLEAN"}
    lines = [
        f'<DA name="{name}" fc="{"ST" if place < 2 else "CF"}" bType="{kind}"/>\n'
        for place, (name, kind) in enumerate(frozen.items())
    ]
    text, head = CLEAN.decode(), '<DOType id="BCR_Wh" cdc="BCR">\n'
    assert "da-missing" not in {one.rule for one in check(text.replace(head, head + "".join(lines)).encode())}
    half = [one for one in check(text.replace(head, head + lines[0]).encode()) if one.rule == "da-missing"]
    assert [one.message.partition("lacks ")[2].split(":")[0] for one in half] == ["frTm, frEna, frPd, frRs"]


def test_finding_is_one_line() -> None:
    assert str(Finding(7, "name", "bad name", "write a good one")) == (
        "line 7: bad name [name]; cure: write a good one"
    )


@pytest.mark.parametrize(
    "xml",
    [
        b"",
        b" \n ",
        b"\x00" * 100,
        b"{}",
        b"<SCL",
        b"<SCL>",
        b'<?xml version="1.0" encoding="klingon"?><SCL/>',
        b"\xff\xfe<\x00",
        b"<!-- no element -->",
        "<SCL>\udcff</SCL>".encode("utf-8", "surrogateescape"),
    ],
)
def test_what_is_no_xml_is_one_finding(xml: bytes) -> None:
    findings = check(xml)
    assert [found.rule for found in findings] == ["xml"]


def test_other_xml_is_told_from_scl() -> None:
    assert [found.rule for found in check(b"<html/>")] == ["version"]
    assert [found.rule for found in check(b"<SCL/>")] == ["version"]


LAUGHS = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 30))


@pytest.mark.parametrize(
    "doctype",
    [
        f'<!DOCTYPE SCL [<!ENTITY a0 "ha">{LAUGHS}]><SCL>&a29;</SCL>',
        '<!DOCTYPE SCL [<!ENTITY e SYSTEM "file:///etc/passwd">]><SCL>&e;</SCL>',
        '<!DOCTYPE SCL SYSTEM "http://192.0.2.1/scl.dtd"><SCL/>',
        '<!DOCTYPE SCL [<!ENTITY % p SYSTEM "file:///dev/zero">%p;]><SCL/>',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_document_type_definitions_are_refused(doctype: str, encoding: str) -> None:
    findings = check(f'<?xml version="1.0" encoding="{encoding}"?>\n{doctype}'.encode(encoding))
    assert [(found.rule, found.line) for found in findings] == [("xml", 2)]


def test_other_encodings_are_read() -> None:
    text = CLEAN.decode()
    utf16 = text.replace("UTF-8", "UTF-16").encode("utf-16")
    assert check(utf16) == []
    turkish = text.replace("UTF-8", "windows-1254").replace("Load Break", "Yük Ayırıcı")
    findings = check(turkish.encode("cp1254"))
    assert [found.rule for found in findings] == ["enum"]
    assert "Yük Ayırıcı" in findings[0].message


def test_deep_and_circular_files_end() -> None:
    deep = b"<SDI>" * 100_000
    assert [found.rule for found in check(b"<SCL>" + deep)] == ["xml"]
    chain = "".join(
        f'<DAType id="T{n}"><BDA name="b" bType="Struct" type="T{n + 1}"/></DAType>' for n in range(20_000)
    )
    text = CLEAN.decode().replace('<DAType id="Originator">', chain + '<DAType id="Originator">', 1)
    assert [found.rule for found in check(text.encode())] == ["dangling"]
    loop = text.replace('type="T20000"', 'type="T10000"')
    assert {found.rule for found in check(loop.encode())} == {"loop"}


def test_types_that_multiply_do_not_take_long() -> None:
    """Ten members of ten members of …: 10**40 leaves, and each type is looked at once."""
    laughs = "".join(
        f'<DAType id="T{n}">'
        + "".join(f'<BDA name="b{m}" bType="Struct" type="T{n + 1}"/>' for m in range(10))
        + "</DAType>"
        for n in range(40)
    )
    text = CLEAN.decode().replace('<DAType id="Originator">', laughs + '<DAType id="Originator">', 1)
    findings = check(text.replace('type="T40"', 'type="Originator"').encode())
    assert {found.rule for found in findings} <= {"mms-name"}


def test_lines_beyond_65535_are_exact() -> None:
    blank = b"\n" * 70_000
    xml = CLEAN.replace(b"<DataTypeTemplates>", blank + b"<DataTypeTemplates>")
    xml = xml.replace(b'<DO name="Hz" type="MV_Hz"/>', b'<DO name="Hz" type="MV_Hz" kind="x"/>')
    line = xml[: xml.index(b'kind="x"')].count(b"\n") + 1
    assert [(found.line, found.rule) for found in check(xml)] == [(line, "schema")]


def test_long_values_make_short_messages() -> None:
    xml = CLEAN.replace(b'type="MV_Hz"', b'type="' + b"x" * 1_000_000 + b'"', 1)
    findings = check(xml)
    assert [found.rule for found in findings] == ["dangling"]
    assert len(str(findings[0])) < 1500


LINES = CLEAN.splitlines(keepends=True)
WORDS = sorted(set(re.findall(rb'[^\s"<>=/]+', CLEAN)))


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(WORDS),
            st.one_of(st.sampled_from(WORDS), st.binary(max_size=8), st.just(b""), st.just(b"9" * 30)),
            st.integers(0, 50),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_no_mutation_raises(changes: list[tuple[bytes, bytes, int]]) -> None:
    """Words of the clean file replaced by others, or by bytes: findings at most, with real lines."""
    xml = CLEAN
    for word, other, which in changes:
        places = [match.start() for match in re.finditer(re.escape(word), xml)]
        if places:
            place = places[which % len(places)]
            xml = xml[:place] + other + xml[place + len(word) :]
    last = xml.count(b"\n") + 1
    assert all(0 <= found.line <= last and found.cure for found in check(xml))


@settings(max_examples=60)
@given(st.lists(st.integers(2, len(LINES) - 2), min_size=1, max_size=3))
def test_no_missing_line_raises(missing: list[int]) -> None:
    xml = b"".join(line for number, line in enumerate(LINES) if number not in missing)
    assert all(found.cure for found in check(xml))


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_no_bytes_raise(xml: bytes) -> None:
    assert check(xml) != []
