"""A package's tree, and the .deb made from it by dpkg-deb: the same bytes from the same files.

>>> build(METER, Release("0.1.0"), tree, Path("dist"))  # doctest: +SKIP
PosixPath('dist/meter61850-meter_0.1.0_all.deb')
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.debian.contents import DEBIAN, SCRIPTS, SETTINGS, Package, files

EPOCH = 1_700_000_000
"""Time of all files unless SOURCE_DATE_EPOCH says another."""


@dataclass(frozen=True)
class Release:
    """Which package is made, for which Debian."""

    version: str
    architecture: str = "all"
    python: str = "3.11"
    """For a package with compiled parts: the only Python that it runs with."""

    @property
    def python_after(self) -> str:
        """The first that is too new."""
        major, minor = self.python.split(".")
        return f"{major}.{int(minor) + 1}"


def stage(package: Package, release: Release, tree: Path) -> None:
    """Put everything into ``tree`` that is not there from wheels: the files, and DEBIAN/."""
    for file in files(package):
        path = tree / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.target:
            path.symlink_to(file.target)
        else:
            path.write_bytes(file.content)
            path.chmod(file.mode)
    _control(package, release, tree)
    for path in (tree, *tree.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


def build(package: Package, release: Release, tree: Path, folder: Path, *, compressed: bool = True) -> Path:
    """Make the .deb of a staged tree, in ``folder``; CalledProcessError if dpkg-deb fails."""
    made = folder / f"{package.name}_{release.version}_{release.architecture}.deb"
    folder.mkdir(parents=True, exist_ok=True)
    epoch = {"SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH", str(EPOCH))}
    command = [
        "dpkg-deb",
        "--root-owner-group",
        f"-Z{'xz' if compressed else 'none'}",
        "--build",
        str(tree),
        str(made),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | epoch)
    return made


def _control(package: Package, release: Release, tree: Path) -> None:
    """DEBIAN/: the fields, the scripts, the settings that belong to the administrator, the sums."""
    there = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    values = {
        "PACKAGE": package.name,
        "VERSION": release.version,
        "ARCHITECTURE": release.architecture,
        "PYTHON": release.python,
        "PYTHON_AFTER": release.python_after,
        "SIZE": str(sum(path.stat().st_size for path in there) // 1024),
        "UNITS": " ".join(package.units),
    }
    folder = tree / "DEBIAN"
    folder.mkdir()
    for name in SCRIPTS:
        (folder / name).write_text(_filled((DEBIAN / name).read_text(), values))
        (folder / name).chmod(0o755)
    (folder / "control").write_text(_filled((DEBIAN / f"{package.short}.control").read_text(), values))
    (folder / "conffiles").write_text("".join(f"/{SETTINGS}/{name}\n" for name in package.settings))
    sums = (f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n" for path in there)
    (folder / "md5sums").write_text("".join(sums))
    for name in ("control", "conffiles", "md5sums"):
        (folder / name).chmod(0o644)


def _filled(text: str, values: dict[str, str]) -> str:
    """``text`` with the value in the place of each ``@NAME@``; KeyError for a name without one."""
    return re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], text)
