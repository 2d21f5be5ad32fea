"""The user of each service, and the parts of a deployment that it may read and write.

Each service has its own user and group, ``PREFIX-SERVICE``. The folder belongs to the registrar; only the
registrar has the authority's key and the identity store. A service's group may read that service's folder. A
service writes into its own folder, except for the database. All users are in the group ``PREFIX``, which may
pass through the folder and read its settings; users of the database are in ``PREFIX-database``.

>>> [place.path for place in places() if place.group == "mms"]
['mms', 'identities/mms']
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from broker.contract.errors import ConfigurationError
from registrar.identities import SERVICES

PREFIX = "meter61850"
"""Of the users and groups, unless `init --user-prefix` names another."""
REGISTRAR = "registrar"
EVERYBODY = ""
"""The group of all services: its name is the prefix alone."""
DATABASE = "database"
"""The group of those that use the database, and its folder."""
SETTINGS = "meter61850.env"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Name of a simulated meter's identity folder: a real meter's key never comes here."""


@dataclass(frozen=True)
class Needs:
    """The folders of a deployment that one service uses; the registrar uses all of them."""

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


NEEDS: Mapping[str, Needs] = {
    "broker": Needs(reads=("security",), writes=("broker",)),
    "bridge": Needs(reads=("identities/bridge",), writes=("bridge", DATABASE)),
    "mms": Needs(reads=("mms", "identities/mms")),
    "web": Needs(reads=("web", "identities/web"), writes=("spool", DATABASE)),
    "meters": Needs(writes=("meters",)),
    REGISTRAR: Needs(reads=("bridge",), writes=(DATABASE,)),
}
"""Service → what it needs beside the settings; ``meters`` are simulated ones. Units, compose and
docs/threats.md are checked against it."""
BESIDE: Mapping[str, Needs] = {
    "homeassistant": Needs(reads=("identities/homeassistant",)),
    "sparkplug": Needs(reads=("identities/sparkplug",)),
}
"""The same for programs that few deployments have: a machine may lack their users."""


@dataclass(frozen=True)
class Place:
    """One folder or file of a deployment, and whose it is."""

    path: str
    """Below the deployment's folder; ``.`` is that itself."""
    owner: str
    """The service whose user owns it."""
    group: str
    """The service whose group it has, or :data:`EVERYBODY` or :data:`DATABASE`."""
    mode: int
    """With the setgid bit where the folder is handed to its group (`broker.durable`)."""


def places(beside: Iterable[str] = ()) -> Iterator[Place]:
    """All that is not the registrar's alone: the folders first, each after the one that it is in.

    ``beside``: which of :data:`BESIDE` have a user here.
    """
    yield Place(".", REGISTRAR, EVERYBODY, 0o2710)
    yield Place(SETTINGS, REGISTRAR, EVERYBODY, 0o640)
    yield Place("identities", REGISTRAR, EVERYBODY, 0o2710)
    yield Place(DATABASE, REGISTRAR, DATABASE, 0o2770)
    for service, needs in (*NEEDS.items(), *((name, BESIDE[name]) for name in beside)):
        if service == REGISTRAR:
            continue
        for path in needs.reads:
            yield Place(path, REGISTRAR, service, 0o2750)
        for path in needs.writes:
            if path in NEEDS[REGISTRAR].reads:  # for the administrator: the remembered end of the audit
                yield Place(path, service, REGISTRAR, 0o2750)
            elif path != DATABASE:
                yield Place(path, service, service, 0o700)


FOLDERS = tuple(
    dict.fromkeys(
        ["ca", *(place.path for place in places() if place.path not in (".", SETTINGS)), "identities/admin"]
    )
)
"""The folders that every deployment has."""


@dataclass(frozen=True)
class Users:
    """Numbers of the services' users and groups."""

    uids: Mapping[str, int]
    gids: Mapping[str, int] = field(default_factory=dict)
    """By service, :data:`EVERYBODY` and :data:`DATABASE`."""

    def groups_of(self, service: str) -> list[int]:
        """The groups of a service's process."""
        groups = [self.gids[service], self.gids[EVERYBODY]]
        return groups + ([self.gids[DATABASE]] if DATABASE in NEEDS[service].writes else [])


