"""The broker's rights as a matrix: every identity × every topic × publish and receive, on a real Mosquitto.

The table below is written by hand, from the contract: it does not come from `registrar.acl`. What is not in
it is denied. A witness with all rights sees what gets through; Mosquitto answers every SUBSCRIBE with
success, so what counts is what arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiomqtt
import pytest

from broker.mqtt.settings import MqttSettings
from registrar.identities import Role
from tests.support.deployments import Site, deployed

OWN = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
"""The meter with a certificate, in address code 7500."""
OTHER = "3f2504e0-4f89-41d3-9a0c-0305e82c3302"
"""The meter with a token, without an address code."""
BLOCKED = "3f2504e0-4f89-41d3-9a0c-0305e82c3303"
TOLD = ("birth", "status", "reading", "history", "relay", "result")
KINDS = (*TOLD, "stored", "notice", "command", "block", "access")
PRIVATE = ("renew", "credential")
"""Between a meter and the registrar."""
METERS = (OWN, OTHER, BLOCKED)
SLOT, OTHER_SLOT = "QK7M-1", "QK7M-2"

SCL = ("scl/scd", "scl/revision", "scl/cid/SMGW001")
STATUSES = ("service/bridge/status", "service/mms/status", "service/registrar/status", "service/web/status")
REFUSED = ("service/mms/refused", "service/web/refused", "service/cli/refused")
PEOPLE_REFUSED = tuple(
    f"service/{name}/refused/{meter}"
    for name in ("otto", "scoped-otto", "admin", "mms")
    for meter in (OWN, OTHER)
)
"""Of one person and one meter."""
ENROL = tuple(f"enrol/{slot}/{kind}" for slot in (SLOT, OTHER_SLOT) for kind in ("ask", "answer"))
STRANGE = ("anna/reading", "bridge/reading", "web/birth", f"{SLOT}/reading", f"{OWN}/nonsense", "nonsense")
OUTSIDE = ("elsewhere/topic", "sm/v2/x")
"""Whole topics; all others are below the prefix."""


def of(kinds: tuple[str, ...], *meters: str) -> set[str]:
    """These topics of these meters."""
    return {f"{meter}/{kind}" for meter in meters for kind in kinds}


ALL_METERS = of(KINDS, *METERS)
PEOPLE_READ = ALL_METERS | set(SCL) | set(STATUSES)
SERVICES_READ = PEOPLE_READ | set(REFUSED) | set(PEOPLE_REFUSED)
WRITES: dict[str, set[str]] = {
    OWN: of((*TOLD, "block", "renew"), OWN),
    OTHER: of((*TOLD, "block", "renew"), OTHER),
    BLOCKED: set(),
    "bridge": of(("stored", "notice", "block", "birth", "status", "relay", "reading"), *METERS)
    | set(SCL)
    | set(STATUSES),
    "mms": of(("command", "block"), *METERS) | set(STATUSES) | {"service/mms/refused"},
    "registrar": {f"enrol/{SLOT}/answer", f"enrol/{OTHER_SLOT}/answer", *STATUSES}
    | of(("credential", "access", "status"), *METERS),
    "web": of(("command", "birth", "status", "reading", "relay"), *METERS)
    | set(STATUSES)
    | {"service/web/refused"},
    "admin": ALL_METERS | {f"service/admin/refused/{meter}" for meter in (OWN, OTHER)},
    "anna": set(),
    "otto": of(("command", "block"), *METERS) | {f"service/otto/refused/{meter}" for meter in (OWN, OTHER)},
    "scoped-anna": set(),
    "scoped-otto": of(("command", "block"), OWN) | {f"service/scoped-otto/refused/{OWN}"},
    SLOT: {f"enrol/{SLOT}/ask"},
}
READS: dict[str, set[str]] = {
    OWN: of(("command", "stored", "notice", "block", "credential"), OWN),
    OTHER: of(("command", "stored", "notice", "block", "credential"), OTHER),
    BLOCKED: set(),
    "bridge": SERVICES_READ,
    "mms": SERVICES_READ,
    "registrar": {f"enrol/{SLOT}/ask", f"enrol/{OTHER_SLOT}/ask", "web/birth"}
    | of(("birth", "status", "renew"), *METERS),
    "web": SERVICES_READ,
    "admin": {*SERVICES_READ, *ENROL, f"{OWN}/nonsense", "nonsense"} | of(PRIVATE, *METERS),
    "anna": PEOPLE_READ,
    "otto": PEOPLE_READ,
    "scoped-anna": of(KINDS, OWN) | set(STATUSES),
    "scoped-otto": of(KINDS, OWN) | set(STATUSES),
    SLOT: {f"enrol/{SLOT}/answer"},
}
FOR_ALL_METERS = {"bridge", "mms", "web", "admin", "anna", "otto"}
"""Whose rights say `+` for the meter: what stands in its place may be any name, even a stranger's."""
TOPICS = (
    tuple(
        sorted(
            {*ALL_METERS, *of(PRIVATE, *METERS), *SCL, *STATUSES, *REFUSED, *PEOPLE_REFUSED, *ENROL, *STRANGE}
        )
    )
    + OUTSIDE
)


