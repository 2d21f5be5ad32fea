"""``python -m tests.containers``: the image built, all services up, meters read; with times."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from tests.containers.podman import TOOLS, Podman
from tests.containers.services import Compose, check
from tests.support.project import ROOT, commands
from tests.support.roots import KEPT, Root, network

BASE = "localhost/python:3.11"
IMAGE = "meter61850"
LIKE_PYTHONS_IMAGE = (
    "ln -sf python3 /usr/bin/python && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED && apt-get clean"
)
"""The base image has Debian's Python: as in the image python:…, `python` is its name, and pip may install."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def containers(
    compose: Annotated[Path, typer.Option(help="The program podman-compose.")],
    meters: Annotated[int, typer.Option(min=1, help="Simulated meters.")] = 10,
) -> None:
    """Build the image with podman, start compose.yaml, and read its meters over MMS with TLS and over HTTPS.

    It needs root, and the package registries. The base image comes from debootstrap. Prometheus and Grafana
    are not started: their images are in a registry of containers.
    """
    missing = [
        tool
        for tool in ("podman", "runc", "iptables", "catatonit", "buildah", "debootstrap")
        if not shutil.which(tool)
    ]
    if os.geteuid() != 0 or missing:
        raise SystemExit(f"make containers needs root and {', '.join(missing) or 'nothing else'} ({TOOLS})")
    tell = _teller()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, network(Path(folder)) as net:
        podman = Podman(Path(folder), net)
        _base(podman, Path(folder))
        tell("base image")
        build = ("build", "--build-arg", f"BASE={BASE}", "--network", "host", "--isolation", "chroot")
        podman(*build, "--tag", IMAGE, str(ROOT), online=True, seconds=3600)
        tell("image built")
        site = Compose(podman, compose.absolute(), meters)
        try:
            with podman.health_checks():
                site.up("network", *commands())
                tell(f"{len(commands()) - 1} services are up")
                check(site, tell)
        finally:
            site.remove()
    typer.echo(f"{len(commands())} passed, 0 failed")


def _base(podman: Podman, folder: Path) -> None:
    """Debian 12 with pip, imported as an image; kept."""
    if podman.run("podman", "image", "exists", BASE, check=False).returncode == 0:
        return
    with Root.copied("bookworm", folder, name="base") as root:
        root.run("apt-get", "update", "-q")
        root.run("apt-get", "install", "-y", "-q", "--no-install-recommends", "python3-pip")
        root.run("sh", "-ec", LIKE_PYTHONS_IMAGE)
        root.path("/etc/pip.conf").write_text("[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n")
        root.path("/usr/sbin/policy-rc.d").unlink()
        archive = folder / "base.tar"
        subprocess.run(["tar", "-C", str(root.folder), "-cf", str(archive), "."], check=True)
    podman("import", str(archive), BASE)
    archive.unlink()
    KEPT.mkdir(exist_ok=True)


def _teller() -> Callable[[str], None]:
    began = time.monotonic()

    def tell(what: str) -> None:
        typer.echo(f"{time.monotonic() - began:5.0f} s  {what}")

    return tell


app(prog_name="python -m tests.containers")
