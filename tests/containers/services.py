"""compose.yaml under podman-compose: what each container may do, and what comes out at the ports."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registrar import layout
from tests.containers.podman import Podman
from tests.support.chain import until
from tests.support.project import ROOT, compose

PROJECT = "meter61850-test"
START_SECONDS = 600.0
SERVICES = tuple(name for name in layout.NEEDS)
_ASK = """
import json, ssl, sys, urllib.request as u
ca, token, path = sys.argv[1:]
asked = u.Request(f"https://localhost:8061{path}", headers={"Authorization": f"Bearer {token}"})
print(u.urlopen(asked, timeout=20, context=ssl.create_default_context(cafile=ca)).read().decode())
"""


@dataclass(frozen=True)
class Compose:
    """The project."""

    podman: Podman
    program: Path
    meters: int

    def run(self, *words: str) -> str:
        """podman-compose with our file; AssertionError if it fails."""
        command = (
            "env",
            f"SIMULATED={self.meters}",
            str(self.program),
            "-p",
            PROJECT,
            "-f",
            str(ROOT / "compose.yaml"),
        )
        return self.podman.run(*command, *words, seconds=START_SECONDS).stdout

    def up(self, *services: str) -> None:
        """Start them; returns when all that have a health check are healthy."""
        self.run("up", "-d", "--no-build", *services)
        until(lambda: not self.unhealthy(), seconds=START_SECONDS, why="healthy")

    def unhealthy(self) -> list[str]:
        """Services that are not up, or not healthy."""
        bad = []
        for name in SERVICES:
            state = self.podman.inspect(self.container(name))["State"]
            health = (state.get("Health") or state.get("Healthcheck") or {}).get("Status", "")
            if state["Status"] != "running" or health not in ("", "healthy"):
                bad.append(f"{name}: {state['Status']} {health}")
        return bad

    def container(self, service: str) -> str:
        """Its name."""
        return f"{PROJECT}_{service}_1"

    def inside(self, service: str, *words: str, check: bool = True) -> str:
        """What a command in a running container prints."""
        return self.podman.run("podman", "exec", self.container(service), *words, check=check).stdout.strip()

    def volume(self) -> Path:
        """The deployment, as this machine sees it."""
        return Path(self.podman("volume", "inspect", "--format", "{{.Mountpoint}}", f"{PROJECT}_data"))

    def remove(self) -> None:
        """Everything of the project, whatever its state."""
        self.podman.run("podman", "rm", "--all", "--force", "--depend", "--time", "10", check=False)
        self.podman.run("podman", "volume", "rm", "--all", "--force", check=False)


def check(site: Compose, tell: Callable[[str], None]) -> None:
    """All that the file promises; AssertionError names what it does not hold."""
    confined(site)
    tell("each has its own user, a file system that it cannot write, no rights, and its own files only")
    rows = until(lambda: _online(site), seconds=START_SECONDS)
    tell(f"{len(rows)} meters are online in the database")
    over_mms(site)
    tell("they are readable over MMS with TLS")
    over_https(site)
    tell("they are readable over HTTPS")
    killed(site)
    tell("a broker that was killed and started again has all of them back")
    site.run("stop")
    codes = {name: site.podman.inspect(site.container(name))["State"]["ExitCode"] for name in SERVICES}
    assert set(codes.values()) == {0}, codes
    tell("all end with 0")


def confined(site: Compose) -> None:
    """The container as the kernel has it, not as the file says it."""
    described = compose()["services"]
    for name in SERVICES:
        uid, gid = described[name]["user"].split(":")
        assert site.inside(name, "id", "-u") == uid
        assert set(site.inside(name, "id", "-G").split()) == {gid, *described[name]["group_add"]}
        status = dict(
            line.split(":", 1) for line in site.inside(name, "cat", "/proc/self/status").splitlines()
        )
        assert {int(status[key], 16) for key in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}, name
        assert status["NoNewPrivs"].strip() == "1"
        for place in ("/", "/app", "/etc", "/usr/lib", "/data"):
            written = site.inside(
                name, "sh", "-c", f"touch {place}/x 2>/dev/null && echo written", check=False
            )
            assert written == ("written" if (name, place) == (layout.REGISTRAR, "/data") else ""), (
                name,
                place,
            )
        assert (name, _readable(site, name)) == (name, _may_read(name))


def _may_read(service: str) -> set[str]:
    """Folders of the deployment, as registrar/layout.py says."""
    needs = layout.NEEDS[service]
    if service == layout.REGISTRAR:
        alone = {path for name, its in layout.NEEDS.items() if name != service for path in its.writes}
        return set(layout.FOLDERS) - (alone - {layout.DATABASE, *needs.reads})
    return {*needs.reads, *needs.writes}


def _readable(site: Compose, service: str) -> set[str]:
    """Folders of the deployment that it can list."""
    script = 'for f in "$@"; do ls "/data/$f" >/dev/null 2>&1 && echo "$f"; done; true'
    return set(site.inside(service, "sh", "-c", script, "sh", *layout.FOLDERS).split())


def _online(site: Compose) -> list[dict[str, Any]]:
    said = site.inside("registrar", "meter61850", "meters", "list", "--json", check=False)
    rows = [row for row in (json.loads(said) if said else []) if row["online"] and row["power"] is not None]
    return rows if len(rows) == site.meters else []


def over_mms(site: Compose) -> None:
    """With an operator's certificate, from outside, at the published port."""
    site.inside("registrar", "meter61850", "identity", "add", "anna", "--role", "operator")
    folder = site.volume() / "identities" / "anna"
    tls = [f"--tls-{name}={folder / file}" for name, file in _TLS.items()]
    browse = (sys.executable, "-m", "admin", "mms", "browse", "127.0.0.1:3782")

    answers: list[str] = []

    def devices() -> Any:
        done = site.podman.run(*browse, *tls, "--json", check=False)
        answers.append(done.stderr[-500:])
        found = json.loads(done.stdout) if done.stdout else []
        return found if len(found) > site.meters else []

    try:
        found = until(devices, seconds=START_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{error}: {answers[-1]}") from error
    names = [row["logical_device"] for row in found]
    values = json.loads(site.podman.run(*browse, str(names[-1]), *tls, "--json").stdout)
    assert any("TotW" in json.dumps(row) for row in values), names


_TLS = {"cert": "client.crt", "key": "client.key", "ca": "ca.crt"}


def over_https(site: Compose) -> None:
    """From outside, with the authority's certificate and a bearer token."""
    added = ("meter61850", "web", "user", "add", "billing", "--role", "observer", "--token")
    token = site.inside("registrar", *added).split()[-1]
    ca = str(site.volume() / "ca" / "ca.crt")

    def asked() -> str:
        question = (sys.executable, "-c", _ASK, ca, token, "/api/v1/meters/latest")
        return site.podman.run(*question, check=False).stdout

    until(lambda: asked().count('"power"') >= site.meters)


def killed(site: Compose) -> None:
    """The broker is killed and started again: the others keep their network, and find it.

    Here we start it: podman's cleanup process, which would do it, does not know our storage.
    """
    name = site.container("broker")
    site.podman("kill", "--signal", "KILL", name)
    until(lambda: site.podman.inspect(name)["State"]["Status"] == "exited", seconds=60)
    site.podman("start", name)
    until(lambda: not site.unhealthy(), seconds=START_SECONDS)
    until(lambda: _online(site), seconds=START_SECONDS)
