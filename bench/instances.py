"""What report control blocks cost: memory, idle load and updates by the number of their instances.

    python -m bench.instances --ieds 10 --instances 1 2 4

For each number (METER61850_REPORT_INSTANCES) a process of its own serves the same IEDs of 50 meters:

- memory: of a meter whose IED a client has looked at, in kB; of 10,000 of them with the process, in MB.

Then so many clients associate with each IED. Before they enable anything, and when each has enabled one
instance of every block, which reports whatever changes:

- idle: the periodic tasks of 200 IEDs, in % of one core;
- update: a reading's JSON payload through :meth:`Gateway.take` into the attributes and reports, in µs.

All is CPU time of the bridge's own thread; what the clients take is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import time
from contextlib import ExitStack

import psutil
from open61850.mms import MmsClient, ObjectName, rcb

from bench.mms import fleet, payload, serve
from broker.contract.topics import Topic
from mms_bridge.gateway import Gateway
from mms_bridge.run import calm_collector
from mms_bridge.settings import MmsSettings
from scl_builder.model.logical_devices import GROUPS

TOWN_METERS, TOWN_IEDS = 10_000, 200
ALL_BLOCKS = tuple(f"{'BR' if group.buffered else 'RP'}${group.report}" for group in GROUPS)
PAUSE = 0.02
"""Seconds between rounds of readings: reports are gathered and sent in it."""

Figures = dict[str, float]


def megabytes() -> float:
    """Resident memory."""
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1e6


async def idle(gateway: Gateway, rounds: int) -> float:
    """Percent of a core that the periodic tasks of a town's IEDs take."""
    begin = time.thread_time()
    for _ in range(rounds):
        gateway.tick()
        await asyncio.sleep(0)
    seconds = (time.thread_time() - begin) / rounds / len(gateway.ieds)
    return 100 * seconds * TOWN_IEDS / MmsSettings().tick


async def update(gateway: Gateway, ids: list[list[str]], rounds: range) -> float:
    """µs for each reading, with the reports that it makes."""
    topics = [Topic("reading", meter_id) for meter_ids in ids for meter_id in meter_ids]
    begin = time.thread_time()
    for number in rounds:
        data = payload(number)
        for topic in topics:
            gateway.take(topic, data, retained=False)
        await asyncio.sleep(PAUSE)
    return 1e6 * (time.thread_time() - begin) / len(rounds) / len(topics)


def enable(client: MmsClient, name: str, instance: int) -> None:
    """One instance of each block of an IED."""
    there = set(client.get_name_list(0, f"{name}GW"))
    for block in ALL_BLOCKS:
        if f"LLN0${block}{instance:02d}" not in there:
            continue  # no meter has a member of its data set
        settings = rcb.RcbSettings(trg_ops=None, opt_flds=None, intg_pd_ms=None, general_interrogation=False)
        rcb.enable(client, ObjectName(f"LLN0${block}{instance:02d}", f"{name}GW"), settings)


async def measure(ieds: int, instances: int, rounds: int) -> Figures:
    """The figures of one number of instances, in this process."""
    calm_collector()
    gateway = Gateway(MmsSettings(), identity=("bench", "bench", "0"))
    gateway.set_broker(up=True)
    ids = fleet(ieds, 50)
    serve(gateway, ids, report_instances=instances)
    before = megabytes()
    for port in [ied.endpoint[1] for ied in gateway.ieds.values() if ied.endpoint is not None]:
        await asyncio.to_thread(lambda: MmsClient.connect("127.0.0.1", port).close())  # noqa: B023
    in_use = megabytes() - before
    with ExitStack() as clients:
        joined: list[tuple[MmsClient, str, int]] = []
        for name, ied in gateway.ieds.items():
            assert ied.endpoint is not None
            for instance in range(1, instances + 1):
                client = await asyncio.to_thread(MmsClient.connect, "127.0.0.1", ied.endpoint[1])
                joined.append((clients.enter_context(client), name, instance))
        figures = {
            "meter_kb": 1e3 * in_use / ieds / 50,
            "town_mb": before + in_use * TOWN_METERS / ieds / 50,
            "idle_percent": await idle(gateway, rounds * 5),
            "update_us": await update(gateway, ids, range(1, rounds + 1)),
        }
        for one in joined:
            await asyncio.to_thread(enable, *one)
        figures["idle_enabled_percent"] = await idle(gateway, rounds * 5)
        figures["update_enabled_us"] = await update(gateway, ids, range(rounds + 1, 2 * rounds + 1))
    gateway.close()
    return figures


def main() -> None:
    """Measure each number in a process of its own, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ieds", type=int, default=10, help="IEDs of 50 meters (default 10)")
    parser.add_argument(
        "--instances", type=int, nargs="+", default=[1, 2, 4], help="of each block, at most 5"
    )
    parser.add_argument("--rounds", type=int, default=40, help="readings of each meter (default 40)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    if len(options.instances) == 1:
        figures = asyncio.run(measure(options.ieds, options.instances[0], options.rounds))
        print(json.dumps(figures))
        return
    found = {}
    for instances in options.instances:
        command = [sys.executable, "-m", "bench.instances", "--instances", str(instances)]
        command += ["--ieds", str(options.ieds), "--rounds", str(options.rounds)]
        found[instances] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    if options.json:
        print(json.dumps(found))
        return
    print(f"{'instances':22}" + "".join(f"{instances:10}" for instances in found))
    for name in next(iter(found.values())):
        print(f"{name:22}" + "".join(f"{figures[name]:10.1f}" for figures in found.values()))


if __name__ == "__main__":
    main()
