"""ACSI over HTTP of data objects with sub data objects: paths, functional constraints and values."""

from __future__ import annotations

import pytest

from broker.contract.birth import Birth, Hardware
from broker.contract.messages import utc_now
from broker.contract.reading import Reading
from broker.contract.topics import Topics
from scl_builder.build.builder import build_cid
from scl_builder.build.project import Ied, Meter, Project
from scl_builder.model import logical_devices
from tests.support.three_phases import THREE_PHASES
from web.acsi import Acsi
from web.live.hub import Hub
from web.live.state import Live
from web.serving.problem import ProblemError

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
LD = "SMGW001M1"


@pytest.fixture
def acsi(monkeypatch: pytest.MonkeyPatch) -> Acsi:
    """A meter of the made-up profile with a reading."""
    monkeypatch.setattr(logical_devices, "PROFILES", (THREE_PHASES,))
    live = Live(Topics("sm"), Hub())
    meters = (Meter(METER, "M1", profile=THREE_PHASES), Meter("", "M2", profile=THREE_PHASES))
    ied = Ied("SMGW001", "127.0.0.1", 102, meters)
    live.cids = {"SMGW001": build_cid(Project("t", 1, (ied,)), "SMGW001")}
    meter = live.fleet.meter(METER)
    hardware = Hardware(serial="1")
    meter.birth = Birth(
        name="House", hardware=hardware, firmware="test", session="a", interval=10, ts=utc_now()
    )
    meter.reading = Reading(epoch=1, seq=1, ts=utc_now(), voltage=231.5, energy=4216.7)
    return Acsi(live)


def test_a_sub_data_object_is_a_value_with_its_own_quality_and_time(acsi: Acsi) -> None:
    told = acsi.read(LD, "MMXU1", "PhV")
    assert list(told) == ["phsA", "phsB", "phsC", "neut", "net", "res", "phsToNeut"]
    for name in ("phsA", "phsB", "phsC", "neut", "net", "res"):
        assert told[name]["cVal"] == {"mag": {"f": 231.5}}
        assert told[name]["q"]["validity"] == "questionable"  # the meter has told no status
        assert told[name]["t"]
        assert told[name]["units"]["SIUnit"] == "V"
    assert told["phsToNeut"] == "true"


def test_a_path_leads_into_a_sub_data_object(acsi: Acsi) -> None:
    assert acsi.attribute(LD, "MMXU1", "PhV", ["res", "cVal", "mag", "f"]) == (231.5, "MX")
    assert acsi.attribute(LD, "MMXU1", "PhV", ["res", "units", "SIUnit"]) == ("V", "CF")
    assert acsi.attribute(LD, "MSQI1", "SeqV", ["seqT"]) == ("pos-neg-zero", "MX")
    value, fc = acsi.attribute(LD, "MMXU1", "PhV", ["res"])
    assert (value["cVal"], fc) == ({"mag": {"f": 231.5}}, None)
    with pytest.raises(ProblemError, match=r"no attribute 'PhV\.res\.nix'.*: cVal, q, t, units"):
        acsi.attribute(LD, "MMXU1", "PhV", ["res", "nix"])


def test_both_registers_of_a_counter_have_their_value_and_time(acsi: Acsi) -> None:
    told = acsi.read(LD, "MMTR1", "DmdWh")
    assert (told["actVal"], told["frVal"], told["pulsQty"]) == (4217, 4217, "1")
    assert told["frTm"] == told["t"] is not None
    frozen = acsi.read(LD, "MMTR1", "SupWh")
    assert "actVal" not in frozen
    assert frozen["frTm"] == told["t"]


def test_a_spare_logical_device_is_off_and_no_meter(acsi: Acsi) -> None:
    beh, voltage = acsi.read("SMGW001M2", "LLN0", "Beh"), acsi.read("SMGW001M2", "MMXU1", "PhV")
    assert (beh["stVal"], beh["q"]["validity"]) == ("off", "good")
    assert voltage["res"]["q"]["validity"] == "invalid"
    assert acsi.read("SMGW001M2", "LLN0", "NamPlt")["d"] is None
    assert acsi.read("SMGW001GW", "GGIO1", "IntIn1")["stVal"] == 1
