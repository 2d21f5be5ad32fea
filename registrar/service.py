"""The registrar as a process: answers enrolment requests and renewals, and writes the broker's files.

Its whole state is in the identity store, which the administrator's commands change too; each of them also
delivers waiting messages (`registrar.retained_outbox`). Enrolled meters do not need the registrar, nor does
blocking a meter.

>>> asyncio.run(run(Deployment.open(Path("deployment"))))  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import sqlite3
from collections.abc import Mapping

import aiomqtt

from broker.contract.errors import ConfigurationError, Meter61850Error, UnavailableError, reason
from broker.contract.messages import utc_now
from broker.contract.roles import Role
from broker.contract.specs import heard_by
from broker.contract.status import ServiceStatus
from broker.mqtt.backoff import Backoff, heed_cancellation
from broker.mqtt.jobs import end, together
from broker.mqtt.settings import MqttSettings
from broker.signals import stop_on_signals
from broker.version import VERSION
from registrar import finishing
from registrar.audit_queue import AuditQueue
from registrar.deployment import Deployment
from registrar.expiry import LOOK_SECONDS, CertificateWatch
from registrar.observe import observed
from registrar.requests_handler import Reply, RequestsHandler
from registrar.retained_outbox import connected, deliver, deliver_again, settings

log = logging.getLogger(__name__)

NAME = "registrar"
STATUS_SECONDS = 10.0
ROUND_SECONDS = 1.0
GOOD_CONNECTION = 30.0
GOODBYE_SECONDS = 1.0


async def run(
    deployment: Deployment,
    *,
    stop: asyncio.Event | None = None,
    metrics_port: int | None = None,
    metrics_address: str = "127.0.0.1",
) -> None:
    """Serve until SIGTERM or SIGINT (or ``stop``, if given)."""
    stop = stop or stop_on_signals()
    audit_queue = AuditQueue(deployment)
    watch = CertificateWatch(deployment, audit_queue)
    service = Service(deployment, RequestsHandler(deployment, audit_queue), watch)
    await asyncio.to_thread(watch.try_look, utc_now())
    keeping = asyncio.create_task(_keep_certificates(watch), name="certificates")
    with observed(
        watch,
        counters=lambda: dict(service.counters),
        connected=lambda: service.connected,
        port=metrics_port,
        address=metrics_address,
    ):
        try:
            await _serve(service, stop)
        finally:
            keeping.cancel()


async def _keep_certificates(watch: CertificateWatch) -> None:
    """For ever, connected or not: without a good certificate no client could connect."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        await asyncio.to_thread(watch.try_look, utc_now())


async def _serve(service: Service, stop: asyncio.Event) -> None:
    serving = asyncio.create_task(service.keep_connected(), name="registrar")
    stopped = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    early = serving.done()
    await end((serving, stopped))
    if not serving.cancelled() and (error := serving.exception()):
        raise error
    if early:  # never with exit code 0: systemd would leave us dead
        raise UnavailableError("the registrar ended unexpectedly: start it again")


class Service:
    """One connection after the other; at the counter sits who decides."""

    def __init__(self, deployment: Deployment, counter: RequestsHandler, watch: CertificateWatch) -> None:
        self._deployment = deployment
        self._counter = counter
        self._watch = watch
        self.connected = False
        self.counters: Mapping[str, int] = counter.counters
        self._mqtt: MqttSettings = settings(deployment)
        self._session = ""
        self._turn = asyncio.Lock()
        self._told = ""

    async def keep_connected(self) -> None:
        """For ever, with exponential backoff between the connections."""
        loop, backoff = asyncio.get_running_loop(), Backoff()
        while True:
            began = loop.time()
            try:
                await self._connection()
            except (aiomqtt.MqttError, OSError, sqlite3.OperationalError) as error:  # CredentialError too
                log.warning("broker %s:%d: %s", self._mqtt.host, self._mqtt.port, reason(error))
            heed_cancellation()
            if loop.time() - began > GOOD_CONNECTION:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def _connection(self) -> None:
        self._session = secrets.token_hex(8)
        topics = self._mqtt.topics
        topic = topics.service_status(NAME)
        will = aiomqtt.Will(topic, self._status(online=False), qos=1, retain=True)
        async with connected(self._mqtt, will=will) as client:
            for kind in heard_by(Role.REGISTRAR):
                await client.subscribe(topics.filter(kind), qos=1)
            await self._deliver_again()
            log.info("connected to %s:%d", self._mqtt.host, self._mqtt.port)
            self.connected = True
            try:
                await together(
                    {
                        "hear": self._hear(client),
                        "rounds": self._go_round(client),
                        "finishing": self._finish(),
                        "status": self._tell_status(client),
                    }
                )
            except asyncio.CancelledError:
                with contextlib.suppress(aiomqtt.MqttError):
                    client.timeout = GOODBYE_SECONDS
                    await client.publish(topic, self._status(online=False), qos=1, retain=True)
                raise
            finally:
                self.connected = False

    async def _deliver_again(self) -> None:
        """The broker may have lost what is retained; at the next connection if the identity store is held."""
        try:
            await asyncio.to_thread(deliver_again, self._deployment)
        except (sqlite3.OperationalError, OSError) as error:
            self._counter.counters["failed"] += 1
            log.error("the kept messages are not delivered again: %s", error)

    async def _hear(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            async with self._turn:
                reply = await asyncio.to_thread(self._heard, message.topic.value, payload)
            if reply is not None:
                await client.publish(*reply, qos=1)

    def _heard(self, topic: str, payload: bytes) -> Reply | None:
        """The handler's answer; none while store or folder are locked: then the meter repeats its request."""
        try:
            return self._counter.hear(topic, payload)
        except (sqlite3.OperationalError, OSError, ConfigurationError) as error:
            self._counter.counters["failed"] += 1
            log.error("%s is not answered: %s", topic, reason(error))
            return None

    async def _go_round(self, client: aiomqtt.Client) -> None:
        """Tell what was decided, here or by a command; what is over is closed."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + ROUND_SECONDS
            try:
                async with self._turn:
                    await asyncio.to_thread(self._counter.tidy)
                await deliver(self._deployment.identity_store, client)
            except (sqlite3.OperationalError, OSError, ConfigurationError) as error:
                self._failed("what is over is not closed", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._counter.busy.wait()
            self._counter.busy.clear()

    async def _finish(self) -> None:
        """What a command has begun and did not live to finish (`registrar.finishing`)."""
        while True:
            try:
                if await asyncio.to_thread(self._deployment.identity_store.unfinished):
                    await finishing.finish(self._deployment)
            except (Meter61850Error, sqlite3.OperationalError, OSError) as error:
                self._failed("a change is pending", error)
            await asyncio.sleep(ROUND_SECONDS)

    def _failed(self, what: str, error: Exception) -> None:
        """Count it, and log each cause once until another comes."""
        self._counter.counters["failed"] += 1
        told = f"{what}: {error}"
        if told != self._told:
            self._told = told
            log.error("%s (logged once)", told)

    async def _tell_status(self, client: aiomqtt.Client) -> None:
        while True:
            topic = self._mqtt.topics.service_status(NAME)
            await client.publish(topic, self._status(online=True), qos=1, retain=True)
            await asyncio.sleep(STATUS_SECONDS)

    def _status(self, *, online: bool) -> bytes:
        return ServiceStatus(
            online=online,
            version=VERSION,
            session=self._session,
            ts=utc_now(),
            counters=dict(self._counter.counters),
            warnings=tuple(self._watch.warnings),
        ).payload()
