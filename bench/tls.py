"""What TLS, identities and rights cost: the same chain at a bare broker and in a deployment, in turns.

    python -m bench.tls --readings 30000 --commands 100 --runs 5

- ingest: readings/s from the first publish to the commit of the last, as `bench.ingest` measures ours;
- command: a bare MQTT command until the meter's result; control: SBOw + Oper over plain MMS until the
  positive termination, with everything behind it on MQTT over TLS; as `bench.control` measures them;
- memory: what Mosquitto's resident memory grows by for a connection, with 1,000 of them.

``ratio`` is tls / plain of each run. In a deployment the load of ingest comes over 8 connections of one
identity that may speak for all meters; each of the 1,000 connections has a certificate of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil

from bench.control import Rig, rig
from bench.ingest import ours
from bench.places import PLACES, Place, bare, deployment
from broker.mqtt import packets
from broker.mqtt.identity import CA, client_context
from registrar import pki

CONNECTIONS = 1000
WAYS = ("plain", "tls")
Figures = dict[str, float]
"""Of both ways, and their ratio."""


def compared(plain: float, tls: float) -> Figures:
    """Both, and what TLS makes of it."""
    return {"plain": plain, "tls": tls, "ratio": tls / plain}


def ingest(options: argparse.Namespace) -> Figures:
    """Readings/s, once each way."""
    return compared(*(ours(options, None, count=1, at=PLACES[way]) for way in WAYS))


def latencies(plain: Rig, tls: Rig) -> dict[str, Figures]:
    """Median ms of one run each way."""
    before, after = plain.run(), tls.run()
    return {name: compared(before[name]["p50"], after[name]["p50"]) for name in ("command", "control")}


def connections(place: Place, folder: Path) -> Iterator[socket.socket]:
    """As many as are measured; over TLS each with a certificate of its own."""
    hello = packets.connect("", version=4, keepalive=600, will=None, clean=True)
    if place.site is None:
        for _ in range(CONNECTIONS):
            yield answered(socket.create_connection(("127.0.0.1", place.port)), hello)
        return
    port, authority = place.site.deployment.ports["certificates"], place.site.deployment.authority()
    ca = place.site.deployment.identity_folder("admin") / CA
    cert, key = folder / "client.crt", folder / "client.key"
    key.touch(mode=0o600)
    for number in range(CONNECTIONS):
        own = pki.new_key()
        cert.write_bytes(pki.pem(authority.issue(f"m{number}", own.public_key())))
        key.write_bytes(pki.key_pem(own))
        plain = socket.create_connection(("127.0.0.1", port))
        yield answered(client_context(ca, cert, key).wrap_socket(plain, server_hostname="127.0.0.1"), hello)


def answered(sock: socket.socket, hello: bytes) -> socket.socket:
    """Connected as an MQTT client."""
    sock.sendall(hello)
    assert sock.recv(4) == b"\x20\x02\x00\x00", "the broker refuses the connection"
    return sock


def memory(way: str) -> float:
    """kB of the broker for each connection."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place = stack.enter_context(PLACES[way](folder))
        broker = psutil.Process(place.pid)
        before = broker.memory_info().rss
        for sock in connections(place, folder):
            stack.enter_context(sock)
        return (broker.memory_info().rss - before) / CONNECTIONS / 1000


def measure(options: argparse.Namespace) -> dict[str, list[Figures]]:
    """All runs."""
    found: dict[str, list[Figures]] = {"ingest": [ingest(options) for _ in range(options.runs)]}
    with rig(options, bare) as plain, rig(options, deployment) as tls:
        told = [latencies(plain, tls) for _ in range(options.runs)]
    for name in ("command", "control"):
        found[name] = [run[name] for run in told]
    found["memory"] = [compared(*(memory(way) for way in WAYS)) for _ in range(options.runs)]
    return found


def main() -> None:
    """Measure and print the medians of the runs, and their spread."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--readings", type=int, default=30_000, help="in one run (default 30,000)")
    add("--commands", type=int, default=100, help="of each kind in a run, even (default 100)")
    add("--runs", type=int, default=5, help="medians are of so many (default 5)")
    add("--dir", help="folder for the databases; a disk, not a RAM disk")
    add("--json", action="store_true", help="one JSON document instead of lines")
    options = parser.parse_args()
    options.connections, options.window, options.pin = 8, 100, False
    options.meters, options.interval = 10, 1.0
    found = measure(options)
    if options.json:
        print(json.dumps({"cores": os.cpu_count(), "results": found}))
        return
    for name, unit in (("ingest", "readings/s"), ("command", "ms"), ("control", "ms"), ("memory", "kB")):
        print(f"{name} ({unit})")
        for way in (*WAYS, "ratio"):
            values = [run[way] for run in found[name]]
            low, middle, high = min(values), statistics.median(values), max(values)
            print(f"  {way:6}{middle:12,.2f}  ({low:,.2f} … {high:,.2f})")


if __name__ == "__main__":
    main()
