"""Each service runs as a user of its own, with its own files and no others; real processes, real users."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from meter_firmware.settings import SimulateSettings
from meter_firmware.simulate import meter_ids
from registrar import layout
from tests.support.brokers import free_port
from tests.support.chain import until
from tests.support.cli import environment
from tests.support.users import ROOT, Users

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other users")

SERVICES = ("broker", "bridge", "mms", "web", "meters", "registrar")
METERS = meter_ids(SimulateSettings(n=2))
PATIENCE = 60.0

# fmt: off
READERS: dict[str, set[str]] = {
    "meter61850.env":       set(SERVICES),
    "register.sqlite":      {"registrar"},
    "change.lock":          {"registrar"},
    "finish.lock":          {"registrar"},
    "publish.lock":         {"registrar"},
    "trail.lock":           {"registrar"},
    "ca":                   {"registrar"},
    "security":             {"registrar", "broker"},
    "mms":                  {"registrar", "mms"},
    "web":                  {"registrar", "web"},
    "identities/bridge":    {"registrar", "bridge"},
    "identities/mms":       {"registrar", "mms"},
    "identities/web":       {"registrar", "web"},
    "identities/registrar": {"registrar"},
    "identities/admin":     {"registrar"},
    "identities/anna":      {"registrar"},
    **{f"identities/{meter}": {"registrar", "meters"} for meter in METERS},
    "broker":               {"broker"},
    "bridge":               {"bridge", "registrar"},
    "spool":                {"web"},
    "meters":               {"meters"},
    "database":             {"registrar", "bridge", "web"},
}
"""Below which path → who may read; nobody else may."""
WRITERS: dict[str, set[str]] = {
    "broker": {"broker"}, "bridge": {"bridge"}, "spool": {"web"}, "meters": {"meters"},
    "database": {"registrar", "bridge", "web"},
}
"""The same for writing; what is not here only the registrar writes."""
# fmt: on


@dataclass
class Machine:
    """A deployment with all services running, each as its user."""

    folder: Path
    users: Users
    web_port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def deployment(self) -> Path:
        return self.folder / "d"

    def run(self, user: str, *words: str, code: int = 0) -> str:
        """What a command prints, run to its end as ``user``."""
        done = subprocess.run(
            self.users.command(user, *words),
            env=environment(),
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == code, f"{user}: {words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def cli(self, *words: str, user: str = ROOT, code: int = 0) -> str:
        """An administrator's command."""
        return self.run(user, *program(), "--dir", str(self.deployment), *words, code=code)

    def start(self, service: str, *words: str) -> None:
        """Start a service as its user."""
        with (self.folder / f"{service}.log").open("ab") as log:
            self.processes[service] = subprocess.Popen(
                self.users.command(f"meter61850-{service}", *program(), "--log-level", "info", *words),
                env=environment() | {"METER61850_DIR": str(self.deployment)},
                cwd="/",
                stdout=log,
                stderr=log,
                umask=0o077,  # as the units have it
            )

    def log(self, service: str) -> str:
        return (self.folder / f"{service}.log").read_text()

    def files(self) -> list[Path]:
        """All files of the deployment."""
        return sorted(path for path in self.deployment.rglob("*") if path.is_file())

    def allowed(self, service: str, test: str) -> set[str]:
        """The files on which ``test`` (-r or -w) is true for the service's user."""
        script = f'for file; do if [ {test} "$file" ]; then echo "$file"; fi; done'
        paths = map(str, self.files())
        found = self.run(f"meter61850-{service}", "sh", "-c", script, "sh", *paths)
        return {str(Path(line).relative_to(self.deployment)) for line in found.splitlines()}


