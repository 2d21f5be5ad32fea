"""The samples of devices on MQTT, and what an MMS client reads after each stage of them.

Times that a device tells are moved to now: the samples are of one November. A stage whose device tells no
time has the time of arrival, and MMS marks its clock as not synchronized.

>>> CASES["shelly_gen1_plug_s"].stages[0].values["MMTN1.TotWh.actVal"]  # 154212 Wmin
2570
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from adapters.points import meter_id_of
from adapters.sparkplug.payload import Payload, decode, encode
from broker.contract.topics import scl_name
from tests.support.samples import Row, rows
from tests.support.sparkplug import sample
from tests.unit.test_family_zigbee2mqtt import listed, plug, three_phase

Moved = Callable[[Row, float], Row]
"""A message, with its times moved to this one (Unix seconds)."""


@dataclass(frozen=True)
class Stage:
    """Messages, and what is true after them: values, and data objects that are invalid."""

    rows: tuple[Row, ...]
    values: dict[str, float]
    invalid: tuple[str, ...] = ()
    timed: Moved | None = None
    """How the device's own time is moved; None: it tells none."""
    offline: bool = False
    """Whether the device says that it goes: then no value is good."""


@dataclass(frozen=True)
class Case:
    """One metering point."""

    family: str
    key: str
    stages: tuple[Stage, ...]
    before: tuple[Row, ...] = ()
    """What announces the device."""

    @property
    def domain(self) -> str:
        """Its logical device."""
        return scl_name(meter_id_of(self.family, self.key))


def phases(name: str, *values: float) -> dict[str, float]:
    """What the phases of a WYE of MMXU1 show."""
    return {
        f"MMXU1.{name}.{phase}.cVal.mag.f": value
        for phase, value in zip(("phsA", "phsB", "phsC"), values, strict=True)
    }


def single(**values: float) -> dict[str, float]:
    """What MMXN1 shows."""
    return {f"MMXN1.{name}.mag.f": value for name, value in values.items()}


def counted(node: str, **values: int) -> dict[str, float]:
    """What registers show, in Wh."""
    return {f"{node}.{name}.actVal": value for name, value in values.items()}


def _shelly(row: Row, now: float) -> Row:
    if not row.topic.endswith("/events/rpc"):
        return row
    told = json.loads(row.payload)
    told["params"]["ts"] = now
    return replace(row, payload=json.dumps(told).encode())


def _zigbee(row: Row, now: float) -> Row:
    told = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").encode()
    return replace(row, payload=row.payload.replace(b"2026-11-20T10:05:00.123Z", told))


_EDGE = sample()[1:]
_LATEST = max(each.timestamp or 0 for each in decode(_EDGE[2].payload).metrics)


def _sparkplug(row: Row, now: float) -> Row:
    move = round(now * 1000) - _LATEST
    told: Payload = decode(row.payload)
    moved = tuple(
        replace(each, timestamp=each.timestamp + move if each.timestamp else None) for each in told.metrics
    )
    return replace(row, payload=encode(replace(told, timestamp=(told.timestamp or 0) + move, metrics=moved)))


_TASMOTA = tuple(rows("tasmota_plug"))
_THREE = tuple(rows("tasmota_three_phase"))
_GEN1, _GEN1_PLUG = tuple(rows("shelly_gen1_3em")), tuple(rows("shelly_gen1_plug_s"))
_PLUS1PM, _PRO3EM = tuple(rows("shelly_gen2_plus1pm")), tuple(rows("shelly_gen2_pro3em"))
_CLAMP = tuple(rows("shelly_gen2_em1_pm1"))
_ESPHOME = tuple(row for row in rows("esphome_pzem") if not row.topic.startswith("esphome/"))
_NAN = tuple(row for row in _ESPHOME[8:13] if not row.topic.endswith("power/state"))
_ZIGBEE = tuple(rows("zigbee2mqtt_plug"))
_BOTH = listed(plug(), three_phase())
_NODE = tuple(Row(line.topic, line.payload) for line in _EDGE)
LOST = Stage((), {}, offline=True)

