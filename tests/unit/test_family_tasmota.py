"""Tasmota: every message of the samples, and the traps of DEVICES.md 1.1, as metering points and values."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.families.registry import family
from adapters.families.tasmota import Tasmota
from adapters.families.tasmota_messages import TasmotaOptions
from adapters.family import Available, Finding, Gone, Point, Step, Switched, Values
from broker.contract.relay import Position
from tests.support.samples import Row, played, rows

MAC = "A0B0C0A1B2C3"
DISCOVERY = f"tasmota/discovery/{MAC}"
PLUG_MEASURES = ("voltage", "current", "power", "power_factor", "energy", "apparent_power")
PLUG = Point(
    MAC, "Kiosk 7", "Tasmota", "Sonoff POW R3", MAC, "15.0.1", PLUG_MEASURES, True,
    doubts=("ReactivePower is left out: most chips give no sign; signed_reactive = true takes it",),
)  # fmt: skip
SML = {
    "SML.Total_in": "energy_import kWh",
    "SML.Total_out": "energy_export kWh",
    "SML.Power_curr": "power W",
    **{f"SML.power_l{n}": f"power_l{n}" for n in (1, 2, 3)},
    **{f"SML.voltage_l{n}": f"voltage_l{n} V" for n in (1, 2, 3)},
    **{f"SML.current_l{n}": f"current_l{n} A" for n in (1, 2, 3)},
}
SILENT = TasmotaOptions.model_validate(
    {
        "devices": {
            "tasmota_D4E5F6": {"discovery": False},
            "tasmota_77AA01": {"discovery": False, "map": SML},
        }
    }
)


def config(**changes: Any) -> Row:
    """The plug's config, changed."""
    told = json.loads(rows("tasmota_plug")[0].payload) | changes
    return Row(f"tasmota/discovery/{told['mac']}/config", json.dumps(told).encode())


def sensor(energy: dict[str, Any], *, topic: str = "tele/tasmota_A1B2C3/SENSOR", **more: Any) -> Row:
    """A SENSOR message of the plug."""
    return Row(topic, json.dumps({"Time": "2026-11-20T10:05:00", "ENERGY": energy} | more).encode())


def made(*messages: Row, options: TasmotaOptions | None = None) -> list[Step]:
    """All steps of the messages, in turn."""
    return list(chain(*played(Tasmota(options or TasmotaOptions()), messages)))


def values(*messages: Row, options: TasmotaOptions | None = None) -> dict[str, float | bool]:
    """The last values."""
    return [step for step in made(*messages, options=options) if isinstance(step, Values)][-1].measured


def test_the_plug_of_the_sample() -> None:
    first = {
        "voltage": 230.0, "current": 1.026, "power": 208.0, "apparent_power": 236.0, "power_factor": 0.88,
        "energy": 41224.0,
    }  # fmt: skip
    asked = first | {"current": 0, "power": 0, "apparent_power": 0, "power_factor": 0, "energy": 41226.0}
    assert played(Tasmota(TasmotaOptions()), rows("tasmota_plug")) == [
        [],
        [PLUG],
        [Available(MAC, True)],
        [],
        [Switched(MAC, Position.CLOSED)],
        [Values(MAC, first)],
        [Switched(MAC, Position.OPEN)],
        [Switched(MAC, Position.OPEN)],
        [Values(MAC, asked)],
        [Available(MAC, False)],
    ]


