"""What is in each package: a virtual environment in /opt/meter61850, units, users, settings, documents.

Units and users are those of deploy/systemd, settings are the examples of the sources, the manual page comes
from the commands: nothing is written a second time.

>>> [file.path for file in files(METER) if file.path.startswith("etc/")]
['etc/meter61850/meter.toml']
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.docs.manual import manual

ROOT = Path(__file__).resolve().parents[2]
SYSTEMD = ROOT / "deploy" / "systemd"
DEBIAN = ROOT / "deploy" / "debian"
HOME = "opt/meter61850"
SETTINGS = "etc/meter61850"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""Those that can run a meter: its packages are the same for all of them."""

_CONFIGURATION = "home = /usr/bin\ninclude-system-site-packages = {system}\n"
_COMMAND = "#!/opt/meter61850/bin/python3 -I\nfrom admin.main import main\n\nmain()\n"


@dataclass(frozen=True, eq=False)
class Package:
    """One of the packages."""

    name: str
    services: tuple[str, ...]
    """Names of its units, without ``meter61850-`` and ``.service``."""
    sysusers: tuple[str, ...]
    """Files of deploy/systemd that name its users."""
    settings: Mapping[str, Path]
    """Name in /etc/meter61850 → its first content."""

    @property
    def short(self) -> str:
        """``meter`` or ``server``."""
        return self.name.removeprefix("meter61850-")

    @property
    def units(self) -> tuple[str, ...]:
        """File names of its units."""
        return tuple(f"meter61850-{name}.service" for name in self.services)


METER = Package(
    "meter61850-meter",
    ("meter",),
    ("meter61850-meter",),
    {"meter.toml": ROOT / "meter_firmware" / "meter.example.toml"},
)
SERVER = Package(
    "meter61850-server",
    ("broker", "bridge", "mms", "registrar", "web", "adapter", "homeassistant", "sparkplug"),
    ("meter61850", "meter61850-beside"),
    {
        "adapters.toml": ROOT / "adapters" / "adapters.example.toml",
        "homeassistant.env": DEBIAN / "homeassistant.env",
        "sparkplug.env": DEBIAN / "sparkplug.env",
    },
)


@dataclass(frozen=True)
class File:
    """A file or a link of a package."""

    path: str
    content: bytes = b""
    mode: int = 0o644
    target: str = ""
    """Of a symbolic link."""


def files(package: Package) -> Iterator[File]:
    """All of it but what is installed from wheels."""
    system = "true" if package is METER else "false"
    yield File(f"{HOME}/pyvenv.cfg", _CONFIGURATION.format(system=system).encode())
    yield File(f"{HOME}/bin/python3", target="/usr/bin/python3")
    yield File(f"{HOME}/bin/meter61850", _COMMAND.encode(), 0o755)
    yield File("usr/bin/meter61850", target=f"/{HOME}/bin/meter61850")
    if package is METER:
        for version in PYTHONS:
            yield File(
                f"{HOME}/lib/python{version}/site-packages/meter61850.pth", b"/opt/meter61850/lib/python3\n"
            )
    for unit in package.units:
        yield File(f"usr/lib/systemd/system/{unit}", (SYSTEMD / unit).read_bytes())
    users = b"\n".join((SYSTEMD / f"{name}.sysusers").read_bytes() for name in package.sysusers)
    yield File(f"usr/lib/sysusers.d/{package.name}.conf", users)
    for name, source in package.settings.items():
        yield File(f"{SETTINGS}/{name}", source.read_bytes())
    yield from _documents(package)


def _documents(package: Package) -> Iterator[File]:
    folder = f"usr/share/doc/{package.name}"
    yield File(f"{folder}/README.md", (DEBIAN / f"{package.short}.md").read_bytes())
    yield File(
        f"{folder}/copyright", b"\n".join((ROOT / name).read_bytes() for name in ("NOTICE", "LICENSE"))
    )
    yield File(f"{folder}/changelog.gz", _packed((ROOT / "CHANGELOG.md").read_bytes()))
    for name, source in package.settings.items():
        yield File(f"{folder}/examples/{name}", source.read_bytes())
    yield File("usr/share/man/man1/meter61850.1.gz", _packed(manual().encode()))


def _packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)
