"""``meter61850 doctor``: what is installed, what is reachable, and what to do about the rest."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

from admin.deployments import DIR
from admin.doctor import beside, machine, services, stored
from admin.doctor.findings import Finding, Verdict
from admin.exits import ExitCode
from admin.lazy import MissingPartError, load, new_app
from admin.options import DATABASE, Database, Json, Mqtt, Prefix, mqtt_settings
from admin.output import print_json, show, stdout
from admin.plain import plain
from broker.contract.errors import Meter61850Error
from broker.contract.messages import utc_now
from broker.daemon.mosquitto import find
from broker.daemon.mosquitto import version as mosquitto_version

MIN_PYTHON = (3, 11)

# fmt: off
PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("firmware", ("cryptography", "minimalmodbus", "smllib")),
    ("server",   ("alembic", "amqtt", "lxml", "open61850", "orjson", "pyiec61850-ng", "scl_loader",
                  "sqlmodel")),
    ("postgres", ("psycopg",)),
)
# fmt: on

app = new_app(rich_markup_mode=None)


@app.command()
def doctor(
    mqtt: Mqtt = None, prefix: Prefix = None, database: Database = DATABASE, as_json: Json = False
) -> None:
    """Check what is installed and reachable, and list what to do; exit 1 on a fault.

    Packages, this machine's clock and disks, ports, services with their versions, MMS servers, meters with
    their clocks, alarms (twins), dead letters, the audit, certificates.

    \b
    meter61850 doctor
    meter61850 doctor --mqtt broker.local --database postgresql://meter61850@db/meter61850
    """
    settings = mqtt_settings(mqtt, prefix)
    folder = Path(told) if (told := os.environ.get(DIR)) else None
    chain = asyncio.run(services.look(settings, deployment=folder is not None))
    found = [
        *_installed(),
        *machine.clock(),
        *machine.disks(database, folder),
        *chain,
        *machine.ports(
            os.environ if folder is not None and mqtt is None else {}, broker=chain[0].verdict is Verdict.OK
        ),
        *beside.look(),
        *stored.look(database),
        *_certificates(),
    ]
    if as_json:
        print_json([asdict(finding) for finding in found])
    else:
        _tell(found)
    failed = any(finding.verdict is Verdict.FAIL for finding in found)
    raise typer.Exit(ExitCode.FAILURE if failed else ExitCode.OK)


def _tell(found: list[Finding]) -> None:
    """The findings, faults last, and then what to do, in this order: faults first."""
    rows = [{"verdict": one.verdict, "what": one.what, "detail": one.detail} for one in found]
    show(rows, as_json=False)
    faults, notes = ([one for one in found if one.verdict is kind] for kind in (Verdict.FAIL, Verdict.NOTE))
    cures: dict[str, list[str]] = {}
    for one in (*faults, *notes):
        if one.cure:
            cures.setdefault(one.cure, []).append(one.what)
    look = f", {len(notes)} to look at" if notes else ""
    lines = [f"{len(faults)} to mend{look}" if faults else f"no fault{look}"]
    lines += [
        f"{number}. {', '.join(dict.fromkeys(what))}: {cure}"
        for number, (cure, what) in enumerate(cures.items(), 1)
    ]
    for text in lines:
        stdout().print(plain(text), markup=False)


def _installed() -> Iterator[Finding]:
    running = sys.version_info[:2] >= MIN_PYTHON
    yield Finding(
        Verdict.OK if running else Verdict.FAIL,
        "python",
        f"{platform.python_version()} on {platform.platform()}",
        "" if running else "install Python 3.11 or newer",
    )
    yield Finding(Verdict.OK, "meter61850", version("meter61850"))
    for part, packages in PARTS:
        yield _part(part, packages)
    binary = find()
    if binary is None:
        yield Finding(
            Verdict.NOTE,
            "mosquitto",
            "not installed: `up` takes the embedded broker",
            "apt-get install mosquitto",
        )
    else:
        yield Finding(Verdict.OK, "mosquitto", f"{mosquitto_version(binary)} at {binary}")


def _part(part: str, packages: tuple[str, ...]) -> Finding:
    """The packages of one extra."""
    versions = {package: _version(package) for package in packages}
    missing = [package for package, found in versions.items() if found is None]
    if missing:
        return Finding(
            Verdict.NOTE,
            f"[{part}]",
            f"not installed: {', '.join(missing)}",
            f"pip install 'meter61850[{part}]'",
        )
    return Finding(Verdict.OK, f"[{part}]", ", ".join(f"{name} {found}" for name, found in versions.items()))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _certificates() -> Iterator[Finding]:
    """Those of the deployment that end soon, if there is one and its identity store may be read."""
    folder = os.environ.get(DIR)
    if not folder:
        return
    try:
        expiry, opened = load("registrar.expiry"), load("registrar.deployment").Deployment.open(Path(folder))
        found = expiry.ending(opened, utc_now())
    except MissingPartError as error:
        yield Finding(Verdict.NOTE, "certificates", "not looked at", str(error))
        return
    except (Meter61850Error, OSError) as error:
        why = f"not looked at, which takes root or the registrar's user: {error}"
        yield Finding(Verdict.NOTE, "certificates", why)
        return
    for one in found:
        ended = one.ends <= utc_now()
        what = f"of {one.what}: {'ended' if ended else 'ends'} on {one.ends:%Y-%m-%d %H:%M} UTC"
        yield Finding(Verdict.FAIL if ended else Verdict.NOTE, "certificate", what, one.cure)
    if not found:
        yield Finding(Verdict.OK, "certificates", f"none ends within {expiry.WARN.days} days")
