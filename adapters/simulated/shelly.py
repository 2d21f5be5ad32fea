"""Simulated Shellys of Gen2: a Plus 1PM; each third is a Pro 3EM, a three-phase meter that stores minutes.

>>> plug = SimulatedShelly(Household(seed=1, number=7), 1)
>>> plug.birth(1.8e9)[0]
Message(topic='shellyplus1pm-a0b0c2000001/online', payload=b'true', retain=True)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from adapters.simulated.device import DeviceKind, Message, register
from adapters.simulated.supply import Supply
from meter_firmware.sensors.household import Household
from meter_firmware.sensors.sensor import Measurement

_MINUTE = 60
_AT_ONCE = 30
"""Stored minutes in one answer."""
_MEMORY = 60 * 24 * 3600
"""Seconds that it stores."""
SHARES = {"a": 0.5, "b": 0.3, "c": 0.2}
"""Of the house's load, on the phases of a Pro 3EM."""


class SimulatedShelly:
    """The device with this number."""

    def __init__(self, household: Household, number: int) -> None:
        self._household, self._supply = household, Supply(household)
        self._three = number % 3 == 0
        self.id = f"{'shellypro3em' if self._three else 'shellyplus1pm'}-a0b0c2{number:06x}"
        self.key = self.id.rpartition("-")[2].upper()
        self._methods: dict[str, Callable[[dict[str, Any], float], dict[str, Any] | None]] = {
            "Shelly.GetDeviceInfo": lambda params, t: self._info(),
            "Shelly.GetStatus": lambda params, t: self._status(t),
            "Switch.Set": self._set,
            "EMData.GetData": self._data,
        }

    @property
    def closed(self) -> bool:
        """Whether its relay is closed."""
        return self._supply.closed

    def birth(self, t: float) -> Sequence[Message]:
        """That it is there, and its status."""
        return [
            Message(f"{self.id}/online", b"true", retain=True),
            self._notify("NotifyFullStatus", self._status(t), t),
        ]

    def will(self) -> Message:
        """Some firmware retains it, some does not."""
        return Message(f"{self.id}/online", b"false")

    def subscriptions(self) -> Sequence[str]:
        """Requests."""
        return (f"{self.id}/rpc",)

    def messages(self, t: float) -> Sequence[Message]:
        """The status, as what has changed."""
        return [self._notify("NotifyStatus", self._status(t), t)]

    def take(self, topic: str, payload: bytes, t: float) -> Sequence[Message]:
        """Answer a request."""
        try:
            told = json.loads(payload)
            number, source, params = told["id"], str(told["src"]), told.get("params", {})
            method = self._methods.get(told["method"])
        except (ValueError, KeyError, TypeError):
            return []
        result = method(params, t) if method else None
        frame = {"id": number, "src": self.id, "dst": source}
        if result is None:
            frame["error"] = {"code": -105, "message": "Argument 'id', value not found!"}
            return [Message(f"{source}/rpc", _json(frame))]
        answer = Message(f"{source}/rpc", _json(frame | {"result": result}))
        return [answer, *(self.messages(t) if told["method"] == "Switch.Set" else ())]

    def _notify(self, method: str, status: dict[str, Any], t: float) -> Message:
        frame = {"src": self.id, "dst": f"{self.id}/events", "method": method}
        return Message(f"{self.id}/events/rpc", _json(frame | {"params": {"ts": round(t, 2)} | status}))

    def _info(self) -> dict[str, Any]:
        model, _, mac = self.id.rpartition("-")
        return {"id": self.id, "mac": mac.upper(), "model": model, "gen": 2, "ver": "1.4.4"}

    def _set(self, params: dict[str, Any], t: float) -> dict[str, Any] | None:
        if self._three or params.get("id") != 0 or not isinstance(params.get("on"), bool):
            return None
        before = self.closed
        self._supply.switch(closed=params["on"], t=t)
        return {"was_on": before}

    def _status(self, t: float) -> dict[str, Any]:
        told = self._supply.measure(t)
        return self._meter(told, t) if self._three else {"switch:0": self._switch(told, t)}

    def _switch(self, told: Measurement, t: float) -> dict[str, Any]:
        return {
            "id": 0,
            "source": "MQTT",
            "output": self.closed,
            "apower": told["power"],
            "voltage": told["voltage"],
            "current": told["current"],
            "pf": told["power_factor"],
            "freq": told["frequency"],
            "aenergy": {"total": round(told["energy"], 3), "minute_ts": _minute(t)},
        }

    def _meter(self, told: Measurement, t: float) -> dict[str, Any]:
        """Counters are saved each minute."""
        live: dict[str, Any] = {"id": 0, "n_current": None, "total_current": told["current"]}
        stored: dict[str, Any] = {"id": 0}
        for letter, share in SHARES.items():
            amperes = round(told["current"] * share, 3)
            live |= {
                f"{letter}_current": amperes,
                f"{letter}_voltage": told["voltage"],
                f"{letter}_act_power": round(told["power"] * share, 1),
                f"{letter}_aprt_power": round(told["voltage"] * amperes, 1),
                f"{letter}_pf": told["power_factor"],
                f"{letter}_freq": told["frequency"],
            }
            counted = self._household.energy(_minute(t)) * share
            stored |= {f"{letter}_total_act_energy": round(counted, 3), f"{letter}_total_act_ret_energy": 0.0}
        live["total_act_power"] = round(sum(live[f"{letter}_act_power"] for letter in SHARES), 1)
        stored["total_act"] = round(sum(stored[f"{letter}_total_act_energy"] for letter in SHARES), 3)
        stored["total_act_ret"] = 0.0
        return {"em:0": live, "emdata:0": stored}

    def _data(self, params: dict[str, Any], t: float) -> dict[str, Any] | None:
        """The stored minutes from ``ts``, a part at a time."""
        if not self._three or params.get("id") != 0:
            return None
        start = max(_minute(params["ts"]), _minute(t) - _MEMORY)
        end = min(_minute(params.get("end_ts", t)) + _MINUTE, _minute(t))
        upto = min(start + _AT_ONCE * _MINUTE, end)
        keys = [
            f"{letter}_{what}"
            for letter in SHARES
            for what in ("total_act_energy", "total_act_ret_energy", "avg_voltage")
        ]
        rows = [self._stored(began) for began in range(start, upto, _MINUTE)]
        told: dict[str, Any] = {"keys": keys, "data": [{"ts": start, "period": 60, "values": rows}]}
        return told | ({"next_record_ts": upto} if upto < end else {})

    def _stored(self, began: int) -> list[float]:
        used = self._household.energy(began + _MINUTE) - self._household.energy(began)
        voltage = self._household.measure(began + _MINUTE / 2)["voltage"]
        return [value for share in SHARES.values() for value in (round(used * share, 4), 0.0, voltage)]


def _minute(t: float) -> int:
    return int(t) // _MINUTE * _MINUTE


def _json(told: dict[str, Any]) -> bytes:
    return json.dumps(told, separators=(",", ":")).encode()


register(DeviceKind(family="shelly2", make=SimulatedShelly))
