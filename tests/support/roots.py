"""Debian systems in folders: made by debootstrap once, copied for each test, entered by chroot.

>>> with Root.copied("bookworm", tmp) as root:  # doctest: +SKIP
...     root.run("apt-get", "install", "-y", "./x.deb")
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.project import ROOT

KEPT = ROOT / ".roots"
"""Where a system that was made once is kept."""
SHARED = ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt")
"""Files of this machine that reach the package registries."""
MIRROR = "http://deb.debian.org/debian"
NO_SERVICES = "#!/bin/sh\nexit 101\n"
"""policy-rc.d: no package starts its service in a chroot."""
_ENTER = """
mount -t proc proc {root}/proc
for device in null zero random urandom full tty; do
  [ -e {root}/dev/$device ] || touch {root}/dev/$device
  mount --bind /dev/$device {root}/dev/$device
done
mkdir -p {root}/dev/shm && mount -t tmpfs tmpfs {root}/dev/shm
exec chroot {root} "$@"
"""


@dataclass(frozen=True)
class Root:
    """One system."""

    folder: Path
    network: Path | None = None
    """A network namespace for what runs in it; this machine's otherwise."""

    @classmethod
    @contextmanager
    def copied(cls, suite: str, beside: Path, *, name: str, network: Path | None = None) -> Iterator[Root]:
        """A fresh copy of the system ``suite``, removed at the end."""
        folder = beside / name
        subprocess.run(["cp", "-a", str(made(suite)), str(folder)], check=True)
        try:
            yield cls(folder, network)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def command(self, *words: str, user: str = "", cwd: str = "/", online: bool = False) -> list[str]:
        """The command line that runs ``words`` in here; ``user``: options of setpriv; all ends with it."""
        enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec"]
        enter += [_ENTER.format(root=shlex.quote(str(self.folder))), "sh"]
        if self.network and not online:
            enter = ["nsenter", f"--net={self.network}", *enter]
        become = ["setpriv", *user.split(), "--"] if user else []
        return [*enter, "env", f"--chdir={cwd}", *become, *words]

    def run(
        self, *words: str, user: str = "", cwd: str = "/", online: bool = False, check: bool = True
    ) -> str:
        """What it prints on stdout, then what on stderr; AssertionError with that if it fails."""
        done = subprocess.run(
            self.command(*words, user=user, cwd=cwd, online=online),
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=3600,
            check=False,
        )
        said = done.stdout + done.stderr
        assert not check or done.returncode == 0, f"{shlex.join(words)}: {done.returncode}\n{said[-4000:]}"
        return said

    def path(self, name: str) -> Path:
        """A file in here, by its absolute name there."""
        return self.folder / name.lstrip("/")


def environment() -> dict[str, str]:
    """What a process in a system gets: nothing of ours."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/root",
        "DEBIAN_FRONTEND": "noninteractive",
    }


def made(suite: str) -> Path:
    """The system ``suite``, made at the first call: Debian's least, and what every Raspberry Pi has."""
    folder = KEPT / suite
    if (folder / "etc/apt/ready").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    command = [
        "debootstrap",
        "--variant=minbase",
        "--include=python3,ca-certificates",
        suite,
        str(folder),
        MIRROR,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environment()
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for name in SHARED:
        shutil.copy(f"/{name}", folder / name)
    for file in Path("/etc/apt/apt.conf.d").glob("99*"):
        shutil.copy(file, folder / "etc/apt/apt.conf.d")
    (folder / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")  # a copy that is thrown away
    policy = folder / "usr/sbin/policy-rc.d"
    policy.write_text(NO_SERVICES)
    policy.chmod(0o755)
    (folder / "etc/apt/ready").touch()
    return folder


@contextmanager
def network(folder: Path) -> Iterator[Path]:
    """A network namespace with a loopback interface and nothing else."""
    name = folder / "network"
    name.touch()
    subprocess.run(["unshare", f"--net={name}", "ip", "link", "set", "lo", "up"], check=True)
    try:
        yield name
    finally:
        subprocess.run(["umount", str(name)], check=True)
