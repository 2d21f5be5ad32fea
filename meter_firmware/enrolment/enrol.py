"""Enrolment request of a new meter: a code allows one request; the grant gives the meter its identity.

The key (or password) is made first and kept. So after a power failure or an interruption the meter returns to
the same slot with the same request, and finds the answer there. Nothing secret is sent.

>>> await enrol(options)  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiomqtt
from pydantic import ValidationError

from broker.contract.birth import Hardware
from broker.contract.enrolment import Answer, Ask, Verdict
from broker.contract.enrolment_codes import EnrolmentCode
from broker.contract.errors import ConfigurationError, Meter61850Error, UnavailableError, clock_doubt, reason
from broker.contract.topics import Topics
from broker.mqtt.client import new_client
from broker.mqtt.settings import MqttSettings
from broker.version import VERSION
from meter_firmware import clock
from meter_firmware.enrolment.draft import Draft
from meter_firmware.settings import Identity

log = logging.getLogger(__name__)

PORT = 8884
ANSWER_SECONDS = 10.0
AGAIN_SECONDS = 1.5
"""At most, after a lost connection: another meter tried our slot."""
_NOT_AUTHORIZED = frozenset({4, 5, 0x86, 0x87})
"""Return codes of MQTT 3.1.1 and 5 for a login that is refused."""


class PendingError(Meter61850Error, TimeoutError):
    """An administrator has not decided yet."""


class EnrolmentRefusedError(Meter61850Error, PermissionError):
    """The request was refused; the message has the reason."""


class _SlotTakenError(Exception):
    """Another meter's, used, or closed."""


@dataclass(frozen=True)
class EnrolmentOptions:
    """What the installer said."""

    meter_id: str
    identity: Identity
    hardware: Hardware
    data_dir: Path
    """The identity folder is made in here."""
    host: str
    ca: Path
    code: EnrolmentCode
    port: int = PORT
    prefix: str = "sm/v1"
    token: bool = False
    """Ask for a login with a password instead of a certificate."""
    wait: float = 0.0
    """Seconds to wait for an administrator."""


async def enrol(plan: EnrolmentOptions) -> Path:
    """The identity folder, when the request is granted.

    Raises:
        PendingError: no decision within ``wait``; the same call continues later.
        RefusedError: by an administrator or by the registrar, or the code is of no use any more.
        UnavailableError: the broker, or the registrar, is not there.
        ConfigurationError: this meter is enrolled already, or ``ca`` is not the broker's authority.
    """
    draft = Draft(plan.data_dir, plan.meter_id)
    draft.begin(token=plan.token)
    ask = _ask(plan, draft)
    end = asyncio.get_running_loop().time() + plan.wait
    for slot in _slots(plan.code, draft):
        try:
            answer = await _asked(plan, slot, ask, draft, end)
        except _SlotTakenError:
            draft.forget_slot()
            continue
        return draft.finish(answer, host=plan.host, prefix=plan.prefix)
    raise EnrolmentRefusedError(
        f"the broker refuses code {plan.code.id}: it is used up, expired or withdrawn; ask for a new one"
    )


def _ask(plan: EnrolmentOptions, draft: Draft) -> Ask:
    return Ask(
        meter_id=plan.meter_id,
        hardware=plan.hardware,
        name=plan.identity.name,
        owner=plan.identity.owner,
        address=plan.identity.address,
        address_code=plan.identity.address_code,
        firmware=VERSION,
        csr=draft.request,
        password=draft.password_hash,
        ts=clock.now(),
    )


def _slots(code: EnrolmentCode, draft: Draft) -> Iterator[str]:
    """Where we have asked before, then all of the code's."""
    slots = list(code.slots_for(draft.meter_id))
    if draft.slot in slots:
        yield draft.slot
    yield from slots


