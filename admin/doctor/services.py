"""What the broker tells: its product, the services behind it, the SCD, and whether the MMS servers answer."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import aiomqtt

from admin import mqtt
from admin.doctor.findings import Finding, Verdict
from admin.lazy import MissingPartError, load
from broker.contract.commands import parsed
from broker.contract.errors import Meter61850Error, reason
from broker.contract.messages import utc_now
from broker.contract.status import Revision, ServiceStatus
from broker.mqtt.connecting import connect
from broker.mqtt.settings import MqttSettings

SERVICES = {"bridge": "bridge run", "mms": "mms run", "web": "web run", "registrar": "enrol run"}
"""Service → its command."""
OPTIONAL = ("web", "registrar")
"""Without them meters are read and switched all the same. Without a deployment there is no registrar."""
SERVICE_SILENCE = 30.0
"""Seconds; a service tells its status every 10."""
CLOCKS_APART = 5.0
"""Seconds between two clocks that are a finding."""
CONNECT_SECONDS = 2.0


async def look(settings: MqttSettings, *, deployment: bool) -> list[Finding]:
    """The broker first; if it does not answer nothing else is known."""
    where = f"{settings.host}:{settings.port}"
    try:
        settings = await mqtt.speaking(settings)
        async with mqtt.connected(settings) as client:
            level = {4: "3.1.1", 5: "5"}[settings.version]
            finding = Finding(Verdict.OK, "broker", f"{where} speaks MQTT {level}{await _product(client)}")
            return [finding, *await _behind(client, settings, deployment=deployment)]
    except Meter61850Error as error:
        told, cure = str(error).partition(";")[0], "meter61850 broker run, or --mqtt HOST:PORT"
        return [Finding(Verdict.FAIL, "broker", told, cure)]


async def _product(client: aiomqtt.Client) -> str:
    """Mosquitto's name and version, from its $SYS topic; empty from a broker that does not tell."""
    topic = "$SYS/broker/version"
    found = await mqtt.retained(client, topic, barrier="$SYS/broker/none")
    return f", {found[topic].decode(errors='replace')}" if topic in found else ""


async def _behind(client: aiomqtt.Client, settings: MqttSettings, *, deployment: bool) -> list[Finding]:
    topics = settings.topics
    found = await mqtt.retained(
        client,
        topics.revision,
        topics.filter("cid"),
        *(topics.service_status(name) for name in SERVICES),
        barrier=topics.service_status(mqtt.NAME),
    )
    services = [
        finding
        for name in SERVICES
        if deployment or name != "registrar"
        for finding in with_warnings(name, found.pop(topics.service_status(name), None))
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


def with_warnings(name: str, payload: bytes | None) -> Iterator[Finding]:
    """A service, and what it warns of itself; the registrar warns of certificates, a finding of their own."""
    status = parsed(ServiceStatus, payload)
    finding = service(name, status)
    yield finding
    if status is not None and finding.verdict is not Verdict.FAIL and name != "registrar":
        for warning in status.warnings:
            yield Finding(Verdict.FAIL, f"{name} warns", warning)


def service(name: str, status: ServiceStatus | None) -> Finding:
    """One service by its retained status; one that says online but is silent has no will either."""
    cure, missing = f"meter61850 {SERVICES[name]}", Verdict.NOTE if name in OPTIONAL else Verdict.FAIL
    if status is None or not status.online:
        return Finding(missing, name, "is not running", cure)
    age = (utc_now() - status.ts).total_seconds()
    if age < -CLOCKS_APART:
        told = f"its clock is {-age:.0f} s ahead of the clock here"
        return Finding(Verdict.FAIL, name, told, "give both machines NTP: timedatectl set-ntp true")
    if age > SERVICE_SILENCE:
        told = f"was last heard {age:.0f} s ago, or its clock is as much behind"
        return Finding(missing, name, told, cure)
    ours = version("meter61850")
    if status.version != ours:
        told = f"{status.version} is running, {ours} is installed here"
        return Finding(Verdict.NOTE, name, told, "restart it: all services of one version")
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
        yield _server(cid)


def _server(cid: Any) -> Finding:
    """One IED. Where TLS is configured it must answer; the plain port may be closed, or on loopback only."""
    places = {"plain": cid.endpoint} | ({"TLS": cid.tls_endpoint} if cid.tls_endpoint else {})
    errors: dict[str, str] = {}
    for kind, (host, port) in places.items():
        try:
            connect(host, port, timeout=CONNECT_SECONDS).close()
        except OSError as error:
            errors[kind] = f"{host}:{port} ({kind}): {reason(error)}"
    what = f"MMS {cid.ied}"
    if "TLS" in errors or len(errors) == len(places):
        return Finding(Verdict.FAIL, what, "; ".join(errors.values()), "meter61850 mms run")
    told = " and ".join(
        f"{host}:{port} ({kind})" for kind, (host, port) in places.items() if kind not in errors
    )
    closed = "; the plain port is closed to this address" if errors else ""
    return Finding(Verdict.OK, what, f"{told} serves {len(cid.meters)} meters{closed}")
