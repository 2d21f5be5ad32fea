"""The bridge process: MQTT → database → SCL, until SIGTERM or SIGINT.

>>> run(BridgeSettings(database_url="sqlite:///meter61850.sqlite"))  # doctest: +SKIP
"""

from __future__ import annotations

import logging
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from bridge.alarms.part import AlarmPart
from bridge.billing import BillingPart
from bridge.credit.rounds import rounds
from bridge.ingest.classify import Sorter
from bridge.ingest.dead_letters import DeadLetters
from bridge.ingest.ingest import Ingest
from bridge.ingest.ledger import Deadlines, Hearing
from bridge.ingest.repeats import Repeats
from bridge.ingest.writer import Writer
from bridge.leader import Leader
from bridge.meters.blocks import Blocks
from bridge.metrics import Flow, observed
from bridge.mqtt.connection import Link
from bridge.mqtt.inbox import Inbox
from bridge.mqtt.presence import Presence
from bridge.scl.publication import Publication
from bridge.settings import BridgeSettings
from bridge.store import audit_head, database
from bridge.store.audit_head import Watch
from bridge.store.clock import Clock
from bridge.store.upkeep import Policy
from broker.contract.errors import reason
from broker.contract.specs import SPECS
from broker.mqtt.packets import Will
from broker.mqtt.session import Options

log = logging.getLogger(__name__)

_GOODBYE_SECONDS = 1.0
_MAX_BACKOFF = 5.0


def run(settings: BridgeSettings) -> None:
    """Run the bridge until SIGTERM or SIGINT; raises what made it impossible to go on."""
    stop = threading.Event()
    with _signals(stop):
        engine = database.connect(settings.database_url)
        writing = database.connect(settings.database_url, cache=database.WRITER_CACHE)
        reader = database.connect(settings.database_url, reader=True)
        try:
            if _migrated(engine, stop):
                _Bridge(settings, engine, writing, reader, stop).serve()
        finally:
            for one in (reader, writing, engine):
                one.dispose()


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set ``stop``."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _migrated(engine: Engine, stop: threading.Event) -> bool:
    """Bring the schema up to date, waiting for a database that is not there yet; False when we stop."""
    for attempt in count():
        try:
            database.migrate(engine)
        except (DBAPIError, OSError) as error:
            log.warning("waiting for the database: %s", reason(error))
        else:
            return True
        if stop.wait(random.uniform(0.1, min(_MAX_BACKOFF, 0.2 * 2 ** min(attempt, 10)))):
            return False
    raise AssertionError


