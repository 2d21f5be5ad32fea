"""``meter61850 doctor``: what is installed, what is reachable, and what to do about the rest."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import aiomqtt
import typer

from admin import mqtt
from admin.exits import ExitCode
from admin.lazy import MissingPartError, load, new_app
from admin.options import DATABASE, Database, Json, Mqtt, Prefix, mqtt_settings
from admin.output import show
from broker.contract.commands import parsed
from broker.contract.errors import Meter61850Error, reason
from broker.contract.messages import utc_now
from broker.contract.status import Revision, ServiceStatus
from broker.daemon.mosquitto import find
from broker.daemon.mosquitto import version as mosquitto_version
from broker.mqtt.connecting import connect
from broker.mqtt.settings import MqttSettings

MIN_PYTHON = (3, 11)
SERVICES = ("bridge", "mms")
SERVICE_SILENCE = 30.0
"""Seconds; a service tells its status every 10."""
AUDIT_ROWS = 10_000
LOW_DISK = 1_000_000_000
CONNECT_SECONDS = 2.0

# fmt: off
PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("firmware", ("minimalmodbus", "pymeterbus", "smllib")),
    ("server",   ("alembic", "amqtt", "lxml", "open61850", "orjson", "pyiec61850-ng", "scl_loader",
                  "sqlmodel")),
    ("postgres", ("psycopg",)),
)
# fmt: on

app = new_app(rich_markup_mode=None)


class Verdict(StrEnum):
    """How it stands; only ``fail`` makes the command fail."""

    OK = "ok"
    NOTE = "note"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    verdict: Verdict
    what: str
    detail: str
    cure: str = ""


@app.command()
def doctor(
    mqtt: Mqtt = None, prefix: Prefix = None, database: Database = DATABASE, as_json: Json = False
) -> None:
    """Check what is installed and reachable, with versions; exit 1 on a fault.

    \b
    meter61850 doctor
    meter61850 doctor --mqtt broker.local --database postgresql://meter61850@db/meter61850
    """
    found = [
        *_installed(),
        *_machine(),
        *asyncio.run(_chain(mqtt_settings(mqtt, prefix))),
        *_database(database),
        *_certificates(),
    ]
    show([asdict(finding) for finding in found], as_json=as_json)
    failed = any(finding.verdict is Verdict.FAIL for finding in found)
    raise typer.Exit(ExitCode.FAILURE if failed else ExitCode.OK)


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


def _machine() -> Iterator[Finding]:
    free = shutil.disk_usage(Path.cwd()).free
    low = free < LOW_DISK
    yield Finding(
        Verdict.NOTE if low else Verdict.OK,
        "disk",
        f"{free / 1e9:.1f} GB free here",
        "make room: readings need about 80 bytes each" if low else "",
    )


async def _chain(settings: MqttSettings) -> list[Finding]:
    """The broker, the services behind it, the SCD, and each MMS server."""
    where = f"{settings.host}:{settings.port}"
    try:
        settings = await mqtt.speaking(settings)
        async with mqtt.connected(settings) as client:
            level = {4: "3.1.1", 5: "5"}[settings.version]
            finding = Finding(Verdict.OK, "broker", f"{where} speaks MQTT {level}{await _product(client)}")
            return [finding, *await _behind(client, settings)]
    except Meter61850Error as error:
        return [
            Finding(
                Verdict.FAIL,
                "broker",
                str(error).partition(";")[0],
                "meter61850 broker run, or --mqtt HOST:PORT",
            )
        ]


async def _product(client: aiomqtt.Client) -> str:
    """Mosquitto's name and version, from its $SYS topic; empty from a broker that does not tell."""
    topic = "$SYS/broker/version"
    found = await mqtt.retained(client, topic, barrier="$SYS/broker/none")
    return f", {found[topic].decode(errors='replace')}" if topic in found else ""