CASES: dict[str, Case] = {
    "tasmota_plug": Case(
        "tasmota", "A0B0C0A1B2C3",
        (
            Stage(
                _TASMOTA[3:6],
                single(Vol=230, Amp=1.026, Watt=208, VolAmp=236, PwrFact=0.88)
                | counted("MMTN1", TotWh=41_224),
                invalid=("MMXN1.Hz",),
            ),
            Stage(_TASMOTA[6:9], single(Vol=230, Amp=0, Watt=0) | counted("MMTN1", TotWh=41_226)),
            replace(LOST, rows=_TASMOTA[9:]),
        ),
        before=_TASMOTA[:3],
    ),
    "tasmota_three_phase": Case(
        "tasmota", "tasmota_D4E5F6",
        (
            Stage(
                _THREE[:2],
                phases("PhV", 231, 229, 230) | phases("A", 2.77, 1.004, 2.174)
                | phases("W", 610, -211, 488) | phases("PF", 0.95, -0.92, 0.98)
                | {"MMXU1.TotW.mag.f": 887, "MMXU1.Hz.mag.f": 50.02}
                | counted("MMTR1", DmdWh=1_202_125, SupWh=14_338, TotWh=1_187_787)
                | counted("PhA_MMTN1", DmdWh=412_331, SupWh=10_220)
                | counted("PhC_MMTN1", DmdWh=401_774, SupWh=4118),
                invalid=("MMTR2.DmdWh",),
            ),
            Stage(
                _THREE[2:3],
                phases("W", 590, -190, 470) | {"MMXU1.TotW.mag.f": 870}
                | counted("MMTR1", DmdWh=1_202_131, SupWh=14_338, TotWh=1_187_793)
                | counted("MMTR2", DmdWh=804_002, SupWh=9100)
                | counted("MMTR3", DmdWh=398_129, SupWh=5238),
                invalid=("PhA_MMTN1.DmdWh",),
            ),
        ),
    ),
    "tasmota_three_phase, IR head": Case(
        "tasmota", "tasmota_77AA01",
        (
            Stage(
                _THREE[3:],
                phases("PhV", 235.3, 235.7, 235.7) | phases("A", 0.98, 1.47, 1.18)
                | phases("W", 60, -111, 15) | {"MMXU1.TotW.mag.f": -36}
                | counted("MMTR1", DmdWh=2_687_369, SupWh=582_457, TotWh=2_104_912),
            ),
        ),
    ),
    "shelly_gen1_3em": Case(
        "shelly1", "shellyem3-0011223344AA",
        (
            Stage(
                _GEN1[:-1],
                phases("PhV", 236.1, 236.2, 236.4) | phases("A", 4.03, 0.41, 3.03)
                | phases("W", 951.2, -95.1, 715.4) | phases("PF", 1, -0.98, 1)
                | {"MMXU1.TotW.mag.f": 1571.5}
                | counted("MMTR1", DmdWh=1_467_462, SupWh=40_332, TotWh=1_427_130)
                | counted("PhB_MMTN1", DmdWh=15, SupWh=40_212),
            ),
            replace(LOST, rows=_GEN1[-1:]),
        ),
    ),
    "shelly_gen1_plug_s": Case(
        "shelly1", "shellyplug-s-DDEEFF",
        (
            Stage(
                _GEN1_PLUG[:6], single(Watt=43.26) | counted("MMTN1", TotWh=2570),
                invalid=("MMXN1.Vol", "MMXN1.Amp"),
            ),
        ),
    ),
    "shelly_gen2_plus1pm": Case(
        "shelly2", "A0B0C0D0E0F0",
        (
            Stage(
                _PLUS1PM[:3],
                single(Vol=229.8, Amp=1.047, Watt=212.4, PwrFact=0.88, Hz=50)
                | counted("MMTN1", DmdWh=41_199, SupWh=12, TotWh=41_187),
                timed=_shelly,
            ),
            replace(LOST, rows=_PLUS1PM[3:]),
        ),
    ),
    "shelly_gen2_pro3em": Case(
        "shelly2", "A0B0C0D0E0F1",
        (
            Stage(
                _PRO3EM[:3],
                phases("PhV", 236.1, 236.2, 236.4) | phases("A", 4.029, 4.027, 3.03)
                | phases("W", 951.2, -951.1, 715.4) | phases("PF", 1, -1, 1)
                | {"MMXU1.TotW.mag.f": 715.5, "MMXU1.TotVA.mag.f": 2619.9, "MMXU1.Hz.mag.f": 50}
                | counted("MMTR1", DmdWh=1_467_462, SupWh=402_239, TotWh=1_065_223)
                | counted("PhB_MMTN1", DmdWh=15, SupWh=402_119),
            ),
            Stage(
                _PRO3EM[3:],
                {
                    "MMXU1.PhV.phsB.cVal.mag.f": 236.2, "MMXU1.W.phsB.cVal.mag.f": -940,
                    "MMXU1.W.phsC.cVal.mag.f": 700, "MMTR1.DmdWh.actVal": 1_467_462,
                },
                invalid=("MMXU1.PhV.phsA", "MMXU1.A.phsA", "MMXU1.W.phsA", "MMXU1.TotW", "MMXU1.TotVA"),
            ),
        ),
    ),
    "shelly_gen2_em1_pm1, clamp": Case(
        "shelly2", "A0B0C0D0E0F2.1",
        (
            Stage(
                _CLAMP[:3],
                single(Vol=234.9, Amp=2.598, Watt=501.8, VolAmp=612.4, PwrFact=0.84, Hz=50)
                | counted("MMTN1", DmdWh=55_321, SupWh=0, TotWh=55_321),
            ),
        ),
    ),
    "shelly_gen2_em1_pm1, plug": Case(
        "shelly2", "A0B0C0D0E0F3",
        (
            Stage(
                _CLAMP[3:],
                single(Vol=225.9, Amp=0.412, Watt=88.1, VolAmp=93.2, PwrFact=0.95, Hz=50)
                | counted("MMTN1", DmdWh=10_908, SupWh=4, TotWh=10_903),
            ),
        ),
    ),
    "esphome_pzem": Case(
        "homeassistant", "a0b0c0d0e0f4",
        (
            Stage(
                _ESPHOME[8:14],
                single(Vol=229.6, Amp=2.836, Watt=631.6, PwrFact=0.97, Hz=50)
                | counted("MMTN1", TotWh=38_795),
            ),
            Stage((*_NAN, *_ESPHOME[14:17]), single(Vol=229.6, Amp=2.836), invalid=("MMXN1.Watt",)),
            replace(LOST, rows=_ESPHOME[-1:]),
        ),
        before=_ESPHOME[:8],
    ),
    "zigbee2mqtt_plug": Case(
        "zigbee2mqtt", "0x00124b0001020304",
        (
            Stage(
                _ZIGBEE[3:4], single(Vol=229, Amp=0.41, Watt=86) | counted("MMTN1", TotWh=132_710),
                invalid=("MMXN1.Hz", "MMXN1.PwrFact"), timed=_zigbee,
            ),
            Stage(_ZIGBEE[4:6], single(Vol=230, Amp=0, Watt=0) | counted("MMTN1", TotWh=132_710)),
        ),
        before=(_ZIGBEE[0], _BOTH, _ZIGBEE[2]),
    ),
    "zigbee2mqtt_plug, three phases": Case(
        "zigbee2mqtt", "0x00124b00000000bb",
        (
            Stage(
                _ZIGBEE[6:7],
                phases("PhV", 230.1, 229.7, 231) | phases("A", 2.7, 2.2, 0.6) | phases("W", 601, 488, -120)
                | {"MMXU1.TotW.mag.f": 969}
                | counted("MMTR1", DmdWh=512_330, SupWh=40_020, TotWh=472_310),
            ),
        ),
        before=(_ZIGBEE[0], _BOTH),
    ),
    "sparkplug_b": Case(
        "sparkplug", "Village/edge1/meter7",
        (
            Stage(
                _NODE[:3],
                phases("PhV", 231, 229.5, 230) | {"MMXU1.TotW.mag.f": -498.5}
                | counted("MMTR1", DmdWh=4_216_801, SupWh=1_013_400, TotWh=3_203_401),
                timed=_sparkplug,
            ),
            replace(LOST, rows=_NODE[3:4] + _NODE[5:]),
        ),
    ),
}  # fmt: skip


def messages(stage: Stage, now: float) -> list[Row]:
    """What to send, with the device's times at ``now`` (Unix seconds)."""
    move = stage.timed
    return [move(row, now) if move else row for row in stage.rows]


def soon() -> float:
    """Now, a little ahead (ms without a rest): a device's clock, and later than what came before it."""
    return round(time.time() + 0.5, 3)
