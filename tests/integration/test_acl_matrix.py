"""The broker's rights as a matrix: every identity × every topic × publish and receive, on a real Mosquitto.

The cells follow from the roles in `broker.contract.specs`, and not from `registrar.acl`; what no row of the
contract allows is denied. A witness with all rights sees what gets through; Mosquitto answers every SUBSCRIBE
with success, so what counts is what arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

import aiomqtt
import pytest

from broker.contract.roles import DISCOVERY, HOMEASSISTANTS, Role
from broker.contract.specs import SPECS, Spec
from broker.mqtt.settings import MqttSettings
from tests.support.deployments import Site, deployed

OWN = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
"""The meter with a certificate, in address code 7500."""
OTHER = "3f2504e0-4f89-41d3-9a0c-0305e82c3302"
"""The meter with a token, without an address code."""
BLOCKED = "3f2504e0-4f89-41d3-9a0c-0305e82c3303"
METERS = (OWN, OTHER, BLOCKED)
SLOT, OTHER_SLOT = "QK7M-1", "QK7M-2"
STRANGE = ("anna/reading", "bridge/reading", "web/birth", f"{SLOT}/reading", f"{OWN}/nonsense", "nonsense",
           "scl/nonsense", "service/web/nonsense")  # fmt: skip
ANNOUNCED = f"{DISCOVERY}/device/m61850_{OWN}/config"
STARTED = f"{DISCOVERY}/status"
OUTSIDE = ("elsewhere/topic", "sm/v2/x", ANNOUNCED, STARTED, f"{DISCOVERY}/sensor/x/config")
"""Whole topics; all others are below the prefix."""


FIELDS = {
    "meter_id": METERS,
    "ied": ("SMGW001",),
    "service": ("bridge", "mms", "registrar", "web"),
    "identity": ("mms", "web", "cli", "otto", "scoped-otto", "admin"),
    "slot": (SLOT, OTHER_SLOT),
}
"""What stands in the fields of the patterns."""


def topics_of(spec: Spec) -> Iterator[str]:
    """All of this kind, below the prefix."""
    fields = [part[1:-1] for part in spec.words if part.startswith("<")]
    for values in product(*(FIELDS[field] for field in fields)):
        yield spec.topic(**dict(zip(fields, values, strict=True)))


TOPICS = (*sorted({topic for spec in SPECS.values() for topic in topics_of(spec)} | set(STRANGE)), *OUTSIDE)


@dataclass(frozen=True)
class Actor:
    """One of the matrix."""

    role: Role | None
    """None: blocked."""
    meters: tuple[str, ...] = ()
    """To which it is confined."""
    slot: bool = False
    """A new meter, with an enrolment code alone."""


ACTORS = {
    OWN: Actor(Role.METER, (OWN,)),
    OTHER: Actor(Role.METER, (OTHER,)),
    BLOCKED: Actor(None),
    "bridge": Actor(Role.BRIDGE),
    "mms": Actor(Role.MMS),
    "registrar": Actor(Role.REGISTRAR),
    "web": Actor(Role.WEB),
    "admin": Actor(Role.ADMIN),
    "anna": Actor(Role.OPERATOR),
    "otto": Actor(Role.ISSUER),
    "scoped-anna": Actor(Role.OPERATOR, (OWN,)),
    "scoped-otto": Actor(Role.ISSUER, (OWN,)),
    "home": Actor(Role.HOMEASSISTANT),
    "home-otto": Actor(Role.HOMEASSISTANT_ISSUER),
    "credit": Actor(Role.CREDIT),
    SLOT: Actor(Role.METER, slot=True),
}


def allowed(name: str, verb: Literal["read", "write"]) -> set[str]:
    """The topics where ``name`` has this right, by the contract; Home Assistant has some of its own."""
    own = {topic for topic in TOPICS if topic not in OUTSIDE and _may(name, verb, topic)}
    if ACTORS[name].role not in HOMEASSISTANTS:
        return own
    read = {topic for topic in OUTSIDE if topic.startswith(f"{DISCOVERY}/")}
    return own | (read if verb == "read" else {ANNOUNCED, STARTED})


def _may(name: str, verb: Literal["read", "write"], topic: str) -> bool:
    actor, words = ACTORS[name], topic.split("/")
    if actor.role is None or (words[0] == name and actor.role is not Role.METER):
        return False  # nobody else is a meter: below its own name each is denied everything
    if actor.role is Role.ADMIN and verb == "read":
        return True
    return any(
        spec.may(verb, actor.role) and _fits(spec, words, name, actor, verb) for spec in SPECS.values()
    )


def _fits(spec: Spec, words: list[str], name: str, actor: Actor, verb: str) -> bool:
    if len(words) != len(spec.words) or (actor.role is Role.METER and (spec.scope == "enrol") != actor.slot):
        return False
    if actor.meters and spec.scope == "scl":
        return False  # it names every house
    for part, word in zip(spec.words, words, strict=True):
        match part:
            case "<meter_id>":
                fits = not actor.meters or word in actor.meters
            case "<identity>":
                fits = verb == "read" or word == name
            case "<slot>":
                fits = not actor.slot or word == name
            case _:
                fits = part.startswith("<") or part == word
        if not fits:
            return False
    return True


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
        settings["home"] = site.add("home", Role.HOMEASSISTANT)
        settings["home-otto"] = site.add("home-otto", Role.HOMEASSISTANT_ISSUER)
        settings["credit"] = site.add("credit", Role.CREDIT)
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
        timeout=60,
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


@pytest.mark.parametrize("name", ACTORS)
async def test_what_gets_through_is_what_the_contract_allows(name: str, cast: Cast) -> None:
    async with AsyncExitStack() as stack:
        witness = await stack.enter_async_context(client(cast.witness))
        await witness.subscribe("#", qos=1)
        actor = await stack.enter_async_context(client(cast.settings[name]))
        await asyncio.gather(*(_attempt(actor, topic, name.encode()) for topic in TOPICS))
        seen = await arrived(witness)
    assert {topic for topic in TOPICS if (full(topic), name.encode()) in seen} == allowed(name, "write")


@pytest.mark.parametrize("name", ACTORS)
async def test_what_arrives_is_what_the_contract_allows(name: str, cast: Cast) -> None:
    async with AsyncExitStack() as stack:
        actor = await stack.enter_async_context(client(cast.settings[name]))
        await actor.subscribe([("#", 1), *((full(topic), 1) for topic in TOPICS)])
        await arrived(actor)
        witness = await stack.enter_async_context(client(cast.witness))
        await asyncio.gather(*(_attempt(witness, topic, b"witness") for topic in TOPICS))
        heard = {topic for topic, payload in await arrived(actor) if payload == b"witness"}
    assert {topic for topic in TOPICS if full(topic) in heard} == allowed(name, "read")


async def _attempt(actor: aiomqtt.Client, topic: str, payload: bytes) -> None:
    """Publish at QoS 1; the broker acknowledges what it drops, too."""
    await actor.publish(full(topic), payload, qos=1)
