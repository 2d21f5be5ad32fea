"""What somebody with a stolen enrolment code can and cannot do, with an MQTT client of his own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiomqtt
import pytest

from broker.contract.birth import Hardware
from broker.contract.enrolment import Answer, Ask, Verdict
from broker.contract.enrolment_codes import EnrolmentCode
from broker.contract.messages import utc_now
from meter_firmware.enrolment import keys
from registrar import requests
from tests.support.chain import until
from tests.support.sites import Deployed, deployed

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
FORGED = "3f2504e0-4f89-41d3-9a0c-0305e82c3302"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Broker and registrar."""
    with deployed(tmp_path_factory.mktemp("site"), "registrar") as running:
        yield running


@pytest.fixture
def code(site: Deployed) -> EnrolmentCode:
    """The stolen one."""
    made = EnrolmentCode.parse(site.new_code("--count", "3"))
    passwords = site.folder / "d" / "security" / "passwords"
    until(lambda: f"{made.id}-3" in passwords.read_text(), why="its slots are open")
    return made


@asynccontextmanager
async def slot(
    site: Deployed, name: str, password: str, *, client_id: str = "", patience: float = 60.0
) -> AsyncIterator[aiomqtt.Client]:
    """A connection with a slot's login; tried until the broker has read its files."""
    tls = aiomqtt.TLSParameters(ca_certs=str(site.deployment.identity_folder("admin") / "ca.crt"))
    end = asyncio.get_running_loop().time() + patience
    while True:
        client = aiomqtt.Client(
            "127.0.0.1",
            site.ports[2],
            username=name,
            password=password,
            identifier=client_id or None,
            timeout=5,
            protocol=aiomqtt.ProtocolVersion.V5,
            tls_params=tls,
        )
        try:
            await client.__aenter__()
            break
        except aiomqtt.MqttError:
            if asyncio.get_running_loop().time() > end:
                raise
    try:
        yield client
    finally:
        await client.__aexit__(None, None, None)


def ask(meter_id: str, serial: str = "S-1") -> Ask:
    """With a key of its own."""
    csr = keys.request(meter_id, keys.new_key())
    return Ask(meter_id=meter_id, hardware=Hardware(serial=serial), csr=csr, ts=utc_now())


async def answer(client: aiomqtt.Client) -> Answer:
    """The next one."""
    async with asyncio.timeout(60):
        message = await anext(client.messages)
    assert isinstance(message.payload, bytes)
    return Answer.model_validate_json(message.payload)


async def test_a_slot_can_ask_and_nothing_else(site: Deployed, code: EnrolmentCode) -> None:
    name = f"{code.id}-1"
    async with slot(site, name, code.secret) as thief:
        await thief.subscribe([("#", 1), (f"sm/v1/enrol/{code.id}-2/answer", 1), ("sm/v1/+/command", 1)])
        for topic in (
            f"sm/v1/{METER}/command",
            f"sm/v1/{METER}/birth",
            f"sm/v1/{METER}/renew",
            f"sm/v1/{METER}/credential",
            f"sm/v1/enrol/{code.id}-2/ask",
            f"sm/v1/enrol/{name}/answer",
            f"sm/v1/{name}/birth",
        ):
            await thief.publish(topic, ask(METER).payload(), qos=1, retain=True)
        await thief.publish(f"sm/v1/enrol/{name}/ask", ask(FORGED, "S-9").payload(), qos=1)
        assert (await answer(thief)).verdict is Verdict.PENDING
        assert not len(thief.messages)
    assert [request.slot for request in waiting(site, code)] == [name]


async def test_who_takes_a_slot_over_cannot_put_his_key_into_it(site: Deployed, code: EnrolmentCode) -> None:
    name, honest = f"{code.id}-2", ask(METER, "S-2")
    async with slot(site, name, code.secret) as meter:
        await meter.subscribe(f"sm/v1/enrol/{name}/answer", qos=1)
        await meter.publish(f"sm/v1/enrol/{name}/ask", honest.payload(), qos=1)
        assert (await answer(meter)).verdict is Verdict.PENDING
    async with slot(site, name, code.secret, client_id="x") as thief:
        await thief.subscribe(f"sm/v1/enrol/{name}/answer", qos=1)
        assert (await answer(thief)).meter_id == METER
        await thief.publish(f"sm/v1/enrol/{name}/ask", ask(METER, "S-2").payload(), qos=1)
        told = await answer(thief)
        assert (told.verdict, "taken by another" in told.reason) == (Verdict.REFUSED, True)
    site.cli("enrol", "approve", METER, "--key", site.request(METER)["key"])
    async with slot(site, name, code.secret) as meter:
        await meter.subscribe(f"sm/v1/enrol/{name}/answer", qos=1)
        while (told := await answer(meter)).verdict is not Verdict.GRANTED:
            pass  # what was retained before the registrar had heard of it
    assert (told.verdict, told.question) == (Verdict.GRANTED, honest.question)
    (request,) = (one for one in waiting(site, code) if one.meter_id == METER)
    assert request.ask.csr == honest.csr


async def test_rubbish_is_counted_and_the_registrar_goes_on(site: Deployed, code: EnrolmentCode) -> None:
    name = f"{code.id}-3"
    async with slot(site, name, code.secret) as thief:
        await thief.subscribe(f"sm/v1/enrol/{name}/answer", qos=1)
        for payload in (b"", b"\xff", b"{" * 10_000, b"[]", b"x" * 100_000, b'{"meter_id": 1}'):
            await thief.publish(f"sm/v1/enrol/{name}/ask", payload, qos=1)
        await thief.publish(f"sm/v1/enrol/{name}/ask", ask(FORGED[:-1] + "3", "S-3").payload(), qos=1)
        assert (await answer(thief)).verdict is Verdict.PENDING
    assert site.log("enrol").count("(logged once)") <= 7


async def test_a_wrong_password_and_the_name_of_a_meter_do_not_get_in(
    site: Deployed, code: EnrolmentCode
) -> None:
    for name, password in ((f"{code.id}-1", "wrong"), (METER, code.secret), ("bridge", code.secret)):
        with pytest.raises(aiomqtt.MqttError):
            async with slot(site, name, password, patience=5.0):
                pass


def waiting(site: Deployed, code: EnrolmentCode) -> list[requests.Request]:
    """Requests made with the code."""
    return [one for one in requests.listed(site.deployment) if one.slot.startswith(code.id)]
