"""Select, operate, the meter's answer, the termination: how long a control takes, and where the time goes.

    python -m bench.control --commands 200 --runs 5

Real parts: Mosquitto, the MMS bridge and ``meter simulate`` as processes, open61850 as the client. Three
figures in each run, alternately opening and closing:

- control: SBOw + Oper until the positive termination;
- command: the reference, a bare MQTT command to the same meter until its result;
- read: another one, a plain MMS read over the same association.

What control costs over the sum of three reads (two requests and a report) and one command is our own path.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import aiomqtt
from open61850.mms import MmsClient, operate
from open61850.mms.control import CTL_MODEL_SBO_ENHANCED
from open61850.mms.errors import MmsError

from bench.places import ISSUER, Place, bare
from broker.contract.messages import utc_now
from broker.contract.relay import Command, Origin, OriginCategory, Position
from broker.contract.result import Result
from broker.contract.status import Revision
from broker.contract.topics import Topics, scl_name
from broker.mqtt.settings import NO_DELAY, MqttSettings
from meter_firmware.settings import SimulateSettings
from meter_firmware.simulate import meter_ids
from scl_builder.build.builder import build_cid
from scl_builder.build.project import Ied, Meter, Project
from tests.support.brokers import free_port

TOPICS = Topics()
START_SECONDS = 30.0
ORIGIN = Origin(category=OriginCategory.REMOTE_CONTROL, identifier="bench")


@contextmanager
def service(*arguments: str, folder: Path, env: Mapping[str, str] | None = None) -> Iterator[None]:
    """A service of the CLI while the block runs."""
    with (folder / f"{arguments[0]}.log").open("wb") as log:
        command = [sys.executable, "-m", "admin", *arguments]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        try:
            yield
        finally:
            process.terminate()
            process.wait(10)


async def publish_cid(broker: MqttSettings, mms: int, meter_ids: list[str]) -> None:
    """What the bridge would publish."""
    meters = tuple(
        Meter(meter_id, f"M{number}", meter_id[:4], ld_name=scl_name(meter_id))
        for number, meter_id in enumerate(meter_ids, 1)
    )
    project = Project("bench", 1, (Ied("SMGW001", "127.0.0.1", mms, meters),))
    revision = Revision(revision=1, sha256="0" * 64, meters=len(meters), ieds=1, ts=utc_now())
    async with aiomqtt.Client(broker.host, broker.port, tls_context=broker.tls()) as client:
        cid = build_cid(project, "SMGW001")
        await client.publish(TOPICS.cid("SMGW001"), cid, qos=1, retain=True)
        await client.publish(TOPICS.revision, revision.payload(), qos=1, retain=True)


def associated(port: int, domain: str) -> MmsClient:
    """An association, as soon as the meter's relay is shown."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with suppress(OSError, MmsError):
            client = MmsClient.connect("127.0.0.1", port, timeout=10.0)
            if getattr(client.read(f"{domain}/XSWI1.Pos.q[ST]"), "value", None) == b"\x00\x00":
                return client
            client.close()
        time.sleep(0.1)
    sys.exit("the MMS bridge does not show the meter's relay")


def times(count: int, once: Callable[[int], None]) -> list[float]:
    """Milliseconds of each call."""
    found = []
    for number in range(count):
        started = time.perf_counter()
        once(number)
        found.append((time.perf_counter() - started) * 1000)
    return found


def control_times(client: MmsClient, domain: str, count: int) -> list[float]:
    """Select with value, operate, termination."""
    return times(
        count,
        lambda n: _terminated(
            operate(client, f"{domain}/CSWI1.Pos", bool(n % 2), ctl_model=CTL_MODEL_SBO_ENHANCED)
        ),
    )


def _terminated(result: object) -> None:
    assert getattr(result, "terminated", False), result


