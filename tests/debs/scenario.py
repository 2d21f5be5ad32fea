"""What happens to the packages in one Debian: installed, started, upgraded with a changed setting, purged.

The server and a meter are two systems in one network that has nothing but a loopback interface.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.debs.units import Service, start
from tests.support.chain import until
from tests.support.roots import Root

DEPLOYMENT = "/var/lib/meter61850"
STARTED = ("broker", "bridge", "mms", "registrar", "web")
METER_TOML = "/etc/meter61850/meter.toml"
AS_METER = "--reuid=meter61850 --regid=meter61850 --init-groups"
NAME = "Cellar"
SETTINGS = {
    'name = "Kitchen board"': f'name = "{NAME}"',
    'kind = "gpio"': 'kind = "simulated"',
    "# interval = 10": "interval = 1",
}
"""What the owner changes in the example."""


@dataclass
class Machine:
    """A system with one of the packages."""

    root: Root
    package: str
    logs: Path
    services: dict[str, Service] = field(default_factory=dict)

    def install(self, deb: Path) -> None:
        """Install or upgrade; a setting that was changed stays, without a question."""
        shutil.copy(deb, self.root.path("/tmp"))
        self.root.run("apt-get", "update", "-q", online=True)
        keep = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
        self.root.run(
            *("apt-get", "install", "-y", "-q", "--no-install-recommends", *keep, f"/tmp/{deb.name}"),
            online=True,
        )

    def start(self, *names: str) -> None:
        """Start units by their short names."""
        for name in names:
            self.services[name] = start(self.root, f"meter61850-{name}.service", self.logs)

    def stop(self) -> None:
        """Stop all, the last first; AssertionError if one does not end well."""
        for name in reversed(list(self.services)):
            self.services.pop(name).stop()

    def files(self) -> list[str]:
        """What the package has brought, as dpkg knows it."""
        listed = self.root.run("dpkg", "-L", self.package).split()
        return [name for name in listed if not self.root.path(name).is_dir()]

    def purge(self) -> None:
        """Take it away; AssertionError if anything but keys and readings stays."""
        brought = self.files()
        self.root.run("apt-get", "remove", "-y", "-q", self.package)
        left = [name for name in brought if self.root.path(name).is_file()]
        assert left, "settings go with a purge only"
        assert all(name.startswith("/etc/meter61850/") for name in left), left
        said = self.root.run("apt-get", "purge", "-y", "-q", self.package)
        assert f"{DEPLOYMENT} holds keys and readings, and stays" in said
        assert not [name for name in ("/etc/meter61850", "/opt/meter61850") if self.root.path(name).exists()]
        assert self.root.path(DEPLOYMENT).is_dir()
        assert self.root.run("dpkg", "-l", self.package, check=False).find(f"ii  {self.package}") < 0


@contextmanager
def running(machine: Machine) -> Iterator[Machine]:
    """Kill what still runs at the end."""
    try:
        yield machine
    finally:
        for service in machine.services.values():
            service.process.kill()


def lifetime(server: Machine, meter: Machine, debs: Mapping[str, Path], tell: Callable[[str], None]) -> None:
    """All of it; ``debs``: "server" and "meter", and "server later" and "meter later" for the upgrade."""
    server.install(debs["server"])
    meter.install(debs["meter"])
    tell("installed")
    first_look(server)
    first_look(meter)
    server.root.run("meter61850", "init", DEPLOYMENT, "--host", "127.0.0.1")
    server.start(*STARTED)
    enrol(server, meter)
    meter.start("meter")
    before = until(lambda: read_at(server))
    served(server)
    tell("started: a meter enrolled, and its readings are in the database, over MMS and on the page")
    meter.stop()
    server.stop()
    server.install(debs["server later"])
    meter.install(debs["meter later"])
    assert NAME in meter.root.path(METER_TOML).read_text(), "a changed setting stays"
    server.start(*STARTED)
    meter.start("meter")
    until(lambda: read_at(server) > before)
    tell("upgraded: the same meter goes on")
    meter.stop()
    server.stop()
    meter.purge()
    server.purge()
    tell("purged")


def first_look(machine: Machine) -> None:
    """The command, the manual page, the users, the settings."""
    assert machine.root.run("meter61850", "--version").startswith("meter61850 ")
    files = machine.files()
    assert "/usr/share/man/man1/meter61850.1.gz" in files or not machine.root.path("/usr/share/man").exists()
    caches = machine.root.path("/opt/meter61850/lib").rglob("__pycache__")
    assert next(caches, None), "each start would compile everything"
    for name in (name for name in files if name.startswith("/etc/meter61850/")):
        assert machine.root.run("stat", "-c", "%U:%G %a", name).strip() == "root:root 644"


def enrol(server: Machine, meter: Machine) -> None:
    """As deploy/debian/meter.md says."""
    toml = meter.root.path(METER_TOML)
    text = toml.read_text()
    for theirs, ours in SETTINGS.items():
        assert theirs in text
        text = text.replace(theirs, ours)
    toml.write_text(text)
    command = ("meter61850", "--dir", DEPLOYMENT, "enrol", "new", "--automatic")
    code = re.findall(r"\b\w{4}(?:-\w{4}){5}\b", server.root.run(*command))[0]
    shutil.copy(server.root.path(f"{DEPLOYMENT}/ca/ca.crt"), meter.root.path(DEPLOYMENT))
    meter.root.path(f"{DEPLOYMENT}/ca.crt").chmod(0o644)
    asked = (
        "meter61850",
        "meter",
        "enrol",
        "--config",
        METER_TOML,
        "--broker",
        "127.0.0.1",
        "--ca",
        "ca.crt",
    )
    said = meter.root.run(*asked, "--code", code, "--wait", "2m", user=AS_METER, cwd=DEPLOYMENT)
    assert "enrolled" in said


def read_at(server: Machine) -> str:
    """Time of the meter's latest reading in the database; empty while it has none, or is offline."""
    said = server.root.run("meter61850", "--dir", DEPLOYMENT, "meters", "list", "--json", check=False)
    rows = json.JSONDecoder().raw_decode(said)[0] if said.startswith("[") else []
    return next((str(row["read_at"] or "") for row in rows if row["name"] == NAME and row["online"]), "")


def served(server: Machine) -> None:
    """Over MMS, and on the page."""
    browse = ("meter61850", "--dir", DEPLOYMENT, "mms", "browse", "127.0.0.1", "--json")
    until(lambda: "SMGW001" in server.root.run(*browse, check=False))
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8061/healthz', timeout=9).read())"
    until(lambda: "b'ok" in server.root.run("python3", "-c", ask, check=False))
