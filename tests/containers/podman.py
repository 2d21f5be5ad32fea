"""podman on a machine without systemd, with storage and network of its own: nothing else on it is touched.

>>> podman = Podman(folder, network)  # doctest: +SKIP
>>> podman("ps", "--format", "{{.Names}}")
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.roots import KEPT

TOOLS = ("podman", "runc", "netavark", "aardvark-dns", "iptables", "catatonit", "buildah")
"""Debian's packages that it takes."""
_CONTAINERS = """
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc=8192:8192"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""
_STORAGE = """
[storage]
driver = "overlay"
graphroot = "{kept}/containers"
runroot = "{folder}/run"
"""
HEALTH_SECONDS = 3.0


@dataclass(frozen=True)
class Podman:
    """Its settings; the images are kept for the next run."""

    folder: Path
    network: Path
    """A network namespace: the published ports are its loopback's."""

    def __post_init__(self) -> None:
        """Write the settings."""
        (self.folder / "networks").mkdir()
        files = min(65_536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])  # root here may not raise it
        settings = _CONTAINERS.format(folder=self.folder, files=files)
        (self.folder / "containers.conf").write_text(settings)
        (self.folder / "storage.conf").write_text(_STORAGE.format(folder=self.folder, kept=KEPT))

    @property
    def environment(self) -> dict[str, str]:
        """For each of its programs. Health checks have no timer without systemd: :meth:`health_checks`."""
        return {
            **os.environ,
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "DISABLE_HC_SYSTEMD": "true",
        }

    def run(
        self, *words: str, online: bool = False, check: bool = True, seconds: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """A program in the network; AssertionError with what it printed if it fails."""
        enter = [] if online else ["nsenter", f"--net={self.network}"]
        done = subprocess.run(
            [*enter, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert not check or done.returncode == 0, f"{' '.join(words)[:200]}: {done.returncode}\n{said}"
        return done

    def __call__(self, *words: str, online: bool = False, seconds: float = 600) -> str:
        """What ``podman …`` prints; AssertionError if it fails."""
        return self.run("podman", *words, online=online, seconds=seconds).stdout.strip()

    def inspect(self, name: str) -> dict[str, Any]:
        """Of a container."""
        found: list[dict[str, Any]] = json.loads(self("inspect", name))
        return found[0]

    @contextmanager
    def health_checks(self) -> Iterator[None]:
        """Run the check of each container every few seconds, as systemd's timers would."""
        stop = threading.Event()

        def check() -> None:
            while not stop.wait(HEALTH_SECONDS):
                for name in self.run("podman", "ps", "-q", check=False).stdout.split():
                    self.run("podman", "healthcheck", "run", name, check=False)

        thread = threading.Thread(target=check, name="health checks")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