def test_the_three_phase_devices_of_the_sample() -> None:
    arrays, tariffs, head = [
        [step for step in steps if isinstance(step, Values)]
        for steps in played(Tasmota(SILENT), rows("tasmota_three_phase"))[1:]
    ]
    assert arrays == [
        Values(
            "tasmota_D4E5F6",
            {
                "voltage_l1": 231, "voltage_l2": 229, "voltage_l3": 230,
                "current_l1": 2.77, "current_l2": 1.004, "current_l3": 2.174,
                "power": 887, "power_l1": 610, "power_l2": -211, "power_l3": 488,
                "apparent_power_l1": 640, "apparent_power_l2": 230, "apparent_power_l3": 500,
                "power_factor_l1": 0.95, "power_factor_l2": -0.92, "power_factor_l3": 0.98,
                "frequency": 50.02,
                "energy_import": 1202125, "energy_import_l1": 412331, "energy_import_l2": 388020,
                "energy_import_l3": 401774,
                "energy_export": 14338, "energy_export_l1": 10220, "energy_export_l2": 0,
                "energy_export_l3": 4118,
            },
        )
    ]  # fmt: skip
    assert tariffs[0].measured == {
        "voltage_l1": 231, "voltage_l2": 229, "voltage_l3": 230,
        "current_l1": 2.727, "current_l2": 0.961, "current_l3": 2.13,
        "power": 870, "power_l1": 590, "power_l2": -190, "power_l3": 470,
        "apparent_power_l1": 630, "apparent_power_l2": 220, "apparent_power_l3": 490,
        "power_factor_l1": 0.94, "power_factor_l2": -0.86, "power_factor_l3": 0.96,
        "frequency": 50.02,
        "energy_import": 1202131, "energy_import_t1": 804002, "energy_import_t2": 398129,
        "energy_export": 14338, "energy_export_l1": 10220, "energy_export_l2": 0, "energy_export_l3": 4118,
        "energy_export_t1": 9100, "energy_export_t2": 5238,
    }  # fmt: skip
    assert head == [
        Values(
            "tasmota_77AA01",
            {
                "energy_import": 2687368.7, "energy_export": 582456.9, "power": -36,
                "power_l1": 60, "power_l2": -111, "power_l3": 15,
                "voltage_l1": 235.3, "voltage_l2": 235.7, "voltage_l3": 235.7,
                "current_l1": 0.98, "current_l2": 1.47, "current_l3": 1.18,
            },
        )
    ]  # fmt: skip


def test_availability_before_the_metering_point_is_kept() -> None:
    steps = made(*rows("tasmota_three_phase"), options=SILENT)
    assert [type(step) for step in steps[:3]] == [Point, Available, Values]
    assert steps[1] == Available("tasmota_D4E5F6", True)
    config_row, sensors, will = rows("tasmota_plug")[:3]
    assert made(will, sensors, config_row) == [PLUG, Available(MAC, True)]


