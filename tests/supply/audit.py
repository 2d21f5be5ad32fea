"""``python -m tests.supply.audit LOCK …``: is there a known vulnerability in what the lock files name?

pip-audit says "no known vulnerabilities found", with exit code 0, when a mirror in the place of PyPI has no
vulnerability data and every package was skipped. So what was *looked at* is counted here, and where no
database answers that is told, with an exit code of its own. An export of the OSV database (all.zip of the
ecosystem PyPI, from osv.dev) can be taken along to a machine without network: --osv.

Exit codes: 0 all were looked at and none is known; 1 some are; 4 not all could be looked at.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^ ;\\]+)", re.M)


@dataclass
class Verdict:
    """What one database says of the pinned packages."""

    known: list[str] = field(default_factory=list)
    """Package, version and the vulnerability's name."""
    skipped: list[str] = field(default_factory=list)
    """Packages of which it has nothing, not even that there is nothing."""
    failure: str = ""
    """Why it did not answer."""


Database = Callable[[list[Path]], Verdict]


def pins(locks: Iterable[Path]) -> dict[str, str]:
    """Package → version, of all lock files."""
    texts = (lock.read_text() for lock in locks)
    return {canonicalize_name(name): version for text in texts for name, version in PINNED.findall(text)}


def ask(service: str, locks: list[Path]) -> Verdict:
    """pip-audit's answer, by ``service`` (pypi or osv)."""
    verdict = Verdict()
    for lock in locks:
        line = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "-r", str(lock)]
        line += ["--vulnerability-service", service, "--format", "json", "--progress-spinner", "off"]
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=600)
        if not done.stdout.startswith("{"):
            last = done.stderr.strip().rpartition("\n")[2]
            return Verdict(failure=last[:200] or f"exit code {done.returncode}")
        _sort(json.loads(done.stdout)["dependencies"], verdict)
    return verdict


def _sort(dependencies: list[dict[str, Any]], verdict: Verdict) -> None:
    for one in dependencies:
        if "skip_reason" in one:
            verdict.skipped.append(one["name"])
        for vulnerability in one.get("vulns", ()):
            verdict.known.append(f"{one['name']} {one['version']}: {vulnerability['id']}")


def look_up(export: Path, locks: list[Path]) -> Verdict:
    """The answer of an export of OSV; nothing is skipped: what it does not name is not known to it."""
    pinned = pins(locks)
    with zipfile.ZipFile(export) as archive:
        advisories = (json.loads(archive.read(name)) for name in archive.namelist() if name.endswith(".json"))
        return Verdict(sorted({hit for one in advisories for hit in _hits(one, pinned)}))


def _hits(advisory: dict[str, Any], pinned: dict[str, str]) -> Iterator[str]:
    if "withdrawn" in advisory:
        return
    for affected in advisory.get("affected", ()):
        package = affected.get("package", {})
        name = canonicalize_name(package.get("name", ""))
        version = pinned.get(name) if package.get("ecosystem") == "PyPI" else None
        if version and (version in affected.get("versions", ()) or _in_range(version, affected)):
            yield f"{name} {version}: {advisory['id']}"


def _in_range(version: str, affected: dict[str, Any]) -> bool:
    ranges = (one["events"] for one in affected.get("ranges", ()) if one.get("type") == "ECOSYSTEM")
    return any(_between(Version(version), events) for events in ranges)


def _between(version: Version, events: list[dict[str, str]]) -> bool:
    """Whether the last event before ``version`` introduced the fault, and none has ended it."""
    inside = False
    for event in events:
        try:
            if "introduced" in event:
                inside = inside or version >= Version(event["introduced"])
            elif "fixed" in event:
                inside = inside and version < Version(event["fixed"])
            elif "last_affected" in event:
                inside = inside and version <= Version(event["last_affected"])
        except InvalidVersion:
            return True  # cannot be compared: somebody has to look
    return inside


def audit(locks: list[Path], databases: dict[str, Database], say: Callable[[str], object]) -> int:
    """Ask one database after the other until one has looked at everything; the exit code."""
    total = len(pins(locks))
    for name, database in databases.items():
        verdict = database(locks)
        if verdict.known:
            say(f"{name}: {len(verdict.known)} known vulnerabilities of {total} packages")
            for one in verdict.known:
                say(f"  {one}")
            return 1
        if not verdict.failure and not verdict.skipped:
            say(f"{name}: no known vulnerability in {total} packages")
            return 0
        missing = verdict.failure or f"has nothing on {len(set(verdict.skipped))} of {total} packages"
        say(f"{name}: {missing}")
    say(
        "NOT AUDITED: no vulnerability database could be reached. Get all.zip of the ecosystem PyPI from "
        "osv.dev on a machine that can, and run: make audit OSV=all.zip"
    )
    return 4


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Known vulnerabilities of what lock files name.")
    parser.add_argument("locks", nargs="+", type=Path)
    parser.add_argument("--osv", type=Path, help="all.zip of OSV, instead of the network")
    chosen = parser.parse_args()
    online: dict[str, Database] = {
        "PyPI's advisories": partial(ask, "pypi"),
        "api.osv.dev": partial(ask, "osv"),
    }
    offline: dict[str, Database] = {str(chosen.osv): partial(look_up, chosen.osv)}
    databases = offline if chosen.osv else online
    raise SystemExit(audit(chosen.locks, databases, lambda line: sys.stdout.write(line + "\n")))


if __name__ == "__main__":
    main()
