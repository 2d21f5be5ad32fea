"""Deadbands and ranges (IEC 61850-7-3 Ed 2.1): from the settings into the CID, from there into the values."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from lxml import etree

from admin.mms.meter_values import _instants
from bridge.settings import BridgeSettings
from mms_bridge.datamodel.bands import OUT_OF_RANGE, Range, band_of
from mms_bridge.datamodel.value import Quality
from scl_builder.build.builder import build_cid
from scl_builder.build.project import Ied, Meter, Project
from scl_builder.model.deadbands import NO_BANDS, NOMINALS, Bands
from scl_builder.model.logical_devices import PROFILES
from scl_builder.read.cid import read_cid

DEFAULT = BridgeSettings().bands
PROJECT = Project(
    "p",
    1,
    (
        Ied(
            "SMGW001",
            "192.0.2.1",
            102,
            tuple(Meter("", f"M{n}", profile=profile) for n, profile in enumerate(PROFILES)),
        ),
    ),
    bands=DEFAULT,
)


@pytest.mark.parametrize("row", NOMINALS.items(), ids=lambda row: str(row[1].kind))
def test_by_default_the_deadband_is_a_percent_of_the_nominal_value(row: tuple[str, object]) -> None:
    unit = row[0]
    band = band_of({(name,): text for name, text in DEFAULT.values(unit) if name in ("db", "dbRef")})
    assert band is not None
    percent = 0.02 if unit == "Hz" else 1.0
    assert band.deadband == pytest.approx(NOMINALS[unit].nominal * percent / 100)


def test_both_editions_compute_the_same_deadband_of_a_voltage() -> None:
    """Edition 2.1 has db in 0.001 % of dbRef, Edition 2 of max − min."""
    told = dict(DEFAULT.values("V"))
    high_high, high, low, low_low, least, most = map(float, told["rangeC"].split())
    assert float(told["dbRef"]) == most - least == 460
    assert int(told["db"]) * (most - least) / 100_000 == pytest.approx(2.3)
    assert (low_low, low, high, high_high) == pytest.approx((195.5, 207, 253, 264.5))


def test_lines_and_totals_have_nominal_values_of_their_own() -> None:
    lines = {
        kind: dict(DEFAULT.values("V", times)) for kind, times in (("phase", 1.0), ("line", math.sqrt(3)))
    }
    assert float(lines["line"]["dbRef"]) == pytest.approx(460 * math.sqrt(3))
    xml = build_cid(PROJECT, "SMGW001").decode()
    assert '<DA name="dbRef" fc="CF" bType="FLOAT32" dchg="true"><Val>6900</Val>' in xml
    assert '<DA name="dbRef" fc="CF" bType="FLOAT32" dchg="true"><Val>2300</Val>' in xml
    assert f"<Val>{230 * math.sqrt(3) * 1.1:.7g}</Val>" in xml


def test_without_a_deadband_the_model_is_the_one_of_before() -> None:
    """Who sets 0 need not import the SCD again for this."""
    nothing = Bands.of(deadband="0", zero="0", ranges="voltage=0")
    plain = build_cid(replace(PROJECT, bands=NO_BANDS), "SMGW001")
    assert build_cid(replace(PROJECT, bands=nothing), "SMGW001") == plain
    assert b"instMag" not in plain


def test_a_zero_deadband_has_its_attributes() -> None:
    told = dict(Bands.of(deadband="1,power=0.5", zero="power=0.1").values("W"))
    assert told == {"db": "500", "dbRef": "2300", "zeroDb": "100", "zeroDbRef": "2300"}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"deadband": "one"}, "deadband 'one': a number, or KIND=NUMBER"),
        ({"deadband": "1,volts=2"}, "deadband 'volts=2': the kind is one of apparent_power, current"),
        ({"zero": "-1"}, "zero deadband '-1': 0 to 100"),
        ({"ranges": "voltage=80"}, "range 'voltage=80': 0 to 60"),
        ({"nominal": "230"}, "nominal value '230': KIND=NUMBER, above 0"),
        ({"nominal": "voltage=0"}, "nominal value 'voltage=0': KIND=NUMBER, above 0"),
        ({"deadband": "nan"}, "deadband 'nan': 0 to 100"),
    ],
)
def test_a_setting_that_is_none_is_named(settings: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Bands.of(**settings)


def test_a_bad_setting_stops_the_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER61850_MMS_DEADBAND", "1,volt=2")
    with pytest.raises(ValueError, match="volt=2"):
        BridgeSettings()


def test_mag_moves_when_the_value_has_moved_by_more_than_the_deadband() -> None:
    band = band_of({("db",): "1000", ("dbRef",): "100", ("zeroDb",): "500", ("zeroDbRef",): "100"})
    assert band is not None
    assert band.shown(10.0, before=math.nan) == 10.0
    assert band.shown(11.0, before=10.0) is None
    assert band.shown(11.5, before=10.0) == 11.5
    assert band.shown(0.3, before=10.0) == 0.0
    assert band.shown(0.3, before=0.0) is None


def test_a_dbref_of_0_makes_the_deadband_relative_to_the_last_value() -> None:
    band = band_of({("db",): "10000", ("dbRef",): "0"})
    assert band is not None
    assert (band.shown(109.0, before=100.0), band.shown(111.0, before=100.0)) == (None, 111.0)


def test_a_range_has_five_places_and_two_ends() -> None:
    names = ("llLim", "lLim", "hLim", "hhLim", "min", "max")
    numbers = ("195.5", "207", "253", "264.5", "0", "460")
    band = band_of({("rangeC", name, "f"): text for name, text in zip(names, numbers, strict=True)})
    assert band is not None
    found = [band.range(value) for value in (190.0, 200.0, 207.0, 253.0, 253.1, 270.0)]
    assert found == [Range.LOW_LOW, Range.LOW, Range.NORMAL, Range.NORMAL, Range.HIGH, Range.HIGH_HIGH]
    assert band.quality(Quality.GOOD, 460.0) == Quality.GOOD
    assert band.quality(Quality.GOOD, 461.0) == OUT_OF_RANGE


def test_up_reads_what_was_measured_where_there_is_a_deadband() -> None:
    device, *_ = read_cid(build_cid(PROJECT, "SMGW001")).devices
    nodes = tuple((node.name, node.type) for node in device.nodes)
    assert _instants(nodes)["MMXN1", ("Vol", "mag", "f")] == ("Vol", "instMag", "f")
    plain, *_ = read_cid(build_cid(replace(PROJECT, bands=NO_BANDS), "SMGW001")).devices
    assert not _instants(tuple((node.name, node.type) for node in plain.nodes))


def test_the_file_has_no_finding() -> None:
    root = etree.fromstring(build_cid(PROJECT, "SMGW001"))
    served = {da.get("name") for da in root.iterfind(".//{*}DOType[@cdc='MV']/{*}DA")}
    assert {"instMag", "mag", "range", "rangeC", "db", "dbRef"} <= served


def test_demand_has_no_deadband() -> None:
    """Its mag is the figure of the bill."""
    nodes = [node for device in read_cid(build_cid(PROJECT, "SMGW001")).devices for node in device.nodes]
    demand = [node.objects[-1] for node in nodes if node.name in ("MMXN4", "MMXN5", "MMXU4", "MMXU5")]
    attributes = {attribute.name for value in demand for attribute in value.attributes}
    assert attributes == {"mag", "q", "t", "units"}
