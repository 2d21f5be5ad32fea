"""The SCL of a town: bytes for each meter, a rebuild after one birth, and the changed IED served.

    python -m bench.scl --ieds 200 --meters 50 --runs 5

Each run begins with nothing remembered, has the registry of simulated meters in SQLite, and measures:

- full build: registry to SCD and all CIDs; beside it: the same files parsed by lxml;
- rebuild: one meter more, from the registry to the SCD and the one CID as published; beside it: the same
  bytes hashed and written to a file;
- serve: the changed CID from its bytes to a server with all values; beside it: the CID parsed by lxml, and
  all that the MMS bridge does when a CID arrives, which includes to stop the generation that nobody uses.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lxml import etree
from sqlalchemy import Engine, insert
from sqlmodel import Session, SQLModel

from bridge.ingest.ied_names import ied_name
from bridge.scl.publication import Publication
from bridge.settings import BridgeSettings
from bridge.store import database
from bridge.store.tables import Meter
from broker.contract.compressed import unpacked
from broker.contract.topics import Topic
from broker.mqtt.settings import MqttSettings
from meter_firmware.settings import SimulateSettings
from meter_firmware.simulate import simulated_profile
from mms_bridge.datamodel import mapping, moment
from mms_bridge.gateway import Gateway
from mms_bridge.libiec61850.mms_server import Limits, Server
from mms_bridge.settings import MmsSettings
from scl_builder.build import builder
from scl_builder.read.cid import read_cid
from tests.support.brokers import free_port

MMS_PORT = 20_000
"""Nothing listens on the ports that follow: one IED alone is served, on a port that is free."""
FIRST_BORN = 1_795_000_000_000
KEPT: list[Server] = []
"""To be stopped when the time is taken."""
LIMITS = {"bytes/meter": 1450, "rebuild ms": 150, "serve ms": 50}
"""At 10,000 meters; the bytes as in tests/unit/test_scl_builder.py."""


def row(settings: SimulateSettings, key: int, ied: str) -> dict[str, Any]:
    """The registry's row of simulated meter ``key``."""
    profile = simulated_profile(settings, key)
    identity, hardware = profile.identity, profile.hardware
    described = identity.model_dump() | hardware.model_dump()
    known = {name: value for name, value in described.items() if name in Meter.model_fields}
    defaults = {"first_seen": FIRST_BORN, "last_seen": FIRST_BORN, "born_at": FIRST_BORN, "changes": 1}
    return (
        known
        | defaults
        | {"key": key, "number": key, "meter_id": profile.meter_id, "firmware": "0.1.0", "ied": ied}
    )


