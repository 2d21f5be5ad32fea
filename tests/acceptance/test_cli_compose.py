"""The commands of compose.yaml, run here: the same lines, with our folder and free ports."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from broker.mqtt import packets
from tests.support.brokers import free_port
from tests.support.chain import until
from tests.support.cli import STOP_SECONDS, environment
from tests.support.project import Command, commands

DOORS = ("8882", "8883", "8884")


@dataclass
class Containers:
    """The services of compose.yaml as processes: each port and folder of theirs has one of ours."""

    folder: Path
    ports: dict[str, int]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    def placed(self, text: str) -> str:
        """``text`` with our places in it; all replaced at once, since a free port may look like another."""
        places = {"/data": str(self.folder / "data"), "0.0.0.0": "127.0.0.1"}
        places |= {theirs: str(ours) for theirs, ours in self.ports.items()}
        return re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], text)

    def prepared(self, command: Command) -> dict[str, Any]:
        """What `subprocess` takes to start one."""
        told = {name: self.placed(value) for name, value in command.environment.items()}
        words = [self.placed(word) for word in command.words]
        return {
            "args": [sys.executable, "-P", "-m", "admin", *words],
            "env": environment() | told,
            "cwd": self.folder,
        }

    def start(self, name: str, command: Command) -> None:
        """Run one; killed at the end if it still runs."""
        with (self.folder / f"{name}.log").open("wb") as output:
            process = subprocess.Popen(**self.prepared(command), stdout=output, stderr=output)
        self.stack.callback(process.kill)
        self.processes[name] = process

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of the administrator's, as `docker compose exec` runs it."""
        command = Command(list(arguments), commands()["broker"].environment)
        return subprocess.run(
            **self.prepared(command), capture_output=True, text=True, timeout=120, check=False
        )

    def attempted(self, *arguments: str) -> Any:
        """What it prints as JSON; None when it fails."""
        done = self.run(*arguments, "--json")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def served(self) -> Any:
        """The endpoints of ten meters; None while there are fewer, or no broker yet."""
        shown = self.attempted("scl", "show")
        return shown["endpoints"] if shown and shown["meters"] == 10 else None

    def browsed(self, port: str, *options: str) -> int | None:
        """How many logical devices the MMS server has."""
        devices = self.attempted("mms", "browse", f"127.0.0.1:{port}", *options)
        return len(devices) if devices and len(devices) > 1 else None

    def trusted(self) -> ssl.SSLContext:
        """Of the deployment's authority."""
        return ssl.create_default_context(cafile=self.folder / "data" / "ca" / "ca.crt")


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[Containers]:
    """Started as compose starts them: `init` to its end, twice, then the others."""
    first = free_port(len(DOORS))
    ports = {theirs: first + number for number, theirs in enumerate(DOORS)}
    ports |= {theirs: free_port() for theirs in ("3782", "10102", "9850", "9851", "9854", "8061")}
    site = Containers(tmp_path, ports)
    services = commands()
    init = services.pop("init")
    for said in ("made ", "is a deployment already"):
        done = subprocess.run(**site.prepared(init), capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert said in done.stderr
    with site.stack:
        for name, command in services.items():
            site.start(name, command)
        yield site


def test_containers_commands_make_a_whole_secure_chain(containers: Containers) -> None:
    site = containers
    ieds = until(site.served)
    assert ieds == [{"ied": "SMGW001", "host": "127.0.0.1", "port": site.ports["10102"], "meters": 10}]
    assert until(lambda: site.browsed("10102")) == 11
    assert site.run("identity", "add", "anna", "--role", "operator").returncode == 0
    files = [("cert", "client.crt"), ("key", "client.key"), ("ca", "ca.crt")]
    tls = [word for name, file in files for word in (f"--tls-{name}", f"/data/identities/anna/{file}")]
    assert until(lambda: site.browsed("3782", *tls)) == 11
    page = httpx.get(f"https://localhost:{site.ports['8061']}/healthz", verify=site.trusted(), timeout=60)
    assert page.status_code == 200
    assert answered(site.ports["8884"], site.trusted()) == b"\x20"  # there is a broker: it refuses over TLS
    assert [answered(site.ports[door], None)[:1] == b"\x20" for door in DOORS] == [False] * len(DOORS)
    founded = until(lambda: site.attempted("audit", "show", "--event", "rights-changed"))
    assert founded[0]["outcome"] == "founded"
    assert until(lambda: site.attempted("audit", "verify"))["compared_with"] == 1
    beside_the_chain(site)
    for name, process in reversed(site.processes.items()):
        process.send_signal(signal.SIGTERM)  # as `docker stop` does
        assert process.wait(STOP_SECONDS) == 0, (name, (site.folder / f"{name}.log").read_text())


def beside_the_chain(site: Containers) -> None:
    """What the profiles add: one that runs with its identity, and one that has no broker to publish to."""
    for name, role in (("homeassistant", "homeassistant"), ("sparkplug", "operator")):
        assert site.run("identity", "add", name, "--role", role).returncode == 0
    site.start("homeassistant", commands("homeassistant")["homeassistant"])
    metrics = f"http://127.0.0.1:{site.ports['9854']}/metrics"
    until(lambda: "meter61850_homeassistant_meters 10.0" in scraped(metrics))
    told = site.prepared(commands("sparkplug")["sparkplug"])
    refused = subprocess.run(**told, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert "no identity may publish on spBv1.0/: give --target" in refused.stderr


def scraped(url: str) -> str:
    """What it serves; empty while it does not."""
    try:
        return httpx.get(url).text
    except httpx.HTTPError:
        return ""


def answered(port: int, tls: ssl.SSLContext | None) -> bytes:
    """The first octet of what comes back for a CONNECT: 0x20 is a CONNACK; nothing when it is cut off."""
    connect = packets.connect("x", version=4, keepalive=10, will=None, clean=True)
    try:
        with socket.create_connection(("127.0.0.1", port), 60) as plain:
            door = tls.wrap_socket(plain, server_hostname="localhost") if tls else plain
            door.sendall(connect)
            return door.recv(1)
    except OSError:
        return b""