@pytest.mark.parametrize(
    ("time", "at"),
    [
        ("2026-11-20T10:05:00", None),
        ("2026-11-20T10:05:00+02:00", datetime(2026, 11, 20, 8, 5, tzinfo=UTC)),
        ("1970-01-01T00:00:12+00:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("soon", None),
        (None, None),
    ],
)
def test_time_counts_with_an_offset_only(time: str | None, at: datetime | None) -> None:
    """SetOption52 1 adds it; a clock that was never set does not count."""
    steps = made(config(), sensor({"Power": 1}, Time=time))
    assert [step.at for step in steps if isinstance(step, Values)] == [at]


def test_absent_and_null_are_not_zero() -> None:
    assert values(config(), sensor({"Power": None, "Voltage": 230, "Total": None})) == {"voltage": 230.0}
    part = sensor({"Power": [100, None, 50], "Voltage": [230, 231], "Total": [1, None, 2]})
    assert values(config(), part) == {
        "voltage_l1": 230, "voltage_l2": 231, "power_l1": 100, "power_l3": 50,
        "energy_import_l1": 1000, "energy_import_l3": 2000,
    }  # fmt: skip


def test_a_device_that_has_told_an_export_stays_two_way() -> None:
    both, one = sensor({"Total": 2, "ExportActive": 0.5}), sensor({"Total": 3, "ExportActive": None})
    assert values(config(), sensor({"Total": 3})) == {"energy": 3000}
    assert values(config(), both, one) == {"energy_import": 3000}
    points = [step for step in made(config(), one, both, one) if isinstance(step, Point)]
    assert [point.quantities for point in points] == [("energy",), ("energy_import", "energy_export")]
    points = [step for step in made(*rows("tasmota_plug")) if isinstance(step, Point)]
    assert len(points) == 1, "a message that tells less changes nothing"


def test_a_voltage_common_to_all_phases_is_one_number() -> None:
    assert values(config(), sensor({"Power": [1, 2, 3], "Voltage": 230}))["voltage"] == 230


def test_reactive_power_is_taken_where_its_sign_is_measured() -> None:
    signed = TasmotaOptions.model_validate({"devices": {MAC: {"signed_reactive": True}}})
    told = sensor({"Power": 7, "ReactivePower": -7.21})
    assert values(config(), told) == {"power": 7}
    assert values(config(), told, options=signed) == {"power": 7, "reactive_power": -7.21}


def test_values_out_of_their_limits_are_left_out_with_a_finding() -> None:
    steps = made(config(), sensor({"Power": 5, "Voltage": -1, "Factor": 1.4, "Total": "much"}))
    assert steps[-1] == Values(MAC, {"power": 5})
    assert [step for step in steps if isinstance(step, Finding)] == [
        Finding("value is outside of its limits", f"SENSOR of {MAC}: voltage -1 V is outside of 0 to 1e+12"),
        Finding("value is outside of its limits", f"SENSOR of {MAC}: power_factor 1.4 is outside of -1 to 1"),
        Finding("value is no number", f"SENSOR of {MAC}: energy_import 'much'"),
    ]


def test_what_is_retained_is_old() -> None:
    """SensorRetain and PowerRetain: neither a fresh value nor the relay's place; a last will counts."""
    tasmota = Tasmota(TasmotaOptions())
    for row in rows("tasmota_plug")[:3]:
        tasmota.take(row.topic, row.payload, retained=True, now=0)
    for row in rows("tasmota_plug")[3:-1]:
        assert tasmota.take(row.topic, row.payload, retained=True, now=0) == []
    offline = rows("tasmota_plug")[-1]
    assert list(tasmota.take(offline.topic, offline.payload, retained=True, now=0)) == [Available(MAC, False)]


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ({"map": {"SML.x": "energie kWh"}}, "'energie kWh' names no quantity"),
        ({"map": {"SML.x": "energy_import kW"}}, "the unit of energy_import is Wh"),
        ({"mapp": {}}, "mapp"),
        ({"arrays": "poles"}, "phases"),
    ],
)
def test_an_option_that_is_wrong_is_named(device: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TasmotaOptions.model_validate({"devices": {"tasmota_77AA01": device}})


def test_it_is_registered() -> None:
    kind = family("tasmota")
    assert kind.make(kind.options()).name == "tasmota"


def test_withdrawn() -> None:
    gone = Row(f"{DISCOVERY}/config", b"")
    assert made(*rows("tasmota_plug")[:2], gone, gone)[1:] == [Gone(MAC)]
    assert made(*rows("tasmota_plug")[:2], gone, rows("tasmota_plug")[5])[1:] == [Gone(MAC)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mac": "A0B0C0A1B2C4"}, "another MAC"),
        ({"ft": "%topic%/"}, "has no %prefix%"),
        ({"ft": "%prefix%/#/"}, "not valid"),
        ({"tp": ["a", "b", "b"]}, "three different words"),
        ({"t": ""}, "not valid"),
    ],
)
def test_a_config_that_is_wrong_is_refused(changes: dict[str, Any], said: str) -> None:
    told = json.loads(rows("tasmota_plug")[0].payload) | changes
    (finding,) = made(Row(f"{DISCOVERY}/config", json.dumps(told).encode()))
    assert isinstance(finding, Finding)
    assert said in f"{finding.cause} {finding.detail}"


def test_two_devices_with_one_topic_are_not_mixed() -> None:
    steps = made(*rows("tasmota_plug")[:2], config(mac="A0B0C0A1B2C4"), rows("tasmota_plug")[5])
    assert steps[1] == Finding(
        "two devices have one topic", f"'tasmota_A1B2C3' is of {MAC}; A0B0C0A1B2C4 is not taken"
    )
    assert isinstance(steps[2], Values)


def test_a_look_at_the_topics_is_no_news_of_a_device() -> None:
    tasmota = Tasmota(TasmotaOptions(), limit=2)
    for mac in ("A0B0C0000001", "A0B0C0000002"):
        row = config(mac=mac, t=mac, ft=f"house/{mac}/%prefix%/")
        tasmota.take(row.topic, row.payload, retained=True, now=0.0)
    tasmota.take("house/A0B0C0000001/tele/LWT", b"Online", retained=True, now=1.0)
    assert "house/A0B0C0000002/tele/+" in tasmota.subscriptions()
    assert tasmota.subscriptions() is tasmota.subscriptions()
    third = config(mac="A0B0C0000003", t="third", ft="house/third/%prefix%/")
    steps = tasmota.take(third.topic, third.payload, retained=True, now=2.0)
    assert [one.detail.split()[0] for one in steps if isinstance(one, Finding)] == ["'A0B0C0000002'"]
    assert "house/A0B0C0000002/tele/+" not in tasmota.subscriptions()
    assert "house/third/tele/+" in tasmota.subscriptions()