async def _asked(plan: EnrolmentOptions, slot: str, ask: Ask, draft: Draft, end: float) -> Answer:
    """The answer of this slot, with one connection after the other; _SlotTakenError: try the next."""
    loop = asyncio.get_running_loop()
    for _attempt in range(1000):
        try:
            async with _client(plan, slot) as client:
                return await _granted(client, plan, slot, ask, draft, end)
        except aiomqtt.MqttCodeError as error:
            code = getattr(error.rc, "value", error.rc)
            if code in _NOT_AUTHORIZED:
                raise _SlotTakenError from error
            lost: Exception = error
        except aiomqtt.MqttError as error:
            _judge(error, plan)
            lost = error
        log.info("slot %s: %s; again", slot, reason(lost))
        if loop.time() > end + ANSWER_SECONDS:
            break
        await asyncio.sleep(random.uniform(0.1, AGAIN_SECONDS))
    raise UnavailableError(f"broker {plan.host}:{plan.port}: the connection breaks repeatedly")


async def _granted(
    client: aiomqtt.Client, plan: EnrolmentOptions, slot: str, ask: Ask, draft: Draft, end: float
) -> Answer:
    """Send the request, unless the slot is used, and wait."""
    topics = Topics(plan.prefix)
    topic = topics.enrol(slot, "answer")
    await client.subscribe(topic, qos=1)
    await client.subscribe(topic, qos=1)  # answered: what is retained has come
    if not len(client.messages):
        await client.publish(topics.enrol(slot, "ask"), ask.payload(), qos=1)
    loop = asyncio.get_running_loop()
    pending = False
    try:
        async with asyncio.timeout_at(max(end, loop.time() + ANSWER_SECONDS)) as limit:
            async for message in client.messages:
                answer = _answer(message, ask)
                if answer is None:
                    continue
                if answer.verdict is Verdict.GRANTED:
                    return answer
                if answer.verdict is Verdict.REFUSED:
                    draft.forget_slot()
                    raise EnrolmentRefusedError(f"refused: {answer.reason}")
                pending = True
                draft.remember_slot(slot)
                limit.reschedule(max(end, loop.time()))
    except TimeoutError as error:
        raise _unanswered(plan, draft, pending=pending) from error
    raise AssertionError("messages end with an error")


def _unanswered(plan: EnrolmentOptions, draft: Draft, *, pending: bool) -> Meter61850Error:
    if pending:
        return PendingError(
            f"the request waits: `meter61850 enrol approve {draft.meter_id} --key {draft.key}` there, "
            "then the same command here again, or with --wait"
        )
    return UnavailableError(f"broker {plan.host}:{plan.port}: the registrar does not answer; try again")


def _answer(message: aiomqtt.Message, ask: Ask) -> Answer | None:
    """An answer to us; None for what is none at all. _SlotTakenError when it is another meter's."""
    payload = message.payload if isinstance(message.payload, bytes) else b""
    try:
        answer = Answer.model_validate_json(payload)
    except ValidationError:
        return None
    if answer.meter_id != ask.meter_id:
        raise _SlotTakenError
    if answer.question != ask.question and message.retain:
        if answer.verdict is not Verdict.PENDING:
            raise _SlotTakenError  # decided, with a key that we do not have any more
        raise EnrolmentRefusedError(
            "this meter has asked with another key, which it does not have any more: "
            f"`meter61850 enrol refuse {ask.meter_id}` there, then ask again"
        )
    return answer if answer.question == ask.question else None


def _judge(error: aiomqtt.MqttError, plan: EnrolmentOptions) -> None:
    """ConfigurationError or UnavailableError for what another attempt cannot mend."""
    if doubt := clock_doubt(error):
        raise UnavailableError(f"broker {plan.host}:{plan.port}: {doubt}") from error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise ConfigurationError(
                f"broker {plan.host}:{plan.port} is not the one of --ca {plan.ca}: {cause.verify_message}"
            ) from error
        if isinstance(cause, OSError):
            raise UnavailableError(f"broker {plan.host}:{plan.port}: {reason(cause)}") from error
        cause = cause.__cause__ or cause.__context__


def _client(plan: EnrolmentOptions, slot: str) -> aiomqtt.Client:
    mqtt = MqttSettings(
        host=plan.host,
        port=plan.port,
        ca=plan.ca,
        username=slot,
        password=plan.code.secret,
        prefix=plan.prefix,
        version=5,
        identity=None,
        cert=None,
        key=None,
    )
    return new_client(mqtt, timeout=ANSWER_SECONDS)
