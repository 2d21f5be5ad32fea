"""What the Debian packages hold, before anything is installed: `make debs-test` installs them.

The packages of others are left out here, because they come from a registry; all else is as in `make dist`.
"""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest

from tests.support.project import ROOT
from tools.debian import wheels
from tools.debian.build import Release, build, stage
from tools.debian.contents import METER, SCRIPTS, SERVER, Package

RELEASES = {METER: Release("1.2.3"), SERVER: Release("1.2.3+deb13", "amd64", "3.13")}
PLACES = (
    "opt/meter61850/", "usr/bin/meter61850", "usr/lib/systemd/system/meter61850-",
    "usr/lib/sysusers.d/meter61850-",
    "usr/share/doc/meter61850-", "usr/share/man/man1/meter61850.1.gz", "etc/meter61850/",
)  # fmt: skip


@dataclass(frozen=True)
class Built:
    """A package as dpkg-deb sees it."""

    package: Package
    tree: Path
    deb: Path
    members: list[tarfile.TarInfo]

    def control(self, name: str) -> str:
        """A file of its DEBIAN folder."""
        return (self.tree / "DEBIAN" / name).read_text()


@pytest.fixture(scope="module", params=RELEASES, ids=lambda package: package.short)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    package: Package = request.param
    folder = tmp_path_factory.mktemp(package.short)
    tree = folder / "tree"
    stage(package, RELEASES[package], tree)
    deb = build(package, RELEASES[package], tree, folder, compressed=False)
    data = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(deb)], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(data)) as archive:
        yield Built(package, tree, deb, archive.getmembers())


def test_nothing_lies_outside_of_its_places(built: Built) -> None:
    names = [member.name.removeprefix("./") for member in built.members if not member.isdir()]
    assert [name for name in names if not name.startswith(PLACES)] == []
    assert {place for place in PLACES if not any(name.startswith(place) for name in names)} == set()


def test_all_is_roots_and_only_root_can_write_it(built: Built) -> None:
    assert {(member.uname, member.gname) for member in built.members} == {("root", "root")}
    modes = {
        member.name: member.mode
        for member in built.members
        if not member.issym() and member.mode != (0o755 if member.isdir() else 0o644)
    }
    assert modes == {"./opt/meter61850/bin/meter61850": 0o755}


def test_units_and_examples_are_those_of_the_sources(built: Built) -> None:
    for unit in built.package.units:
        ours = ROOT / "deploy" / "systemd" / unit
        assert (built.tree / "usr/lib/systemd/system" / unit).read_text() == ours.read_text()
    for name, source in built.package.settings.items():
        for place in ("etc/meter61850", f"usr/share/doc/{built.package.name}/examples"):
            assert (built.tree / place / name).read_bytes() == source.read_bytes()


def test_every_unit_is_in_one_package() -> None:
    packed = sorted((*METER.units, *SERVER.units))
    assert packed == sorted(path.name for path in (ROOT / "deploy" / "systemd").glob("*.service"))


def test_every_unit_finds_its_command_and_its_files(built: Built) -> None:
    """systemd looks into the package as if it were the machine's root."""
    assert shutil.which("systemd-analyze"), "systemd-analyze is not installed: make servers"
    for unit in built.package.units:
        verified = subprocess.run(
            ["systemd-analyze", "verify", f"--root={built.tree}", f"/usr/lib/systemd/system/{unit}"],
            capture_output=True,
            text=True,
            check=False,
        ).stderr
        faults = [line for line in verified.splitlines() if unit in line and "sysinit.target" not in line]
        assert faults == []
        text = (built.tree / "usr/lib/systemd/system" / unit).read_text()
        for name in re.findall(r"^EnvironmentFile=(/etc/\S+)|--config (/etc/\S+)", text, re.M):
            assert (built.tree / "".join(name).lstrip("/")).exists(), f"{unit}: {name}"


def test_systemd_makes_the_users_of_every_unit(built: Built, tmp_path: Path) -> None:
    """In a system that has none yet."""
    conf = f"usr/lib/sysusers.d/{built.package.name}.conf"
    (tmp_path / conf).parent.mkdir(parents=True)
    shutil.copy(built.tree / conf, tmp_path / conf)
    (tmp_path / "etc").mkdir()
    command = ["systemd-sysusers", f"--root={tmp_path}", f"{built.package.name}.conf"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = {line.split(":")[0] for line in (tmp_path / "etc/passwd").read_text().splitlines()}
    for unit in built.package.units:
        user = re.search(r"^User=(.+)$", (ROOT / "deploy" / "systemd" / unit).read_text(), re.M)
        assert user is not None
        assert user[1] in made


def test_settings_are_the_administrators(built: Built) -> None:
    assert built.control("conffiles").split() == [
        f"/etc/meter61850/{name}" for name in built.package.settings
    ]


def test_the_fields_are_whole(built: Built) -> None:
    fields = configparser.ConfigParser()
    fields.read_string("[x]\n" + built.control("control"))
    told = fields["x"]
    assert (told["Package"], told["Version"]) == (built.package.name, RELEASES[built.package].version)
    assert told["Architecture"] == RELEASES[built.package].architecture
    assert told["Conflicts"] in {METER.name, SERVER.name} - {built.package.name}
    assert "@" not in built.control("control").replace("maintainers@", "")
    if built.package is SERVER:
        assert "python3 (>= 3.13), python3 (<< 3.14)" in told["Depends"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_for_any_sh(built: Built, name: str) -> None:
    script = built.tree / "DEBIAN" / name
    assert script.stat().st_mode & 0o111
    assert subprocess.run(["dash", "-n", str(script)], check=False).returncode == 0
    assert "@" not in script.read_text()
    assert "set -e" in script.read_text()


def test_the_manual_page_has_every_command(built: Built) -> None:
    page = built.tree / "usr/share/man/man1/meter61850.1.gz"
    text = subprocess.run(["gzip", "-dc", str(page)], capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"^## (meter61850 .+)$", (ROOT / "docs" / "cli.md").read_text(), re.M)
    shown = text.replace("\\-", "-")
    assert [command for command in commands if f".SS {command}" not in shown] == []


def test_the_same_files_give_the_same_bytes(built: Built, tmp_path: Path) -> None:
    release = RELEASES[built.package]
    stage(built.package, release, tmp_path / "tree")
    again = build(built.package, release, tmp_path / "tree", tmp_path, compressed=False)
    assert again.read_bytes() == built.deb.read_bytes()


def test_a_meter_takes_no_compiled_package_but_those_for_debian_12() -> None:
    """Each of meter.lock is pure Python, or comes from Debian, or is listed."""
    lock = (ROOT / "requirements" / "meter.lock").read_text()
    names = set(re.findall(r"^([\w.-]+)==", lock, re.M))
    special = wheels.COMPILED | wheels.FROM_DEBIAN | wheels.UNUSED
    assert special <= names
    pure = {
        "aiomqtt", "annotated-doc", "annotated-types", "colorama", "markdown-it-py", "mdurl", "minimalmodbus",
        "paho-mqtt", "pydantic-settings", "pygments", "pymeterbus", "pyserial", "python-dotenv", "rich",
        "shellingham", "simplejson", "smllib", "typer", "typing-extensions", "typing-inspection",
    }  # fmt: skip
    assert names - special == pure, (
        "a new package of the meter: has it a wheel for every machine? (docs/install.md)"
    )
