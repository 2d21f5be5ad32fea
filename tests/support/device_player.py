"""Plays the samples of devices on a broker, beside an adapter that takes them all, and looks at MMS.

>>> with Player(broker) as player:  # doctest: +SKIP
...     player.play(CASES["tasmota_plug"], CASES["tasmota_plug"].stages[0])
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as mqtt
import pytest
from open61850.mms import MmsClient
from open61850.quality import Quality, TimeQuality
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.brokers import Broker
from tests.support.device_samples import CASES, Case, Stage, messages, soon
from tests.support.samples import Row
from tests.unit.test_family_tasmota import SML

DEADLINE = 90.0
AGAIN = 5.0
"""Seconds until a stage is played again: the adapter does not hear what is played before it listens."""
INFO = {"model": "EXAMPLE", "gen": 2, "ver": "1.4.4", "app": "Example", "fw_id": "20260101-000000/1.4.4"}


def adapter_settings(folder: Path, broker: Broker) -> Path:
    """adapters.toml of a program that makes meters of all devices of the samples."""
    file = folder / "adapters.toml"
    lines = [f'data_dir = "{folder}/adapter"', "clock_synchronized = true"]
    for family in sorted({case.family for case in CASES.values()}):
        lines += ["[[source]]", f'name = "{family}"', f'family = "{family}"']
        if family == "tasmota":
            for name, more in {"tasmota_D4E5F6": {}, "tasmota_77AA01": SML}.items():
                lines += [f"[source.options.devices.{name}]", "discovery = false"]
                lines += [f"[source.options.devices.{name}.map]"] if more else []
                lines += [f'"{key}" = "{told}"' for key, told in more.items()]
        lines += ["[[accept]]", f'family = "{family}"', "switch = true", "interval = 600"]
    file.write_text("\n".join([*lines, "[mqtt]", f"port = {broker.port}", ""]))
    return file


class Player:
    """The devices: they publish, and those of Shelly tell their model when they are asked."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("+/rpc")
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _client, _user, message: self._answer(message)

    def __enter__(self) -> Self:
        self._client.connect(self._broker.host, self._broker.port)
        self._client.loop_start()
        assert self._ready.wait(DEADLINE)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _answer(self, message: mqtt.MQTTMessage) -> None:
        told = json.loads(message.payload)
        if "method" not in told:
            return  # it is an answer
        name = message.topic.removesuffix("/rpc")
        answer: dict[str, Any] = {"error": {"code": 404, "message": f"No handler for {told['method']}"}}
        if told["method"] == "Shelly.GetDeviceInfo":
            answer = {"result": {"id": name, "mac": name.rpartition("-")[2].upper(), **INFO}}
        head = {"id": told["id"], "src": name, "dst": told["src"]}
        self._client.publish(f"{told['src']}/rpc", json.dumps(head | answer))

    def play(self, case: Case, stage: Stage) -> float:
        """Say it; the time that the device tells (Unix seconds)."""
        now = soon()
        self._publish((*case.before, *messages(stage, now)))
        return now

    def _publish(self, rows: Iterable[Row]) -> None:
        sent = [self._client.publish(row.topic, row.payload, qos=1, retain=row.retain) for row in rows]
        for each in sent:
            each.wait_for_publish(DEADLINE)


@dataclass(frozen=True)
class Shown:
    """A value as a client sees it."""

    value: Any
    quality: str
    ts: float
    synchronized: bool


def constraint(name: str) -> str:
    """Of a data object of a meter."""
    return "ST" if "MMT" in name else "MX"


def quality(client: MmsClient, domain: str, name: str) -> str:
    """The quality of what ``name`` belongs to."""
    return _time_and_quality(client, domain, name)[0]


def shown(client: MmsClient, domain: str, name: str) -> Shown:
    """What is there: ``MMXU1.TotW.mag.f``."""
    value: Any = client.read(f"{domain}/{name}[{constraint(name)}]")
    q, ts, synchronized = _time_and_quality(client, domain, name)
    return Shown(value.value, q, ts.timestamp(), synchronized)


def _time_and_quality(client: MmsClient, domain: str, name: str) -> tuple[str, datetime, bool]:
    of = name.removesuffix(".cVal.mag.f").removesuffix(".mag.f").removesuffix(".actVal")
    q: Any = client.read(f"{domain}/{of}.q[{constraint(name)}]")
    t: Any = client.read(f"{domain}/{of}.t[{constraint(name)}]")
    marked = TimeQuality.from_octet(t.quality).clock_not_synchronized
    return str(Quality.from_bitstring(q)), t.value, not marked


def differences(
    client: MmsClient, domain: str, wanted: Mapping[str, float], right: Callable[[Shown], bool]
) -> list[str]:
    """What is not as wanted, or not ``right`` in its quality and time."""
    found = []
    for name, value in wanted.items():
        told = shown(client, domain, name)
        if told.value != pytest.approx(value, rel=1e-6) or not right(told):
            found.append(f"{name}: {told}, wanted {value}")
    return found


def settle(look: Callable[[], list[str]], again: Callable[[], object] = lambda: None) -> None:
    """Until ``look`` finds nothing wrong; ``again`` is done every few seconds until then."""
    end = time.monotonic() + DEADLINE
    turn = time.monotonic() + AGAIN
    while wrong := look():
        assert time.monotonic() < end, wrong
        if time.monotonic() > turn:
            again()
            turn = time.monotonic() + AGAIN
        time.sleep(0.05)