CELLS = 1794
"""13 identities × 69 topics × publish and receive."""


def full(topic: str) -> str:
    """The topic as the broker knows it."""
    return topic if topic in OUTSIDE else f"sm/v1/{topic}"


@dataclass
class Cast:
    """The site and everybody's connection."""

    site: Site
    settings: dict[str, MqttSettings]
    witness: MqttSettings


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """Everyone of the matrix, and a witness whom only this test's access list knows."""
    with deployed(tmp_path_factory.mktemp("matrix"), started=False) as site:
        settings = {name: site.settings(name) for name in ("bridge", "mms", "registrar", "web", "admin")}
        settings[OWN] = site.add(OWN, Role.METER, address_code="7500")
        settings[OTHER] = site.add_token_meter(OTHER)
        settings[BLOCKED] = site.add(BLOCKED, Role.METER)
        settings["anna"] = site.add("anna", Role.OPERATOR)
        settings["otto"] = site.add("otto", Role.ISSUER)
        settings["scoped-anna"] = site.add("scoped-anna", Role.OPERATOR, "7500")
        settings["scoped-otto"] = site.add("scoped-otto", Role.ISSUER, "7500")
        witness = site.add("witness", Role.OPERATOR)
        with site.deployment.identity_store.change() as change:
            # its certificate is left good: what is looked at is a connection from before
            change.connection.execute("UPDATE identity SET blocked = 'stolen' WHERE name = ?", (BLOCKED,))
        settings[SLOT] = site.login(SLOT)
        site.deployment.publish()
        _let_witness_do_all(site.deployment.broker / "acl")
        site.start()
        yield Cast(site, settings, witness)


def _let_witness_do_all(acl: Path) -> None:
    head, _, rest = acl.read_text().partition("user witness\n")
    acl.write_text(f"{head}user witness\ntopic readwrite #\n{rest}")


@asynccontextmanager
async def client(settings: MqttSettings) -> AsyncIterator[aiomqtt.Client]:
    """A plain aiomqtt client with this identity."""
    async with aiomqtt.Client(
        settings.host,
        settings.port,
        username=settings.username,
        password=settings.password.get_secret_value() if settings.password else None,
        protocol=aiomqtt.ProtocolVersion.V5,
        tls_context=settings.tls(),
        timeout=10,
    ) as connected:
        yield connected


async def arrived(receiver: aiomqtt.Client) -> list[tuple[str, bytes]]:
    """Everything that the broker has for ``receiver`` now: it answers a SUBSCRIBE behind it."""
    await receiver.subscribe("barrier")
    count = len(receiver.messages)
    return [
        (message.topic.value, bytes(message.payload))
        for message in [await anext(receiver.messages) for _ in range(count)]
    ]


def test_the_table_names_every_topic_that_it_means() -> None:
    assert 2 * len(WRITES) * len(TOPICS) == CELLS
    for rights in (WRITES, READS):
        assert all(topics <= set(TOPICS) for topics in rights.values())
    assert set(WRITES) == set(READS)


@pytest.mark.parametrize("name", sorted(WRITES))
async def test_what_gets_through_is_what_the_table_allows(name: str, cast: Cast) -> None:
    async with AsyncExitStack() as stack:
        witness = await stack.enter_async_context(client(cast.witness))
        await witness.subscribe("#", qos=1)
        actor = await stack.enter_async_context(client(cast.settings[name]))
        await asyncio.gather(*(_attempt(actor, topic, name.encode()) for topic in TOPICS))
        seen = await arrived(witness)
    passed = {topic for topic in TOPICS if (full(topic), name.encode()) in seen}
    strangers = {"web", "admin", "bridge"} & {name}
    assert passed == WRITES[name] | (_strangers(name) if strangers else set())


@pytest.mark.parametrize("name", sorted(READS))
async def test_what_arrives_is_what_the_table_allows(name: str, cast: Cast) -> None:
    async with AsyncExitStack() as stack:
        actor = await stack.enter_async_context(client(cast.settings[name]))
        await actor.subscribe([("#", 1), *((full(topic), 1) for topic in TOPICS)])
        await arrived(actor)
        witness = await stack.enter_async_context(client(cast.witness))
        await asyncio.gather(*(_attempt(witness, topic, b"witness") for topic in TOPICS))
        heard = {topic for topic, payload in await arrived(actor) if payload == b"witness"}
    expected = READS[name] | (_strangers(name) if name in FOR_ALL_METERS else set())
    assert {topic for topic in TOPICS if full(topic) in heard} == expected


def _strangers(name: str) -> set[str]:
    """Topics of a meter's kind with a name that is no meter_id; below its own, each is denied everything."""
    return {
        topic
        for topic in STRANGE
        if topic.endswith(("/reading", "/birth")) and not topic.startswith((f"{name}/", OWN))
    }


async def _attempt(actor: aiomqtt.Client, topic: str, payload: bytes) -> None:
    """Publish at QoS 1; the broker acknowledges what it drops, too."""
    await actor.publish(full(topic), payload, qos=1)
