"""Value updates per second into MMS, beside the library's own update calls in a C loop.

    python -m bench.mms --ieds 4 --meters 50 --seconds 2 --runs 5

Four figures in each run, all with the same model, no client associated:

- path: readings published by a process of its own through a Mosquitto with our configuration into the
  attributes, everything on this machine: all of what a town costs;
- ours: a reading's JSON payload through :meth:`Gateway.take` into value, q and t of seven data objects;
- write: the same values through :meth:`Server.write` alone, without JSON and state;
- reference: a C loop over the library's update functions for the same objects (``mms_reference.c``, needs a
  C compiler).
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from open61850.mms import MmsClient

from bench.ingest import go, line, process
from bridge.settings import BridgeSettings
from broker.contract.birth import Birth, Hardware
from broker.contract.messages import utc_now
from broker.contract.reading import Reading
from broker.contract.status import Status
from broker.contract.topics import Topic, Topics
from broker.mqtt.receiver import Receiver
from broker.mqtt.settings import MqttSettings
from mms_bridge.datamodel import mapping
from mms_bridge.gateway import Gateway
from mms_bridge.libiec61850.bindings import lib
from mms_bridge.libiec61850.mms_server import Server
from mms_bridge.mqtt.router import Router
from mms_bridge.run import FED, calm_collector
from mms_bridge.settings import MmsSettings
from scl_builder.build.builder import build_cid
from scl_builder.build.project import Ied, Meter, Project
from tests.support.brokers import free_port, mosquitto

DEADLINE = 60.0

UPDATED = (
    *(("MMXN1", name) for name in ("Vol", "Amp", "Watt", "VolAmp", "PwrFact", "Hz")),
    ("MMTN1", "TotWh"),
)
"""What a reading updates, and the reference too: floats, and the energy last."""


class CPoint(ctypes.Structure):
    """struct point of mms_reference.c."""

    _fields_ = (("value", ctypes.c_void_p), ("q", ctypes.c_void_p), ("t", ctypes.c_void_p))


class CMeter(ctypes.Structure):
    """struct meter of mms_reference.c."""

    _fields_ = (
        ("server", ctypes.c_void_p),
        ("points", ctypes.POINTER(CPoint)),
        ("count", ctypes.c_int),
    )


def fleet(ieds: int, meters: int) -> list[list[str]]:
    """meter_ids by IED."""
    return [[str(uuid.UUID(int=(i + 1) << 32 | m)) for m in range(meters)] for i in range(ieds)]


def serve(gateway: Gateway, ids: list[list[str]], *, report_instances: int = 2) -> None:
    """Give the gateway a CID for each IED, and births and statuses."""
    for index, meter_ids in enumerate(ids):
        name = f"SMGW{index + 1:03d}"
        meters = tuple(Meter(meter_id, f"M{number}") for number, meter_id in enumerate(meter_ids, 1))
        ieds = (Ied(name, "127.0.0.1", free_port(), meters),)
        bands = BridgeSettings().bands
        project = Project("bench", 1, ieds, report_instances=report_instances, bands=bands)
        gateway.take(Topic("cid", name), build_cid(project, name), retained=True)
        for meter_id in meter_ids:
            birth = Birth(
                name="b", hardware=Hardware(serial="s"), firmware="b", interval=10, session="s", ts=utc_now()
            )
            gateway.take(Topic("birth", meter_id), birth.payload(), retained=True)
            status = Status(online=True, session="s", ts=utc_now())
            gateway.take(Topic("status", meter_id), status.payload(), retained=True)


def payload(seq: int) -> bytes:
    """A reading whose six quantities all differ from the one before."""
    return Reading(
        epoch=1,
        seq=seq,
        ts=utc_now(),
        voltage=230 + seq % 7,
        current=1 + seq % 5,
        power=200 + seq % 11,
        power_factor=0.9 + seq % 3 / 100,
        frequency=50 + seq % 2 / 10,
        energy=1000 + seq,
    ).payload()


def rate(once: Callable[[int], int], seconds: float) -> float:
    """Readings per second of ``once(round)``, which returns how many it did."""
    done, number, started = 0, 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        number += 1
        done += once(number)
    return done / elapsed


def our_rate(gateway: Gateway, ids: list[list[str]], seconds: float, first: int) -> float:
    """From the JSON payload to the data attributes."""
    topics = [Topic("reading", meter_id) for meter_ids in ids for meter_id in meter_ids]

    def once(number: int) -> int:
        data = payload(first + number)
        for topic in topics:
            gateway.take(topic, data, retained=False)
        return len(topics)

    return rate(once, seconds)


async def path_rate(gateway: Gateway, port: int, ids: list[list[str]], readings: int, first: int) -> float:
    """From the publish to the data attributes, through the broker."""
    numbers = [meter_id for meter_ids in ids for meter_id in meter_ids]
    before = gateway.counters["updates"]
    with process(sys.executable, "-c", LOAD, str(port), str(readings), str(first), *numbers) as loading:
        assert await asyncio.to_thread(line, loading) == "ready"
        begin = go(loading)
        while gateway.counters["updates"] - before < readings:
            await asyncio.sleep(0.01)
            assert time.time() - begin < DEADLINE, "not every reading arrived"
        return readings / (time.time() - begin)


LOAD = """
import sys
from bench.ingest_load import Connection, connect, send
from bench.mms import payload
from broker.contract.topics import Topics
port, readings, first, *ids = sys.argv[1:]
clients = [Connection(connect(int(port), number), 100) for number in range(4)]
topics = [Topics("sm/v1").meter(name, "reading").encode() for name in ids]
payloads = [payload(int(first) + number) for number in range(int(readings) // len(ids) + 1)]
for number in range(int(readings)):
    clients[number % 4].add(topics[number % len(ids)], payloads[number // len(ids)])
print("ready", flush=True)
sys.stdin.readline()
send(clients)
"""


def write_rate(gateway: Gateway, seconds: float) -> float:
    """The values alone, computed before."""
    targets = [
        (server, device.meter_id)
        for ied in gateway.ieds.values()
        for server in ied.generations
        for device in server.cid.devices[:-1]
    ]
    meter = next(m for m in gateway.fleet.meters.values() if m.reading is not None)
    told = [list(mapping.reading_values(meter, broker_up=up)) for up in (True, False)]

    def once(number: int) -> int:
        for server, meter_id in targets:
            server.write(meter_id, told[number % 2])
        return len(targets)

    return rate(once, seconds)


def compiled(folder: Path) -> ctypes.CDLL:
    """The reference loop, compiled now; SystemExit without a C compiler."""
    library = folder / "reference.so"
    source = Path(__file__).with_name("mms_reference.c")
    try:
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    except FileNotFoundError:
        sys.exit("the reference needs a C compiler: apt-get install gcc")
    return ctypes.CDLL(str(library))


def reference_rate(gateway: Gateway, library: ctypes.CDLL, seconds: float) -> float:
    """The library's update calls from C."""
    functions = (ctypes.c_void_p * 6)(
        *(
            ctypes.cast(getattr(lib, name), ctypes.c_void_p)
            for name in (
                "IedServer_lockDataModel",
                "IedServer_unlockDataModel",
                "IedServer_updateFloatAttributeValue",
                "IedServer_updateInt64AttributeValue",
                "IedServer_updateQuality",
                "MmsValue_setUtcTimeMsEx",
            )
        )
    )
    meters = [
        _c_meter(server, device.domain)
        for ied in gateway.ieds.values()
        for server in ied.generations
        for device in server.cid.devices[:-1]
    ]
    array = (CMeter * len(meters))(*meters)
    rounds = 20

    def once(_number: int) -> int:
        library.run(functions, array, len(meters), rounds)
        return len(meters) * rounds

    return rate(once, seconds)


def _c_meter(server: Server, domain: str) -> CMeter:
    points = server.points(domain)
    assert points is not None
    places = [points.shape.places[key] for key in UPDATED]
    array = (CPoint * len(places))(*(CPoint(points.value[i], points.q[i], points.t[i]) for i in places))
    return CMeter(server.handle, array, len(places))


async def measure(options: argparse.Namespace) -> list[dict[str, float]]:
    """One dict of readings per second for each run."""
    calm_collector()
    gateway = Gateway(MmsSettings(), identity=("bench", "bench", "0"))
    gateway.set_broker(up=True)
    ids = fleet(options.ieds, options.meters)
    serve(gateway, ids)
    for ied in gateway.ieds.values():  # its server is made when the first client comes
        assert ied.endpoint is not None
        await asyncio.to_thread(lambda port: MmsClient.connect("127.0.0.1", port).close(), ied.endpoint[1])
    runs = []
    with tempfile.TemporaryDirectory() as folder, mosquitto(Path(folder)) as broker:
        library = compiled(Path(folder))
        router = Router(gateway, Topics("sm/v1"))
        mqtt = MqttSettings(port=broker.port)
        topics = [mqtt.topics.filter(kind) for kind in FED]
        receiver = Receiver(mqtt, router.take, topics=topics, connected=lambda _up: None)
        feed = asyncio.create_task(receiver.run())
        for number in range(options.runs):
            path = await path_rate(gateway, broker.port, ids, options.readings, number * 1_000_000 + 1)
            runs.append(
                {
                    "path": path,
                    "ours": our_rate(gateway, ids, options.seconds, number * 1_000_000 + 500_000),
                    "write": write_rate(gateway, options.seconds),
                    "reference": reference_rate(gateway, library, options.seconds),
                }
            )
        feed.cancel()
    gateway.close()
    return runs


def main() -> None:
    """Measure and print medians, spread and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ieds", type=int, default=4, help="IEDs (default 4)")
    parser.add_argument("--meters", type=int, default=50, help="meters in each IED (default 50)")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each figure (default 2)")
    parser.add_argument("--readings", type=int, default=50_000, help="of the path (default 50,000)")
    parser.add_argument("--runs", type=int, default=5, help="medians are of so many (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    options = parser.parse_args()
    runs = asyncio.run(measure(options))
    ratios = {name: [run[name] / run["reference"] for run in runs] for name in ("path", "ours")}
    if options.json:
        medians = {name: statistics.median(found) for name, found in ratios.items()}
        print(json.dumps({"unit": "readings/s", "runs": runs, "ratio": medians}))
        return
    for name in ("path", "ours", "write", "reference"):
        rates = [run[name] for run in runs]
        print(
            f"{name:10s} {statistics.median(rates):10.0f} readings/s  ({min(rates):.0f} … {max(rates):.0f})"
        )
    for name, found in ratios.items():
        print(
            f"{name} / reference: {statistics.median(found):.3f}  ({min(found):.3f} … {max(found):.3f}), "
            f"{options.ieds} IEDs × {options.meters} meters"
        )


if __name__ == "__main__":
    main()