def users(prefix: str = PREFIX) -> Users | None:
    """Those that this machine has; None if it has none of them, ConfigurationError if some are missing."""
    every = (*NEEDS, *BESIDE, EVERYBODY, DATABASE)
    names = {name: f"{prefix}-{name}" if name else prefix for name in every}
    uids = {name: _number(pwd.getpwnam, names[name]) for name in NEEDS}
    gids = {name: _number(grp.getgrnam, real) for name, real in names.items()}
    missing = {
        names[name]
        for found in (uids, gids)
        for name, number in found.items()
        if number is None and name not in BESIDE
    }
    if uids and all(number is None for number in uids.values()):
        return None
    if missing:
        raise ConfigurationError(
            f"this machine has no user or group {', '.join(sorted(missing))}: "
            "deploy/systemd/meter61850.sysusers makes all of them"
        )
    return Users(
        {name: number for name, number in uids.items() if number is not None},
        {name: number for name, number in gids.items() if number is not None},
    )


def _number(look_up: object, name: str) -> int | None:
    try:
        return int(look_up(name)[2])  # type: ignore[operator]  # uid of a passwd entry, gid of a group's
    except KeyError:
        return None


def is_apart(folder: Path) -> bool:
    """Whether each service has its folder: those of earlier versions do not."""
    return all((folder / name).is_dir() for name in FOLDERS)


def hand_over(folder: Path, users: Users) -> None:
    """Give everything in a deployment to whom it belongs; as root. It may be done again at any time.

    What a service owns already is left to it, and no link is followed: it cannot lead us to another's file.
    OSError if the file system refuses.
    """
    given = {place.path: place for place in places(name for name in BESIDE if name in users.gids)}
    for path, place in _all(folder, "", given, users):
        os.chown(path, users.uids[place.owner], users.gids[place.group], follow_symlinks=False)
        path.chmod(place.mode)


def _all(folder: Path, name: str, given: Mapping[str, Place], users: Users) -> Iterator[tuple[Path, Place]]:
    """``folder / name`` and all below it, each with its place, what is inside first."""
    path = folder / name
    place = given.get(name or ".") or _inside(path, name, _above(name, given))
    if path.is_symlink() or (_is_anothers(place) and _is_right(path, place, users)):
        return
    for child in sorted(path.iterdir()) if path.is_dir() else ():
        yield from _all(folder, str(child.relative_to(folder)), given, users)
    yield path, place


def _above(name: str, given: Mapping[str, Place]) -> Place:
    return next(given[str(up)] for up in Path(name).parents if str(up) in given)


def _is_anothers(place: Place) -> bool:
    """Whether a service other than the registrar writes there."""
    return place.owner != REGISTRAR or bool(place.mode & 0o020)


def _is_right(path: Path, place: Place, users: Users) -> bool:
    told = path.stat()
    wanted = (users.uids[place.owner], users.gids[place.group], place.mode)
    return (told.st_uid, told.st_gid, told.st_mode & 0o7777) == wanted


def _inside(path: Path, name: str, above: Place) -> Place:
    """What has no row of its own: as its folder if that is a service's, else the registrar's alone."""
    mode = path.lstat().st_mode
    if above.path == "identities" and _UUID.fullmatch(path.name):
        return Place(name, REGISTRAR, "meters", 0o2750)
    if above.path in (".", "identities"):
        in_meter = _UUID.fullmatch(path.parent.name)
        above = Place("", REGISTRAR, "meters" if in_meter else REGISTRAR, 0o2750 if in_meter else 0o700)
    if stat.S_ISDIR(mode):
        return Place(name, above.owner, above.group, above.mode)
    shared = {0o2770: 0o660, 0o2750: 0o640}.get(above.mode, 0o600)
    return Place(name, above.owner, above.group, shared | mode & 0o004)


def describe() -> Iterator[tuple[str, str, str, str]]:
    """Service, its user, what it reads beside the settings, what it writes: the table of docs/threats.md."""
    for service, needs in (*NEEDS.items(), *BESIDE.items()):
        if service == REGISTRAR:
            yield (
                service,
                f"`{PREFIX}-{service}`",
                "everything but what the others write alone",
                f"all, `{DATABASE}/`",
            )
            continue
        reads, writes = (", ".join(f"`{path}/`" for path in paths) for paths in (needs.reads, needs.writes))
        yield service, f"`{PREFIX}-{service}`", reads, writes


assert set(SERVICES) - {"admin"} <= set(NEEDS), "a service without a row"
