"""``python -m tools.debian``: the Debian packages, from our wheel (``make dist``)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from tools.debian import wheels
from tools.debian.build import Release, build, stage
from tools.debian.contents import METER, SERVER, Package

DEBIANS = {"12": "3.11", "13": "3.13"}
"""Debian → its Python."""
ARCHITECTURES = ("amd64", "arm64")
"""Of the server."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def packages(
    wheel: Annotated[Path, typer.Option(help="Our wheel.")],
    folder: Annotated[Path, typer.Option(help="Where the packages are put.")] = Path("dist"),
    number: Annotated[str, typer.Option("--version", help="Of the packages.")] = version("meter61850"),
    fast: Annotated[bool, typer.Option("--fast", help="Do not compress them: for tests.")] = False,
    only: Annotated[str, typer.Option(help="Only those whose file name has this in it.")] = "",
) -> None:
    """Make meter61850-meter for every machine, and meter61850-server for each Debian and architecture."""
    for package, release in _wanted(number):
        name = f"{package.name}_{release.version}_{release.architecture}.deb"
        if only not in name:
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as tree:
            wheels.install(package, release, wheel, Path(tree))
            stage(package, release, Path(tree))
            made = build(package, release, Path(tree), folder, compressed=not fast)
        seconds, size = time.monotonic() - began, made.stat().st_size / 1e6
        typer.echo(f"{made}  {size:.1f} MB, {seconds:.0f} s")


def _wanted(number: str) -> Iterator[tuple[Package, Release]]:
    yield METER, Release(number)
    for debian, python in DEBIANS.items():
        for architecture in ARCHITECTURES:
            yield SERVER, Release(f"{number}+deb{debian}", architecture, python)


app(prog_name="python -m tools.debian")
