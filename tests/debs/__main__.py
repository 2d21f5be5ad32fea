"""``python -m tests.debs``: both packages installed, started, upgraded and purged in Debian 12 and 13."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from tests.debs.scenario import Machine, lifetime, running
from tests.support.project import ROOT
from tests.support.roots import Root, network

SUITES = {"12": "bookworm", "13": "trixie"}
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def debs(
    debian: Annotated[list[str] | None, typer.Option(help="12, 13; default: both.")] = None,
    packages: Annotated[
        Path | None,
        typer.Option(help="Folder with the packages, as make dist leaves them; default: build them."),
    ] = None,
) -> None:
    """Build the Debian packages, and let them live a life in chroots of each Debian, on a real Mosquitto.

    It needs root, and the package registries. The systems are kept in .roots for the next run.
    """
    missing = [
        tool for tool in ("debootstrap", "dpkg-deb", "unshare", "nsenter", "ip") if not shutil.which(tool)
    ]
    if os.geteuid() != 0 or missing:
        raise SystemExit(f"make debs-test needs root and {', '.join(missing) or 'nothing else'}")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        made = packages or _built(Path(folder))
        for number in debian or SUITES:
            _live(number, made, Path(folder), _teller(f"Debian {number}"))
    typer.echo(f"{len(debian or SUITES)} passed, 0 failed")


def _built(folder: Path) -> Path:
    """Our wheel, and both packages for this machine's architecture."""
    python, began = [sys.executable, "-m"], time.monotonic()
    subprocess.run([*python, "hatchling", "build", "-t", "wheel", "-d", str(folder)], check=True, cwd=ROOT)
    options = ["--wheel", str(next(folder.glob("*.whl"))), "--folder", str(folder), "--fast"]
    for only in ("meter", f"_{_architecture()}."):
        subprocess.run([*python, "tools.debian", *options, "--only", only], check=True, cwd=ROOT)
    typer.echo(f"built in {time.monotonic() - began:.0f} s")
    return folder


def _architecture() -> str:
    command = ["dpkg", "--print-architecture"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _later(deb: Path, folder: Path) -> Path:
    """The same package with a later version, and with another line in each of its settings."""
    tree, later = folder / "later", folder / deb.name.replace("_", "_9.", 1)
    subprocess.run(["dpkg-deb", "--raw-extract", str(deb), str(tree)], check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"^Version: ", "Version: 9.", control.read_text(), flags=re.MULTILINE))
    for file in (tree / "etc" / "meter61850").iterdir():
        file.write_text(file.read_text() + "# new in this version\n")
    subprocess.run(
        ["dpkg-deb", "-Znone", "--build", str(tree), str(later)], check=True, stdout=subprocess.DEVNULL
    )
    shutil.rmtree(tree)
    return later


def _live(number: str, made: Path, folder: Path, tell: Callable[[str], None]) -> None:
    suite = SUITES[number]
    found = {
        "server": next(made.glob(f"meter61850-server_*+deb{number}_{_architecture()}.deb")),
        "meter": next(made.glob("meter61850-meter_*_all.deb")),
    }
    found |= {f"{name} later": _later(deb, folder) for name, deb in found.items()}
    with (
        network(folder) as net,
        Root.copied(suite, folder, name=f"server-{suite}", network=net) as server,
        Root.copied(suite, folder, name=f"meter-{suite}", network=net) as meter,
        running(Machine(server, "meter61850-server", folder)) as one,
        running(Machine(meter, "meter61850-meter", folder)) as other,
    ):
        tell("two systems")
        lifetime(one, other, found, tell)


def _teller(prefix: str) -> Callable[[str], None]:
    began = time.monotonic()

    def tell(what: str) -> None:
        typer.echo(f"{prefix}: {time.monotonic() - began:5.0f} s  {what}")

    return tell


app(prog_name="python -m tests.debs")