async def _behind(client: aiomqtt.Client, settings: MqttSettings) -> list[Finding]:
    topics = settings.topics
    found = await mqtt.retained(
        client,
        topics.revision,
        topics.filter("cid"),
        *(topics.service_status(name) for name in SERVICES),
        barrier=topics.service_status(mqtt.NAME),
    )
    services = [
        _service(name, parsed(ServiceStatus, found.pop(topics.service_status(name), None)))
        for name in SERVICES
    ]
    revision = parsed(Revision, found.pop(topics.revision, None))
    scd = (
        Finding(
            Verdict.OK,
            "scd",
            f"revision {revision.revision}, meters: {revision.meters}, IEDs: {revision.ieds}",
        )
        if revision
        else Finding(Verdict.NOTE, "scd", "none is published", "start the bridge and a meter")
    )
    return [*services, scd, *_servers(found)]


def _service(name: str, status: ServiceStatus | None) -> Finding:
    """One service by its retained status; one that says online but is silent has no will either."""
    cure = f"meter61850 {name} run"
    if status is None or not status.online:
        return Finding(Verdict.FAIL, name, "is not running", cure)
    age = (utc_now() - status.ts).total_seconds()
    if age > SERVICE_SILENCE:
        return Finding(Verdict.FAIL, name, f"was last heard {age:.0f} s ago", cure)
    return Finding(Verdict.OK, name, f"{status.version} is running")


def _servers(cids: dict[str, bytes]) -> Iterator[Finding]:
    """Whether each IED's MMS port accepts connections; nothing when the part that reads CIDs is missing."""
    try:
        reader = load("scl_builder.read.cid")
    except MissingPartError as error:
        yield Finding(Verdict.NOTE, "MMS servers", "not looked at", str(error))
        return
    for topic, payload in cids.items():
        try:
            cid = reader.read_cid(payload)
        except reader.CidError as error:
            yield Finding(Verdict.FAIL, f"MMS {topic}", str(error), "meter61850 scl check")
            continue
        host, port = cid.endpoint
        what = f"MMS {cid.ied}"
        try:
            connect(host, port, timeout=CONNECT_SECONDS).close()
            yield Finding(Verdict.OK, what, f"{host}:{port} serves {len(cid.devices) - 1} meters")
        except OSError as error:
            yield Finding(Verdict.FAIL, what, f"{host}:{port}: {reason(error)}", "meter61850 mms run")


def _database(url: str) -> Iterator[Finding]:
    """Whether the database answers, how many meters it knows, and whether its audit is whole."""
    try:
        with load("admin.stores").open_store(url) as store:
            states = store.meters(retired=True)
            online = sum(state.meter.online for state in states)
            yield Finding(Verdict.OK, "database", f"{len(states)} meters, {online} online")
            yield _audit(store, url)
            for alarm in store.alarms():
                named = f"{alarm.name or alarm.meter_id} ({alarm.meter_id})"
                yield Finding(Verdict.FAIL, f"alarm {alarm.kind}", f"{named}: {alarm.detail}", alarm.cure)
    except MissingPartError as error:
        yield Finding(Verdict.NOTE, "database", "not looked at", str(error))
    except Meter61850Error as error:
        yield Finding(Verdict.FAIL, "database", str(error), "meter61850 bridge run, or --database URL")


def _certificates() -> Iterator[Finding]:
    """Those of the deployment that end soon, if there is one and its identity store may be read."""
    folder = os.environ.get("METER61850_DIR")
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


def _audit(store: Any, url: str) -> Finding:
    """Whether the newest rows of the audit are as they were written, up to the bridge's last head; all rows
    take their time."""
    check = "meter61850 audit verify"
    kept = load("bridge.store.audit_head")
    try:
        file = kept.beside(url)
        heads = [kept.remembered(file)] if file and file.exists() else []
        count = sum(1 for _ in store.verified_audit(heads, newest=AUDIT_ROWS))
    except load("bridge.store.audit_verify").TamperedError as error:
        return Finding(Verdict.FAIL, "audit", str(error), check)
    return Finding(Verdict.OK, "audit", f"the newest {count} rows are whole; `{check}` looks at all")