def fill(engine: Engine, rows: list[dict[str, Any]]) -> None:
    """Register meters."""
    table = SQLModel.metadata.tables["meter"]
    with Session(engine) as session:
        for start in range(0, len(rows), 500):
            session.connection().execute(insert(table), rows[start : start + 500])
        session.commit()


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class Town:
    """A registry with ``ieds`` full IEDs, and the publication that makes the SCL of it."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.sent: dict[str, bytes] = {}
        self._folder = folder
        self._meters = options.ieds * options.meters
        self._simulated = SimulateSettings(n=self._meters + 1, seed=1)
        url = f"sqlite:///{folder}/{time.monotonic_ns()}.sqlite"
        self._engine = database.connect(url)
        database.migrate(self._engine)
        self._settings = BridgeSettings(mqtt=MqttSettings(), database_url=url, mms_port=MMS_PORT)
        keys = range(1, self._meters + 1)
        fill(self._engine, [self._row(key, (key - 1) // options.meters + 1) for key in keys])
        self.topics = self._settings.mqtt.topics
        self._publication = Publication(self._engine, self._settings, publish=self.sent.__setitem__)

    def _row(self, key: int, ied: int) -> dict[str, Any]:
        return row(self._simulated, key, ied_name(ied))

    def build(self) -> float:
        """Everything, from nothing."""
        builder.forget()
        return seconds(lambda: self._publication.update(everything=True))

    def birth(self) -> float:
        """One more meter, in the first IED."""
        fill(self._engine, [self._row(self._meters + 1, 1)])
        self.sent.clear()
        took = seconds(lambda: self._publication.update(everything=False))
        assert set(self.sent) == {self.topics.scd, self.topics.revision, self.topics.cid(ied_name(1))}
        return took

    def parse(self) -> float:
        """All that was published, by lxml."""
        documents = [xml for payload in self.sent.values() if (xml := unpacked(payload)).startswith(b"<")]
        return seconds(lambda: [etree.fromstring(xml, etree.XMLParser(huge_tree=True)) for xml in documents])

    def write(self) -> float:
        """All that was published, hashed and written to files."""

        def once() -> None:
            for number, payload in enumerate(self.sent.values()):
                hashlib.sha256(payload).hexdigest()
                (self._folder / f"payload{number}").write_bytes(payload)

        return seconds(once)

    def close(self) -> None:
        """Let the database go."""
        self._engine.dispose()


def serve(gateway: Gateway, xml: bytes) -> None:
    """A server of its own for the CID, with control and values; nobody can reach it."""
    cid, idle = read_cid(xml), os.eventfd(0)
    server = Server(cid, Limits(), identity=("bench",) * 3, idle_fd=idle)
    server.start()
    gateway.control.equip(server)
    for device in cid.devices[:-1]:
        meter = gateway.fleet.meter(device.meter_id)
        now = moment.now(synchronized=True)
        server.preset(device.meter_id, mapping.all_values(meter, broker_up=True, now=now))
    os.close(idle)
    KEPT.append(server)


async def measure(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """One run."""
    gateway = Gateway(MmsSettings(), identity=("bench", "bench", "0"))
    gateway.set_broker(up=True)
    town = Town(folder, options)
    try:
        port = f">{free_port()}<".encode()
        figures = {"full build ms": 1000 * town.build(), "full parse ms (reference)": 1000 * town.parse()}
        figures["bytes/meter"] = len(unpacked(town.sent[town.topics.scd])) / (options.ieds * options.meters)
        topic, public = town.topics.cid(ied_name(1)), f">{MMS_PORT}<".encode()
        cid = town.sent[topic].replace(public, port)
        gateway.take(Topic("cid", ied_name(1)), cid, retained=True)
        figures |= {"rebuild ms": 1000 * town.birth(), "hash and write ms (reference)": 1000 * town.write()}
        cid = town.sent[topic].replace(public, port)
        figures["serve ms"] = 1000 * seconds(lambda: serve(gateway, cid))
        figures["parse CID ms (reference)"] = 1000 * seconds(lambda: etree.fromstring(cid))
        took = seconds(lambda: gateway.take(Topic("cid", ied_name(1)), cid, retained=False))
        assert gateway.counters["generations"] == 2
        figures["replace the generation ms"] = 1000 * took
        return figures
    finally:
        while KEPT:
            KEPT.pop().stop()
        gateway.close()
        town.close()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ieds", type=int, default=200)
    parser.add_argument("--meters", type=int, default=50, help="meters in each IED")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [asyncio.run(measure(Path(folder), options)) for _ in range(options.runs)]
    figures = {
        name: {"median": statistics.median(mapping), "min": min(mapping), "max": max(mapping)}
        for name in runs[0]
        for mapping in [[run[name] for run in runs]]
    }
    if options.json:
        print(json.dumps({"ieds": options.ieds, "meters": options.meters, "runs": options.runs,
                          "cores": os.cpu_count(), "results": figures}))  # fmt: skip
        return
    print(f"{options.ieds} IEDs x {options.meters} meters, median of {options.runs} (min to max)")
    for name, of in figures.items():
        limit = f", at most {LIMITS[name]}" if name in LIMITS else ""
        print(f"{name:32}{of['median']:>10,.1f}  ({of['min']:,.1f} to {of['max']:,.1f}{limit})")


if __name__ == "__main__":
    main()
