"""What TLS costs on MMS: associations, reads and operates, plain and over TLS, in turns against one bridge.

    python -m bench.mms_tls --reads 2000 --commands 100 --runs 3

Real parts: Mosquitto, the MMS bridge and ``meter simulate`` as processes, open61850 as the client, P-256
certificates. Three figures each way, and the processor time that the bridge spent on each:

- associate: TCP, TLS handshake with both certificates, MMS association, and closed again;
- read: one attribute, one request after the other over one association;
- control: SBOw + Oper until the positive termination.

The client passes TLS through a thread of its own (``admin/mms/tls_client.py``): its share is in the times,
not in the bridge's processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiomqtt
import psutil
from open61850.mms import MmsClient

from admin.mms.tls_client import ClientCertificate, connect_tls
from bench.control import TOPICS, associated, control_times, read_times, service, times
from broker.contract.topics import scl_name
from meter_firmware.settings import SimulateSettings
from meter_firmware.simulate import meter_ids
from scl_builder.build.builder import build_cid
from scl_builder.build.project import Ied, Meter, Project
from tests.support.brokers import free_port, mosquitto
from tests.support.certificates import Authority

METERS = 5
Connect = Callable[[], MmsClient]


@contextmanager
def bridge(mqtt: str, folder: Path, ca: Authority) -> Iterator[psutil.Process]:
    """The MMS bridge with TLS."""
    server, rights = ca.issue("gateway"), folder / "clients.toml"
    rights.write_text('clients.desk.rights = "control"\n')
    files = {"TLS_CERT": server.cert, "TLS_KEY": server.key, "TLS_CA": ca.cert, "TLS_CRL": ca.crl,
             "CLIENTS": rights}  # fmt: skip
    environment = os.environ | {f"METER61850_MMS_{name}": str(file) for name, file in files.items()}
    with (folder / "mms.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "admin", "mms", "run", "--mqtt", mqtt],
            stdout=log, stderr=log, env=environment,
        )  # fmt: skip
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(10)


async def publish_cid(mqtt: int, ports: tuple[int, int], ids: list[str]) -> None:
    """What the bridge would publish."""
    named = enumerate(ids, 1)
    meters = tuple(Meter(one, f"M{number}", ld_name=scl_name(one)) for number, one in named)
    project = Project("bench", 1, (Ied("SMGW001", "127.0.0.1", ports[0], meters, tls_port=ports[1]),))
    async with aiomqtt.Client("127.0.0.1", mqtt) as client:
        await client.publish(TOPICS.cid("SMGW001"), build_cid(project, "SMGW001"), qos=1, retain=True)


def figures(process: psutil.Process, measure: Callable[[], list[float]]) -> dict[str, float]:
    """Median and p99 in ms, and what the bridge spent on each in ms of processor time."""
    before = sum(process.cpu_times()[:2])
    found = sorted(measure())
    spent = (sum(process.cpu_times()[:2]) - before) * 1000 / len(found)
    return {"p50": statistics.median(found), "p99": found[int(len(found) * 0.99)], "cpu": spent}


def one_way(
    process: psutil.Process, connect: Connect, domain: str, options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """The three figures."""
    with connect() as client:
        found = {
            "read": figures(process, lambda: read_times(client, domain, options.reads)),
            "control": figures(process, lambda: control_times(client, domain, options.commands)),
        }
    found["associate"] = figures(process, lambda: times(options.commands, lambda _: connect().close()))
    return found


def measure(options: argparse.Namespace) -> list[dict[str, dict[str, dict[str, float]]]]:
    """Figures of each run: plain, over TLS."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(mosquitto(folder))
        settings = SimulateSettings(n=METERS, interval=1.0, data_dir=folder / "meters")
        ids = meter_ids(settings)
        ports, mqtt, ca = (free_port(), free_port()), f"127.0.0.1:{broker.port}", Authority(folder / "ca")
        asyncio.run(publish_cid(broker.port, ports, ids))
        process = stack.enter_context(bridge(mqtt, folder, ca))
        simulated = ("-n", str(METERS), "--interval", "1", "--data-dir", str(folder / "meters"))
        stack.enter_context(service("meter", "simulate", *simulated, "--mqtt", mqtt, folder=folder))
        domain, desk = scl_name(ids[0]), ca.issue("desk")
        with associated(ports[0], domain) as client:
            control_times(client, domain, 10)  # the first ones make files and fill caches
        identity = ClientCertificate(desk.cert, desk.key, ca.cert)
        ways: dict[str, Connect] = {
            "plain": lambda: MmsClient.connect("127.0.0.1", ports[0], timeout=10.0),
            "tls": lambda: connect_tls("127.0.0.1", ports[1], identity, timeout=10.0),
        }
        runs = []
        for _ in range(options.runs):
            runs.append({way: one_way(process, connect, domain, options) for way, connect in ways.items()})
            time.sleep(options.commands / 20)  # as many handshakes as we made are allowed again
        return runs


def main() -> None:
    """Measure and print the medians of the runs, and their spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--reads", type=int, default=2000, help="in a run, each way (default 2000)")
    parser.add_argument("--commands", type=int, default=100, help="the same of operates, even (default 100)")
    parser.add_argument("--runs", type=int, default=3, help="medians are of so many (default 3)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    options = parser.parse_args()
    runs = measure(options)
    if options.json:
        print(json.dumps({"unit": "ms", "runs": runs}))
        return
    for what in ("associate", "read", "control"):
        for figure in ("p50", "p99", "cpu"):
            for way in ("plain", "tls"):
                values = [run[way][what][figure] for run in runs]
                low, middle, high = min(values), statistics.median(values), max(values)
                print(f"{what:9s} {figure} {way:5s} {middle:8.3f} ms  ({low:.3f} … {high:.3f})")


if __name__ == "__main__":
    main()
