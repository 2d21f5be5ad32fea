"""Reports as lines: each member with its own time, unit and quality, whatever a server puts into it."""

from __future__ import annotations

from datetime import UTC, datetime

from open61850.data import (
    BitStringData,
    FloatData,
    IECData,
    IntData,
    StructureData,
    TimestampData,
    VisibleStringData,
)
from open61850.mms import DataAccessError, ObjectName, OptFlds, ReasonCode, Reference
from open61850.mms.report import Report, ReportEntry
from open61850.mms.types import PrimitiveType, StructureType

from admin.mms.report_lines import Line, Member, Subscription, lines

NOW = datetime(2026, 11, 24, 22, 0, 0, 500_000, tzinfo=UTC)
T = datetime(2026, 11, 24, 21, 59, 59, 123_000, tzinfo=UTC)
GOOD, OLD = BitStringData(b"\x00\x00", 3), BitStringData(b"\xc1\x00", 3)
MEASURED = StructureType(
    [
        ("mag", StructureType([("f", PrimitiveType("float", 32))])),
        ("q", PrimitiveType("bit-string", -13)),
        ("t", PrimitiveType("utc-time")),
    ]
)
STATUS = StructureType([("stVal", PrimitiveType("integer", 8)), *MEASURED.components[1:]])


def member(name: str, kind: StructureType | PrimitiveType, unit: str = "") -> Member:
    ln, *path = name.split(".")
    return Member(Reference("LD", ln, tuple(path), "ST"), kind, unit)


def told(value: IECData | DataAccessError, *members: Member, index: int = 0, **report: object) -> Line:
    """The only line of a report with one entry."""
    entry = ReportEntry(index, value, reason=ReasonCode(data_change=True, quality_change=True))
    whole = Report("id", OptFlds(), seq_num=7, entries=[entry], **report)  # type: ignore[arg-type]
    block = ObjectName("LLN0$BR$brcbPos01", "GW")
    (line,) = lines(whole, Subscription(block, "id", "", members, buffered=True), received=NOW)
    return line


def measured(value: float, q: BitStringData = GOOD, *, time_quality: int = 0x8A) -> StructureData:
    return StructureData([StructureData([FloatData(value)]), q, TimestampData(T, time_quality)])


def test_a_member_with_sub_data_objects_shows_the_value_of_each() -> None:
    phases = StructureType([("phsA", MEASURED), ("phsB", MEASURED)])
    line = told(StructureData([measured(231.5), measured(229.0)]), member("MMXU1.PhV", phases))
    assert (line.value, line.quality, line.time) == ("phsA=231.5 phsB=229.0", "good", T)
    line = told(StructureData([measured(231.5), measured(229.0, OLD)]), member("MMXU1.PhV", phases))
    assert line.quality == "phsA good, phsB questionable,old-data"


def test_a_measurement_has_value_unit_quality_reason_and_its_own_time() -> None:
    line = told(measured(231.5), member("MMXN1.Vol", MEASURED, "V"), entry_id=b"\x01\xff", buf_ovfl=False)
    assert (line.value, line.unit, line.quality, line.time) == (231.5, "V", "good", T)
    assert line.document() == {
        "received": "2026-11-24T22:00:00.500Z",
        "time": "2026-11-24T21:59:59.123Z",
        "clock_synchronized": True,
        "reference": "LD/MMXN1.Vol",
        "name": "",
        "value": 231.5,
        "unit": "V",
        "quality": "good",
        "reason": "data-change+quality-change",
        "block": "GW/LLN0.brcbPos01",
        "sequence": 7,
        "entry": "01ff",
        "overflow": False,
    }
    text = str(line)
    assert text.startswith(f"{T.astimezone():%Y-%m-%d %H:%M:%S}.123  LD/MMXN1.Vol ")
    assert text.endswith("231.5 V         good  data-change+quality-change  GW/LLN0.brcbPos01 #7")


def test_bad_quality_a_doubtful_clock_and_lost_entries_are_said() -> None:
    line = told(measured(1.0, OLD, time_quality=0x2A), member("MMXN1.Vol", MEASURED), buf_ovfl=True)
    assert line.quality == "questionable,old-data"
    assert line.clock_synchronized is False
    assert "questionable,old-data (clock not synchronized)" in str(line)
    assert str(line).endswith("#7 (entries before it may be lost)")


def test_positions_and_health_are_words() -> None:
    pos = StructureType([("stVal", PrimitiveType("bit-string", 2)), *MEASURED.components[1:]])
    value = StructureData([BitStringData(b"\x80", 6), GOOD, TimestampData(T)])
    assert told(value, member("XSWI1.Pos", pos)).value == "on"
    health = StructureData([IntData(3), GOOD, TimestampData(T)])
    assert told(health, member("LPHD1.PhyHealth", STATUS)).value == "Alarm"
    assert told(health, member("XSWI1.OpCnt", STATUS)).value == 3


def test_a_single_attribute_is_its_value() -> None:
    assert told(FloatData(2.5), member("MMXN1.Vol.mag.f", PrimitiveType("float", 32))).value == 2.5


def test_an_object_without_process_value_shows_its_parts() -> None:
    plate = StructureType([("vendor", PrimitiveType("visible-string", -255)), MEASURED.components[1]])
    value = StructureData([VisibleStringData("us"), GOOD])
    assert told(value, member("LLN0.NamPlt", plate)).value == "vendor=us"


def test_what_a_server_does_not_give_or_we_do_not_know() -> None:
    line = told(DataAccessError(3), member("MMXN1.Vol", MEASURED, "V"))
    assert "object-access-denied" in str(line.value)
    assert (line.quality, line.time) == ("", None)
    assert told(FloatData(1.0), index=4).reference == "member 5"


def test_a_server_cannot_send_control_codes_to_the_terminal() -> None:
    line = told(VisibleStringData("\x1b[2Jx"), member("LLN0.NamPlt.d", PrimitiveType("visible-string", -255)))
    assert line.value == "\x1b[2Jx"
    assert "\x1b" not in str(line)