def program() -> tuple[str, ...]:
    return sys.executable, "-P", "-m", "admin"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that every user reaches."""
    folder = Path(tempfile.mkdtemp(prefix="meter61850-users-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def machine(place: Path) -> Iterator[Machine]:
    """`init` as root, then every service as its user, and what an administrator does meanwhile."""
    ports = [free_port() for _ in range(5)]
    running = Machine(place, Users.beside(place), ports[3])
    running.run(
        ROOT, *program(), "init", str(running.deployment), "--simulated", "2",
        *("--services-port", str(ports[0]), "--port", str(ports[1]), "--password-port", str(ports[2])),
    )  # fmt: skip
    with ExitStack() as stack:
        running.start("broker", "broker", "run", "--broker", "mosquitto")
        stack.callback(end, running)
        running.start("registrar", "enrol", "run")
        running.start("bridge", "bridge", "run", "--mms-port", str(ports[4]))
        running.start("mms", "mms", "run")
        pair = [
            f"--{name}={running.deployment}/web/web.{kind}"
            for name, kind in (("certificate", "crt"), ("key", "key"))
        ]
        running.start("web", "web", "run", "--port", str(ports[3]), *pair)
        identities = ("--identities", f"{running.deployment}/identities")
        data = ("--data-dir", f"{running.deployment}/meters")
        running.start("meters", "meter", "simulate", "-n", "2", "--interval", "0.5", *identities, *data)
        yield running


def end(running: Machine) -> None:
    for process in running.processes.values():
        process.terminate()
    for service, process in running.processes.items():
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
        print(f"--- {service}\n{running.log(service)[-2000:]}")  # noqa: T201 - with a failure


def test_every_service_works_as_its_user(machine: Machine) -> None:
    """Readings of both meters are stored, shown, and served over MMS; the registrar has written the audit."""

    def online() -> bool:
        try:
            meters = json.loads(machine.cli("meters", "list", "--json"))
        except AssertionError:  # no database yet
            return False
        return [meter["online"] for meter in meters] == [True, True]

    until(online, seconds=PATIENCE, why="both meters are online in the database")
    until(lambda: "founded" in machine.cli("audit", "show", "--json"), seconds=PATIENCE)
    until(lambda: "SMGW001" in machine.log("mms"), seconds=PATIENCE, why="the MMS bridge serves")
    for service, process in machine.processes.items():
        assert process.poll() is None, machine.log(service)
        (uid,) = {line.split()[1] for line in status(process.pid) if line.startswith("Uid:")}
        assert int(uid) == machine.users.numbers[f"meter61850-{service}"]


def status(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/status").read_text().splitlines()


def test_each_user_reads_and_writes_its_own_files_and_no_others(machine: Machine) -> None:
    """File by file, after all have worked, and after an administrator has worked as root."""
    test_every_service_works_as_its_user(machine)
    machine.cli("identity", "add", "anna", "--role", "operator")
    machine.cli("credentials", "rotate", "bridge")
    machine.cli("web", "user", "add", "billing", "--role", "observer", "--token")
    names = [str(file.relative_to(machine.deployment)) for file in machine.files()]
    for service in SERVICES:
        readable, writable = machine.allowed(service, "-r"), machine.allowed(service, "-w")
        for name in names:
            assert (name in readable) is (service in rule(READERS, name)), f"{service} reads {name}"
            assert (name in writable) is (service in rule(WRITERS, name, {"registrar"})), (
                f"{service} writes {name}"
            )
    used = {path for path in READERS if any(name == path or name.startswith(f"{path}/") for name in names)}
    assert used == set(READERS)


def rule(table: dict[str, set[str]], name: str, otherwise: set[str] | None = None) -> set[str]:
    """Whom the table lets to a file."""
    for path in (name, *map(str, Path(name).parents)):
        if path in table:
            return table[path]
    assert otherwise is not None, f"no row of the table is about {name}"
    return otherwise


def test_a_service_cannot_put_anything_into_the_folders_of_others(machine: Machine) -> None:
    """Nor take something out of them: that is a right on the folder."""
    folders = [machine.deployment, *(path for path in machine.deployment.rglob("*") if path.is_dir())]
    for service in SERVICES:
        script = 'for folder; do if [ -w "$folder" ]; then echo "$folder"; fi; done'
        found = machine.run(f"meter61850-{service}", "sh", "-c", script, "sh", *map(str, folders))
        for folder in folders:
            name = str(folder.relative_to(machine.deployment))
            allowed = service in rule(WRITERS, name, {"registrar"})
            assert (str(folder) in found.splitlines()) is allowed, f"{service} writes into {name}"


def test_the_registrars_user_administrates_too(machine: Machine) -> None:
    """The certificate that it makes is one that the service can read at once."""
    before = machine.run("meter61850-web", "cat", f"{machine.deployment}/identities/web/client.crt")
    machine.cli("credentials", "rotate", "web", user="meter61850-registrar")
    after = machine.run("meter61850-web", "cat", f"{machine.deployment}/identities/web/client.crt")
    assert before != after
    until((machine.deployment / "bridge" / "audit.head").exists, seconds=PATIENCE)
    machine.cli("audit", "verify", user="meter61850-registrar")
    refused = machine.cli("credentials", "list", user="meter61850-web", code=2)
    assert refused == ""


def test_a_second_init_gives_new_files_away_and_leaves_the_services_own(machine: Machine) -> None:
    link = machine.deployment / "spool" / "link"
    link.symlink_to(machine.deployment / "ca" / "ca.key")
    before = (machine.deployment / "ca" / "ca.key").stat()
    machine.run(ROOT, *program(), "init", str(machine.deployment), "--if-missing", "--simulated", "3")
    after = (machine.deployment / "ca" / "ca.key").stat()
    link.unlink()
    assert (before.st_mode, before.st_uid, before.st_gid) == (after.st_mode, after.st_uid, after.st_gid)
    third = machine.deployment / "identities" / meter_ids(SimulateSettings(n=3))[2] / "client.key"
    assert third.stat().st_gid == machine.users.numbers["meter61850-meters"]


def test_a_service_uses_a_key_that_a_power_cut_has_left_waiting(machine: Machine) -> None:
    """It may not put the key in its place; the registrar, or the next command, does."""
    folder = machine.deployment / "identities" / "mms"
    machine.cli("credentials", "rotate", "mms")
    (folder / "client.key").rename(folder / "client.key.next")
    shutil.copy(machine.deployment / "identities" / "web" / "client.key", folder / "client.key")
    os.chown(folder / "client.key", *owner(folder / "client.key.next"))
    (folder / "client.key").chmod(0o640)
    connects = f"from broker.mqtt.settings import MqttSettings; MqttSettings(identity={str(folder)!r}).tls()"
    machine.run("meter61850-mms", sys.executable, "-c", connects)
    assert (folder / "client.key.next").exists()
    machine.cli("credentials", "list")
    assert not (folder / "client.key.next").exists()
    machine.run("meter61850-mms", sys.executable, "-c", connects)


def owner(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_gid


def test_a_machine_with_some_of_the_users_is_refused(place: Path) -> None:
    """Half of it would be root's, and its service would not start."""
    (place / "some").mkdir()
    users = Users.beside(place / "some", without="meter61850-web")
    words = (*program(), "init", str(place / "half"))
    done = subprocess.run(
        users.command(ROOT, *words), env=environment(), cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "has no user or group meter61850-web: deploy/systemd/meter61850.sysusers" in done.stderr


def test_the_table_names_the_services_and_groups_of_sysusers(place: Path) -> None:
    users = Users.beside(place)
    assert users.groups.keys() == {f"meter61850-{name}" for name in layout.NEEDS}
    gids = {name: users.numbers[f"meter61850-{name}".rstrip("-")] for name in (*layout.NEEDS, "", "database")}
    wanted = layout.Users({}, gids)
    for name in layout.NEEDS:
        groups = [users.numbers[group] for group in users.groups[f"meter61850-{name}"]]
        assert groups == wanted.groups_of(name)