async def command_times(broker: MqttSettings, meter_id: str, count: int) -> list[float]:
    """A bare command until its result."""
    found = []
    async with aiomqtt.Client(
        broker.host, broker.port, tls_context=broker.tls(), socket_options=NO_DELAY
    ) as client:
        await client.subscribe(TOPICS.meter(meter_id, "result"), qos=1)
        for number in range(count):
            now = utc_now()
            command = Command(
                command_id=uuid.uuid4().hex,
                position=Position.CLOSED if number % 2 else Position.OPEN,
                issued_at=now,
                expires_at=now + timedelta(seconds=5),
                origin=ORIGIN,
            )
            started = time.perf_counter()
            await client.publish(TOPICS.meter(meter_id, "command"), command.payload(), qos=1)
            result = Result.model_validate_json((await anext(client.messages)).payload or b"")
            assert (result.command_id, result.outcome) == (command.command_id, "done"), result
            found.append((time.perf_counter() - started) * 1000)
    return found


def read_times(client: MmsClient, domain: str, count: int) -> list[float]:
    """One attribute."""
    return times(count, lambda _: _kept(client.read(f"{domain}/XSWI1.Pos.stVal[ST]")))


def _kept(value: object) -> None:
    assert value is not None


def spread(values: list[float]) -> dict[str, float]:
    """p50, p99 and the longest, in ms."""
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {"p50": statistics.median(ordered), "p99": p99, "max": ordered[-1]}


@dataclass(frozen=True)
class Rig:
    """The running chain, and an association with it."""

    place: Place
    client: MmsClient
    meter_id: str
    commands: int

    def run(self) -> dict[str, dict[str, float]]:
        """The figures of one run."""
        domain, issuer = scl_name(self.meter_id), self.place.settings(ISSUER)
        return {
            "control": spread(control_times(self.client, domain, self.commands)),
            "command": spread(asyncio.run(command_times(issuer, self.meter_id, self.commands))),
            "read": spread(read_times(self.client, domain, self.commands)),
        }


@contextmanager
def rig(options: argparse.Namespace, at: Callable[[Path], AbstractContextManager[Place]]) -> Iterator[Rig]:
    """Broker, MMS bridge and meters."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place = stack.enter_context(at(folder))
        settings = SimulateSettings(n=options.meters, interval=options.interval, data_dir=folder / "meters")
        ids, mms = meter_ids(settings), free_port()
        asyncio.run(publish_cid(place.settings("bridge"), mms, ids))
        bridge = ("mms", "run", "--mqtt", f"127.0.0.1:{place.port}")
        stack.enter_context(service(*bridge, folder=folder, env=place.environment("mms")))
        simulated = ("-n", str(options.meters), "--interval", str(options.interval))
        where = ("--data-dir", str(folder / "meters"), *place.meters(settings))
        meters = ("meter", "simulate", *simulated, *where)
        stack.enter_context(service(*meters, folder=folder, env=place.environment()))
        client = stack.enter_context(associated(mms, scl_name(ids[0])))
        control_times(client, scl_name(ids[0]), 10)  # the first ones make files and fill caches
        yield Rig(place, client, ids[0], options.commands)


def measure(options: argparse.Namespace) -> list[dict[str, dict[str, float]]]:
    """Figures of each run."""
    with rig(options, bare) as running:
        return [running.run() for _ in range(options.runs)]


def main() -> None:
    """Measure and print the medians of the runs, and their spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--commands", type=int, default=200, help="of each kind in a run, even (default 200)")
    parser.add_argument("--meters", type=int, default=10, help="simulated; one is switched (default 10)")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between readings (default 1)")
    parser.add_argument("--runs", type=int, default=5, help="medians are of so many (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    options = parser.parse_args()
    runs = measure(options)
    if options.json:
        print(json.dumps({"unit": "ms", "meters": options.meters, "runs": runs}))
        return
    for name in runs[0]:
        for figure in ("p50", "p99"):
            values = [run[name][figure] for run in runs]
            low, middle, high = min(values), statistics.median(values), max(values)
            print(f"{name:8s} {figure} {middle:8.2f} ms  ({low:.2f} … {high:.2f})")


if __name__ == "__main__":
    main()
