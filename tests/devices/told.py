"""What simulated devices told, read from their books without the code of the adapter.

>>> told = read_message(0.0, "meter-007/sensor/pzem_power/state", "290.4")
>>> told.values
{'power': 290.4}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from adapters.points import meter_id_of

DIGITS = 3
"""Decimals that are compared."""
PHASES = ("_l1", "_l2", "_l3")
Values = dict[str, float]


@dataclass(frozen=True)
class Told:
    """One message with values."""

    meter_id: str
    t: float
    """When it was published, in seconds since 1970."""
    at: int | None
    """The device's own time in ms; None: it tells none."""
    values: Values
    acknowledged: bool = False
    """The devices' broker has it; if not, it may have been lost on the way."""


def read_book(path: Path) -> Iterator[Told]:
    """The messages with values of one process, in their order."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    acknowledged = {line["n"] for line in lines if "t" not in line}
    for line in lines:
        if "t" in line and (told := read_message(line["t"], line["topic"], line["payload"])) is not None:
            yield replace(told, acknowledged=line["n"] in acknowledged)


def read_message(t: float, topic: str, payload: str) -> Told | None:
    """The values in a message; None where it has none."""
    for pattern, read in READERS.items():
        if match := re.fullmatch(pattern, topic):
            family, key, at, values = read(match, payload)
            rounded = {name: round(value, DIGITS) for name, value in values.items()}
            return Told(meter_id_of(family, key), t, at, rounded) if rounded else None
    return None


Read = tuple[str, str, int | None, Values]


def _tasmota(match: re.Match[str], payload: str) -> Read:
    told = json.loads(payload)
    told = told.get("StatusSNS", told)
    energy, at = told["ENERGY"], datetime.fromisoformat(told["Time"])
    values = _phased({"voltage": energy["Voltage"], "current": energy["Current"], "power": energy["Power"]})
    total = energy["Total"]
    values["energy"] = 1000 * (sum(total) if isinstance(total, list) else total)
    return "tasmota", f"A0B0C0{match[1]}", round(at.timestamp() * 1000), values


def _phased(told: dict[str, Any]) -> Values:
    """A number for one phase, an array for several."""
    values: Values = {}
    for name, one in told.items():
        values |= (
            {f"{name}{phase}": part for phase, part in zip(PHASES, one, strict=True)}
            if isinstance(one, list)
            else {name: one}
        )
    return values


def _shelly(match: re.Match[str], payload: str) -> Read:
    told = json.loads(payload)["params"]
    return "shelly2", match[1].upper(), round(told["ts"] * 1000), _status(told)


def _shelly_answer(_match: re.Match[str], payload: str) -> Read:
    """The status that somebody has asked for has no time."""
    told = json.loads(payload)
    return "shelly2", told["src"].rpartition("-")[2].upper(), None, _status(told.get("result", {}))


def _status(told: dict[str, Any]) -> Values:
    values: Values = {}
    if plug := told.get("switch:0"):
        values = {"voltage": plug["voltage"], "current": plug["current"], "power": plug["apower"]}
        values["energy"] = plug["aenergy"]["total"]
    if three := told.get("em:0"):
        values = {"power": three["total_act_power"]}
        for letter, phase in zip("abc", PHASES, strict=True):
            values |= {f"voltage{phase}": three[f"{letter}_voltage"]}
            values |= {f"power{phase}": three[f"{letter}_act_power"]}
    return values


def _zigbee(match: re.Match[str], payload: str) -> Read:
    told = json.loads(payload)
    if "last_seen" not in told:
        return "zigbee2mqtt", "", None, {}
    at = round(datetime.fromisoformat(told["last_seen"]).timestamp() * 1000)
    values = {name: told[name] for name in ("voltage", "current", "power")}
    return "zigbee2mqtt", f"0x00124b{int(match[1]):010x}", at, values | {"energy": 1000 * told["energy"]}


def _esphome(match: re.Match[str], payload: str) -> Read:
    return "homeassistant", f"a0b0c1{int(match[1]):06x}", None, {match[2]: float(payload)}


READERS = {
    r"tele/tasmota_(\w+)/SENSOR": _tasmota,
    r"stat/tasmota_(\w+)/STATUS10": _tasmota,
    r"shelly\w+-(\w+)/events/rpc": _shelly,
    r"(?!shelly).+/rpc": _shelly_answer,
    r"zigbee2mqtt/(\d+)/house/plug": _zigbee,
    r"meter-(\d+)/sensor/pzem_(voltage|current|power|energy)/state": _esphome,
}
"""Topic → what reads its payload: family, key, the device's time in ms, values."""