class _Bridge:
    """The parts, wired; ``writing`` is the engine of the thread that stores, which has a large cache, and
    ``reader`` takes no lock."""

    def __init__(
        self,
        settings: BridgeSettings,
        engine: Engine,
        writing: Engine,
        reader: Engine,
        stop: threading.Event,
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._engine = engine
        self._flow = Flow()
        self._clock = Clock()
        self._watch = Watch(engine, settings.audit_head_file or audit_head.beside(settings.database_url))
        self._link = link = Link(_options(settings), _inbox(settings))
        deadlines = Deadlines(engine, grace=settings.command_grace, clock=self._clock)
        publish, topics = link.publish, settings.mqtt.topics
        self._publication = Publication(engine, settings, publish=publish, leads=self._leads)
        self._blocks = Blocks(
            engine,
            topics,
            publish=publish,
            confirmed=lambda: not link.out.awaits(*self._block_topics),
            leads=self._leads,
            taken=lambda: link.inbox.taken_in,
        )
        self._repeats = Repeats(
            engine,
            settings.mqtt,
            after=settings.repeat_after,
            leads=self._leads,
            taken=lambda: link.inbox.taken_in,
            through=lambda: self._blocks.through,
        )
        self._alarms = self._made_alarms(reader)
        self._billing = BillingPart(engine, settings, link, leads=self._leads)
        self._leader = self._made_leader(deadlines)
        self._ingest = self._made_ingest(_writer(settings, writing, leads=self._leads))
        self._ingest.on_alarms = self._alarms.take
        self._presence = Presence(
            topics,
            settings.service,
            publish=publish,
            counters=self._counters,
            warnings=self._publication.warnings,
            audit_head=lambda: self._watch.told,
        )

    def _made_leader(self, deadlines: Deadlines) -> Leader:
        looks = (self._blocks.look, deadlines.enforce, self._watch.look, self._publication.look)
        return Leader(
            self._engine,
            gained=self._gained,
            lost=lambda: self._link.out.forget(self._settings.mqtt.topics.scl.encode()),
            chores=[*looks, self._alarms.look, self._billing.tell_tariff],
        )

    def _made_alarms(self, reader: Engine) -> AlarmPart:
        return AlarmPart(
            *(self._settings, self._engine, reader, self._link),
            through=lambda: self._blocks.through,
            leads=self._leads,
            clock=self._clock,
        )

    def _made_ingest(self, writer: Writer) -> Ingest:
        settings = self._settings
        sorter = Sorter(
            settings.mqtt.topics,
            keys=writer.keys,
            limits=settings.limits,
            clock_kept=settings.clock_kept,
            doubled=bool(settings.identified),
        )
        return Ingest(
            self._link,
            sorter,
            writer,
            scl_changed=lambda: self._publication.changed() if self._leads() else None,
            committed=self._flow.committed,
            ended=self._stop.set,
            shared=settings.group is not None,
            blocks=self._blocks,
        )

    @property
    def _block_topics(self) -> tuple[bytes, bytes]:
        """What they begin and end with."""
        return f"{self._settings.mqtt.prefix}/".encode(), b"/block"

    def _leads(self) -> bool:
        return self._leader.leads

    def _gained(self) -> None:
        """This bridge leads from now on."""
        self._publication.take_over()
        self._blocks.take_over()
        self._repeats.again()

    def _will(self) -> Will:
        """The last will of a new connection; asked for before each."""
        self._link.out.forget(*self._block_topics)  # it may have newer ones
        self._blocks.begin()
        self._alarms.begin()
        return self._presence.will()

    def _ready(self) -> None:
        """The subscriptions stand; the broker may have lost all that it retained."""
        self._blocks.ready()
        self._alarms.ready()
        self._presence.tell(online=True)
        if self._leads():
            self._publication.again()
            self._repeats.again()

    def _clock_kept(self) -> bool:
        """A clock that was set since we run is believed when readings prove it."""
        return self._settings.clock_kept() and not self._clock.leaps

    def _counters(self) -> dict[str, int]:
        own = _counters(self._link, self._ingest, self._publication, self._leader)
        return own | self._watch.counters() | self._alarms.counters()

    def serve(self) -> None:
        """Run the parts until ``stop``, and end them: source first, broker last."""
        settings = self._settings
        kept, minutes = (settings.keep, settings.pack_after, self._clock_kept), settings.interval_minutes
        policy = Policy(*kept, minutes, settings.bands, rounds())
        upkeep = self._billing.kept_up(policy, seconds=settings.upkeep_seconds, clock=self._clock)
        with observed(settings, self._engine, flow=self._flow, counters=self._counters), upkeep:
            self._ingest.start()
            self._publication.start()
            self._repeats.start()
            self._leader.start()
            self._alarms.start()
            self._link.start(will=self._will, ready=self._ready)
            while not self._stop.wait(settings.status_seconds):
                self._presence.tell(online=True)
            self._link.inbox.close()
            self._ingest.stop(seconds=settings.drain_seconds)
            self._publication.stop()
            self._repeats.stop()
            self._alarms.stop()
            self._leader.stop()
            self._presence.tell(online=False)
            self._link.stop(seconds=_GOODBYE_SECONDS)
        if self._ingest.error is not None:
            raise self._ingest.error


def _writer(settings: BridgeSettings, engine: Engine, *, leads: Callable[[], bool]) -> Writer:
    return Writer(
        engine,
        max_meters_per_ied=settings.max_meters_per_ied,
        fill_by_address_code=settings.fill_by_address_code,
        spare=settings.spare,
        dead_letters=DeadLetters(
            per_cause=settings.dead_letters_per_cause,
            per_meter=settings.dead_letters_per_meter,
            max_bytes=settings.dead_letter_bytes,
        ),
        new_meters=settings.limits.new_meters,
        hearing=Hearing(leads) if settings.group is not None else None,
    )


def _options(settings: BridgeSettings) -> Options:
    mqtt = settings.mqtt
    return Options(
        host=mqtt.host,
        port=mqtt.port,
        client_id=settings.mqtt_client_id,
        subscriptions=settings.subscriptions,
        retained_first=(mqtt.topics.filter("block"),),
        identified=settings.identified,
        as_published=frozenset(mqtt.topics.filter(kind) for kind, spec in SPECS.items() if spec.live_only),
        version=mqtt.version,
        username=mqtt.username,
        password=mqtt.password.get_secret_value() if mqtt.password else None,
        tls=mqtt.tls,
        keepalive=mqtt.keepalive,
        session_expiry=0 if settings.group else settings.session_expiry,
        clean=settings.group is not None,  # a dead bridge must not hold its share of the messages
        receive_maximum=settings.receive_maximum,
    )


def _inbox(settings: BridgeSettings) -> Inbox:
    return Inbox(
        batch_messages=settings.batch_messages,
        batch_seconds=settings.batch_seconds,
        max_bytes=settings.queue_bytes,
    )


def _counters(link: Link, ingest: Ingest, publication: Publication, leader: Leader) -> dict[str, int]:
    own = {"waiting": link.inbox.messages, "connections": link.out.connection}
    own |= {"connected": int(link.out.is_open), "leads": int(leader.leads)}
    return asdict(ingest.counters) | own | publication.counters()
