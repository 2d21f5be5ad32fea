"""The services' users, as deploy/systemd/meter61850.sysusers makes them, for as long as a test runs.

Nothing is changed on this machine: the users are in a copy of /etc/passwd and /etc/group, which only the
processes started here see (a mount namespace). It takes root.

>>> users = Users.beside(tmp_path)  # doctest: +SKIP
>>> subprocess.run(users.command("meter61850-web", "cat", "ca.key"))  # doctest: +SKIP
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

SYSUSERS = Path(__file__).parents[2] / "deploy" / "systemd" / "meter61850.sysusers"
FIRST = 61850
"""Of the numbers of users and groups."""
ROOT = "root"


@dataclass
class Users:
    """Names → numbers, and the files that know them."""

    folder: Path
    numbers: dict[str, int]
    """Of users and groups."""
    groups: dict[str, list[str]]
    """User → all of its groups."""

    @classmethod
    def beside(cls, folder: Path, *, without: str = "") -> Users:
        """Those of the file, in copies of passwd and group below ``folder``; all but ``without``."""
        lines = [shlex.split(line, comments=True) for line in SYSUSERS.read_text().splitlines()]
        rows = [row for row in lines if row and row[1] != without]
        names = [row[1] for row in rows if row[0] in "ug"]
        made = cls(folder, {name: FIRST + n for n, name in enumerate(names)}, {})
        for kind, name, *rest in rows:
            if kind == "u":
                made.groups[name] = [name]
            elif kind == "m":
                made.groups[name].append(rest[0])
        made._write()
        return made

    def _write(self) -> None:
        passwd, group = Path("/etc/passwd").read_text(), Path("/etc/group").read_text()
        for name, number in self.numbers.items():
            members = ",".join(user for user, groups in self.groups.items() if name in groups[1:])
            group += f"{name}:x:{number}:{members}\n"
            if name in self.groups:
                passwd += f"{name}:x:{number}:{number}::/:/usr/sbin/nologin\n"
        (self.folder / "passwd").write_text(passwd)
        (self.folder / "group").write_text(group)

    def command(self, user: str, *words: str) -> list[str]:
        """The command line ``words``, to be run as ``user``; its process id stays the one that is started."""
        script = "".join(f"mount --bind {self.folder / name} /etc/{name}; " for name in ("passwd", "group"))
        script += _reachable(Path(sys.base_prefix), self.folder / "python")
        if user != ROOT:
            number = str(self.numbers[user])
            groups = ",".join(str(self.numbers[name]) for name in self.groups[user])
            become = [
                "setpriv",
                "--reuid",
                number,
                "--regid",
                number,
                "--groups",
                groups,
                "--bounding-set=-all",
            ]
        else:
            become = []
        return ["unshare", "--mount", "sh", "-ec", f'{script}exec "$@"', "sh", *become, *words]


def _reachable(path: Path, aside: Path) -> str:
    """Shell commands after which everybody reaches ``path``, even if it is below a closed home."""
    closed = [up for up in reversed(path.parents) if up.exists() and not up.stat().st_mode & 0o001]
    if not closed:
        return ""
    aside.mkdir(exist_ok=True)
    return (
        f"mount --bind {path} {aside}; mount -t tmpfs -o mode=755 tmpfs {closed[0]}; "
        f"mkdir -p {path}; mount --move {aside} {path}; "
    )
