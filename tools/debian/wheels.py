"""What a package has from wheels: the locked ones, for the package's Python and machine.

Nothing of them is run here: pip takes the wheels of another Python or machine by their tags.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from tools.debian.build import Release
from tools.debian.contents import HOME, METER, ROOT, Package

MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7l"}
"""Debian's name → that of wheels."""
GLIBC = 36
"""Of Debian 12: glibc 2.36. Debian 13 has a later one."""
COMPILED = frozenset({"pydantic", "pydantic-core"})
"""Of a meter, for Debian 12 only: Debian 13 has one that is new enough, for every machine."""
FROM_DEBIAN = frozenset({"cryptography", "cffi", "pycparser"})
"""Of a meter; every Debian has one that will do (`meter_firmware.enrolment.keys`)."""
UNUSED = frozenset({"pyaml", "pycryptodome", "pyyaml"})
"""pymeterbus needs them for its own programs, and for wireless M-Bus (`meter_firmware.sensors.telegrams`)."""
BUILDS = frozenset({"hatchling", "editables", "pathspec", "tomlkit", "trove-classifiers"})
"""They make our wheel, and are in the locks for that."""


def install(package: Package, release: Release, wheel: Path, tree: Path) -> None:
    """Our ``wheel`` and all that it needs, below ``tree``; CalledProcessError if a package has no wheel."""
    home = tree / HOME / "lib"
    if package is not METER:
        target = home / f"python{release.python}" / "site-packages"
        lock = ROOT / "requirements" / "run.lock"
        _install(
            lock, target, wheel, without=BUILDS, python=release.python, architecture=release.architecture
        )
        return
    lock = ROOT / "requirements" / "meter.lock"
    without = COMPILED | FROM_DEBIAN | UNUSED | BUILDS
    _install(lock, home / "python3", wheel, without=without, python="3.11", architecture="armhf")
    for architecture in MACHINES:  # the names of the compiled files differ: they lie side by side
        target = home / "python3.11" / "site-packages"
        _install(lock, target, only=COMPILED, python="3.11", architecture=architecture)


def _install(
    lock: Path,
    target: Path,
    *wheels: Path,
    python: str,
    architecture: str,
    only: Collection[str] = (),
    without: Collection[str] = (),
) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        wanted, fresh = Path(folder) / "wanted.txt", Path(folder) / "fresh"
        wanted.write_text("".join(_blocks(lock.read_text(), only, without)))
        _pip(fresh, python, architecture, "--require-hashes", "-r", str(wanted))
        for wheel in wheels:
            _pip(fresh, python, architecture, str(wheel))
        shutil.rmtree(
            fresh / "bin", ignore_errors=True
        )  # commands of others: their first line names our machine
        shutil.copytree(fresh, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _pip(target: Path, python: str, architecture: str, *what: str) -> None:
    machine = MACHINES[architecture]
    tags = [*(f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 4, -1)), f"manylinux2014_{machine}"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
    ]
    command += [
        "--no-deps",
        "--only-binary=:all:",
        "--upgrade",
        "--python-version",
        python,
        "--target",
        str(target),
    ]
    subprocess.run([*command, *(word for tag in tags for word in ("--platform", tag)), *what], check=True)


def _blocks(lock: str, only: Collection[str], without: Iterable[str]) -> Iterator[str]:
    """The entries of a lock file with these names, or without those."""
    for block in re.findall(r"^\S.*\n(?:^[ #].*\n)*", lock, re.MULTILINE):
        name = re.split(r"[=\[ ]", block)[0]
        if (not only or name in only) and name not in without:
            yield block
