"""Transfer times of events (IEC 61850-5): from a meter's publish to the report at an independent MMS client.

    python -m bench.transfer --events 500 --runs 5 --json

Real parts, each a process: Mosquitto with our configuration, the MMS bridge, an MMS client (open61850) that
has one instance of every report control block, and a bare MQTT subscriber. This program is the meters: it
publishes position changes, then readings, evenly spread over them. In each run, of the same messages:

- report: from the publish to the report at the MMS client, as the blocks are configured (bufTm and all);
- mqtt: from the publish to the bare subscriber: what the broker alone takes.

Events are held against TT1 (1 s); for controls see ``bench.control`` (TT2, 500 ms).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import paho.mqtt.client as mqtt
from open61850.mms import OBJECT_CLASS_DOMAIN, MmsClient
from open61850.mms.errors import MmsError
from paho.mqtt.enums import CallbackAPIVersion

from bench.transfer_listen import (
    DEADLINE,
    KINDS,
    PREFIX,
    TOPICS,
    Site,
    Times,
    listen_mms,
    listen_mqtt,
    listening,
    milliseconds,
)
from broker.contract.birth import Birth, Hardware
from broker.contract.messages import Message
from broker.contract.quantities import HOUSEHOLD
from broker.contract.reading import Reading
from broker.contract.relay import Position, Relay
from broker.contract.status import Status
from broker.contract.topics import scl_name
from scl_builder.build.builder import build_cid
from scl_builder.build.project import Ied, Meter, Project
from tests.support.brokers import free_port, mosquitto

TT1 = 1.0
"""Seconds; transfer time class of events in IEC 61850-5."""
IED = "SMGW001"
SETTLE_SECONDS = 2.0


# --- the meters -------------------------------------------------------------------------------------------


class Meters:
    """Publishes as meters do, QoS 1, and knows when."""

    def __init__(self, site: Site) -> None:
        self.sent: Times = {}
        self._meters = site.meters
        self._number = 0
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.connect("127.0.0.1", site.mqtt_port)
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes) -> None:
        """Retained, and acknowledged before we go on: as the first of its kind."""
        self._client.publish(topic, payload, qos=1, retain=True).wait_for_publish(DEADLINE)

    def join(self) -> None:
        """Births, status and a first position of all."""
        now = datetime.now(UTC)
        for name in self._meters:
            hardware = Hardware(serial=name[-8:])
            birth = Birth(
                name=name,
                hardware=hardware,
                firmware="b",
                quantities=HOUSEHOLD,
                interval=3600,
                session="b",
                ts=now,
            )
            for kind, message in (
                ("birth", birth),
                ("status", Status(online=True, session="b", ts=now)),
                ("relay", self._relay(now)),
                ("reading", self._reading(now)),
            ):
                self.publish(TOPICS.meter(name, kind), message.payload())

    def events(self, kind: str, count: int, gap: float) -> None:
        """One event of a meter after the other, ``gap`` seconds apart."""
        begin = time.time()
        for index in range(count):
            time.sleep(max(0.0, begin + index * gap - time.time()))
            self._number += 1 if index % len(self._meters) == 0 else 0
            now = time.time()
            name = self._meters[index % len(self._meters)]
            ts = datetime.fromtimestamp(milliseconds(now) / 1000, UTC)  # what a message carries of it
            message = self._relay(ts) if kind == "position" else self._reading(ts)
            topic = TOPICS.meter(name, "relay" if kind == "position" else "reading")
            self.sent[kind, name, milliseconds(now)] = time.time()
            self._client.publish(topic, message.payload(), qos=1, retain=True)

    def _relay(self, ts: datetime) -> Message:
        position = Position.OPEN if self._number % 2 else Position.CLOSED
        return Relay(position=position, operations=self._number, local=False, ts=ts, command_id=None)

    def _reading(self, ts: datetime) -> Message:
        return Reading(
            epoch=1,
            seq=self._number + 1,
            ts=ts,
            voltage=230 + self._number % 7,
            current=1.5,
            power=345.0,
            power_factor=0.98,
            frequency=50.0,
            energy=1000,
        )

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


# --- one run ----------------------------------------------------------------------------------------------


@contextmanager
def bridge(folder: Path, site: Site) -> Iterator[None]:
    """The MMS bridge as a process, once it listens."""
    command = [
        sys.executable,
        "-m",
        "admin",
        "mms",
        "run",
        "--mqtt",
        f"127.0.0.1:{site.mqtt_port}",
        "--prefix",
        PREFIX,
    ]
    with (folder / "mms.log").open("wb") as log, subprocess.Popen(command, stderr=log, cwd=folder) as running:
        try:
            deadline = time.monotonic() + DEADLINE
            while not _listens(site):
                if time.monotonic() > deadline or running.poll() is not None:
                    sys.exit((folder / "mms.log").read_text())
                time.sleep(0.05)
            yield
        finally:
            running.terminate()


def _listens(site: Site) -> bool:
    """Whether all meters are served."""
    try:
        with MmsClient.connect("127.0.0.1", site.mms_port, timeout=2.0) as client:
            return len(client.get_name_list(OBJECT_CLASS_DOMAIN)) > len(site.meters)
    except (MmsError, OSError):
        return False


def run(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """All figures of one run, in ms."""
    names = tuple(str(uuid.UUID(int=(1 << 96) + number)) for number in range(options.meters))
    with mosquitto(folder) as broker:
        site = Site(broker.port, free_port(), names)
        meters = Meters(site)
        meters.join()
        devices = enumerate(names, 1)
        served = tuple(Meter(name, f"M{number}", ld_name=scl_name(name)) for number, name in devices)
        ied = Ied(IED, "127.0.0.1", site.mms_port, served)
        meters.publish(TOPICS.cid(IED), build_cid(Project("bench", 1, (ied,)), IED))
        with (
            bridge(folder, site),
            listening(listen_mms, site) as reports,
            listening(listen_mqtt, site) as messages,
        ):
            for kind in KINDS:
                meters.events(kind, options.events, options.gap)
            time.sleep(SETTLE_SECONDS)
            arrived = {"report": _times(reports), "mqtt": _times(messages)}
        meters.close()
    return dict(_figures(meters.sent, arrived))


def _times(pipe: Connection) -> Times:
    pipe.send("stop")
    times: Times = pipe.recv()
    return times


def _figures(sent: Times, arrived: dict[str, Times]) -> Iterator[tuple[str, float]]:
    for kind in KINDS:
        for path, times in arrived.items():
            keys = [key for key in sent if key[0] == kind]
            lags = sorted(1000 * (times[key] - sent[key]) for key in keys if key in times)
            name = f"{kind}_{path}"
            yield f"{name}_missing", len(keys) - len(lags)
            if lags:
                yield f"{name}_p50_ms", lags[len(lags) // 2]
                yield f"{name}_p99_ms", lags[min(len(lags) - 1, len(lags) * 99 // 100)]
                yield f"{name}_max_ms", lags[-1]


def main() -> None:
    """Measure, and print medians and spread."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--events", type=int, default=500, help="of each kind in each run (default 500)")
    add("--meters", type=int, default=50, help="meters of the one IED (default 50)")
    add("--gap", type=float, default=0.02, help="seconds between two events (default 0.02)")
    add("--runs", type=int, default=5, help="medians are of so many (default 5)")
    add("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    results = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as name:
            results.append(run(options, Path(name)))
    _print(results, as_json=options.json)


def _print(results: list[dict[str, float]], *, as_json: bool) -> None:
    names = [name for name in results[0] if all(name in result for result in results)]
    summary = {
        name: {
            "median": statistics.median(result[name] for result in results),
            "min": min(result[name] for result in results),
            "max": max(result[name] for result in results),
        }
        for name in names
    }
    held = all(
        summary[f"{kind}_report_missing"]["max"] == 0
        and summary[f"{kind}_report_max_ms"]["max"] <= 1000 * TT1
        for kind in KINDS
    )
    if as_json:
        print(json.dumps({"tt1_held": held, "runs": len(results), "figures": summary}))
        return
    for name, values in summary.items():
        print(f"{name:26}{values['median']:10.2f}  ({values['min']:.2f} to {values['max']:.2f})")
    print(f"TT1 ({TT1:g} s) {'held' if held else 'NOT held'} by every event of {len(results)} runs")


if __name__ == "__main__":
    main()
