"""Handler of requests: checks each message, decides or stores it, and answers; no MQTT here.

>>> handler.hear("sm/v1/enrol/K7QM-3/ask", payload)  # doctest: +SKIP
('sm/v1/enrol/K7QM-3/answer', b'{"verdict":"refused",…}')
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import Counter as Counts
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from bridge.store.audit import Kind
from broker.contract.birth import Birth
from broker.contract.enrolment import MAX_PEM, Answer, Ask, Renewal, Verdict
from broker.contract.errors import ContractError
from broker.contract.messages import utc_now
from broker.contract.topics import Topic, Topics
from broker.validation import first_complaint
from registrar import finishing, renewal, requests
from registrar.audit_queue import AuditQueue
from registrar.deployment import Deployment
from registrar.enrolment_codes import open_slots, published_slots
from registrar.refusals import RequestRefusedError, Why

log = logging.getLogger(__name__)

MAX_PAYLOAD = 2 * MAX_PEM
Reply = tuple[str, bytes]


class RequestsHandler:
    """Called from one thread at a time; ``busy`` is set when there is an event or a message to deliver."""

    def __init__(self, deployment: Deployment, audit_queue: AuditQueue) -> None:
        self.counters: Counts[str] = Counts()
        self.busy = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._deployment = deployment
        self._topics = Topics(deployment.prefix)
        self._audit_queue = audit_queue
        self._serials: dict[str, str] = {}
        self._born: dict[str, datetime] = {}
        self._told: set[str] = set()
        self._noted: set[tuple[str, str]] = set()

    def hear(self, name: str, payload: bytes) -> Reply | None:
        """Take one message; the reply to one that is refused. Never raises for what is in it."""
        self.counters["received"] += 1
        try:
            topic = self._topics.parse(name)
            if len(payload) > MAX_PAYLOAD:
                raise ContractError(f"is larger than {MAX_PAYLOAD} bytes")
            if topic.kind == "ask":
                return self._ask(topic.name, payload)
            self._from_meter(topic, payload)
        except (ContractError, ValidationError) as error:
            self._reject(name, error)
        return None

    def tidy(self) -> None:
        """Close used and expired slots, and write the broker's files from the identity store."""
        for meter_id in requests.awaited(self._deployment) & self._born.keys():
            requests.collected(self._deployment, meter_id, since=self._born[meter_id])
        self._audit_queue.move()
        slots = {name for name, _ in open_slots(self._deployment.identity_store)}
        published = published_slots(self._deployment.broker)
        if slots != published:
            self._forget_answers(published - slots)
            self._deployment.publish()
        finishing.prepare(self._deployment)

    def _forget_answers(self, closed: set[str]) -> None:
        """Retained messages of slots that are closed for ever."""
        with self._deployment.identity_store.change() as change:
            for slot in sorted(closed):
                change.send(self._topics.enrol(slot, "answer"), b"")

    def _ask(self, slot: str, payload: bytes) -> Reply | None:
        try:
            ask = Ask.model_validate_json(payload)
            answer = requests.take(self._deployment, slot, ask, serials=self._serials)
        except (ContractError, ValidationError) as error:
            self._reject("ask", error)
            return self._refusal(slot, payload, error)
        self.counters["asked"] += 1
        self.counters["granted"] += answer.verdict is Verdict.GRANTED
        self._loop.call_soon_threadsafe(self.busy.set)
        return None

    def _from_meter(self, topic: Topic, payload: bytes) -> None:
        """A birth or a renewal; the broker lets only the meter itself write there."""
        if topic.kind == "birth" and payload:
            birth = Birth.model_validate_json(payload)
            self._serials[topic.name] = birth.hardware.serial
            self._born[topic.name] = birth.ts
        elif topic.kind == "renew":
            told = Renewal.model_validate_json(payload)
            renewal.renew(self._deployment, topic.name, told)
            self.counters["renewed"] += told.csr is not None
            self._loop.call_soon_threadsafe(self.busy.set)

    def _refusal(self, slot: str, payload: bytes, error: Exception) -> Reply | None:
        """The answer to a request that is not stored; None if its sender is unknown."""
        self.counters["refused"] += 1
        told = _lenient(payload)
        reason = _words(error)
        self._note_refusal(slot, str(told.get("meter_id"))[:36], error)
        asked = told.get("csr") or told.get("password") or ""
        try:
            answer = Answer(
                meter_id=told.get("meter_id", ""),
                question=hashlib.sha256(str(asked).encode(errors="replace")).hexdigest(),
                verdict=Verdict.REFUSED,
                reason=reason,
                ts=utc_now(),
            )
        except ValidationError:
            return None
        return self._topics.enrol(slot, "answer"), answer.payload()

    def _note_refusal(self, slot: str, meter_id: str, error: Exception) -> None:
        """Record each reason once for each slot: a person with a code must not fill the database."""
        why = error.why if isinstance(error, RequestRefusedError) else Why.MALFORMED
        if (slot, why) not in self._noted:
            self._noted.add((slot, why))
            self._audit_queue.note(
                Kind.ENROLMENT_REFUSED, who="registrar", meter_id=meter_id, slot=slot, reason=str(why)
            )

    def _reject(self, name: str, error: Exception) -> None:
        """Count a message that is of no use, and log each cause once."""
        self.counters["rejected"] += 1
        cause = _words(error)
        if cause not in self._told and len(self._told) < 1000:
            self._told.add(cause)
            log.warning("refused %s: %s (logged once)", name[:128], cause)


def _words(error: Exception) -> str:
    return (first_complaint(error) if isinstance(error, ValidationError) else str(error))[:255]


def _lenient(payload: bytes) -> dict[str, Any]:
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
