"""A systemd that can only start services: the lines of an installed unit, as its user, in a chroot.

systemd does not run in a chroot. Of a unit this does users, groups, capabilities, environment, folders and
the command; tests/unit/test_systemd.py has the rest.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.roots import Root, environment

STOP_SECONDS = 30.0
"""As TimeoutStopSec, and more: the machine may be busy."""


@dataclass
class Service:
    """A running unit."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> None:
        """SIGTERM, as systemd sends it; AssertionError if that does not end it with 0."""
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        for child in children:  # ours is unshare, and its child is the service
            subprocess.run(["kill", f"-{signal.SIGTERM}", child], check=False)
        code = self.process.wait(STOP_SECONDS)
        assert code == 0, f"{self.name} ended with {code}:\n{self.log.read_text()[-3000:]}"


def start(root: Root, unit: str, logs: Path) -> Service:
    """Start ``unit`` (its file name) of the system."""
    text = root.path(f"/usr/lib/systemd/system/{unit}").read_text()
    keys: dict[str, list[str]] = {}
    for key, value in re.findall(r"^([A-Za-z]+)=(.*)$", text, re.MULTILINE):
        keys.setdefault(key, []).append(value)
    user, groups = keys["User"][0], " ".join(keys.get("SupplementaryGroups", ())).split()
    for folder in keys.get("StateDirectory", ()):
        root.run("install", "-d", "-o", user, "-g", keys["Group"][0], "-m", "0700", f"/var/lib/{folder}")
    told = [word for value in keys.get("Environment", ()) for word in shlex.split(value)]
    for name in keys.get("EnvironmentFile", ()):
        told += _settings(root.path(name.removeprefix("-")), needed=not name.startswith("-"))
    become = f"--reuid={user} --regid={keys['Group'][0]} --groups={','.join([keys['Group'][0], *groups])}"
    become += f" --no-new-privs {_capabilities(keys['AmbientCapabilities'][0])}"
    command = root.command(
        *(
            "sh",
            "-c",
            f'umask {keys["UMask"][0]}; exec "$@"',
            "sh",
            "env",
            *told,
            *shlex.split(keys["ExecStart"][0]),
        ),
        user=become,
        cwd=keys["WorkingDirectory"][0],
    )
    log = logs / f"{root.folder.name}-{unit}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    return Service(unit, process, log)


def _capabilities(names: str) -> str:
    """Those of the unit and no others, as options of setpriv."""
    kept = "".join(f",+{name.removeprefix('CAP_').lower()}" for name in names.split())
    more = f" --ambient-caps=-all{kept}" if kept else ""
    return f"--bounding-set=-all{kept} --inh-caps=-all{kept}{more}"


def _settings(file: Path, *, needed: bool) -> list[str]:
    if not file.exists() and not needed:
        return []
    lines = (line.strip() for line in file.read_text().splitlines())
    return [shlex.split(line)[0] for line in lines if line and not line.startswith("#")]
