"""The bridge process: MQTT → database → SCL, until SIGTERM or SIGINT.

>>> run(BridgeSettings(database_url="sqlite:///meter61850.sqlite"))  # doctest: +SKIP
"""

from __future__ import annotations

import logging
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from bridge import audit_head, database
from bridge.audit_head import Watch
from bridge.batch import Sorter
from bridge.dead_letters import DeadLetters
from bridge.inbox import Inbox
from bridge.ingest import Ingest
from bridge.leader import Leader
from bridge.ledger import Deadlines, Hearing
from bridge.link import Link
from bridge.observe import Flow, observed
from bridge.presence import Presence
from bridge.publication import Publication
from bridge.repeats import Repeats
from bridge.session import Options
from bridge.settings import BridgeSettings
from bridge.upkeep import Policy, kept_up
from bridge.writer import Writer
from broker.errors import reason

log = logging.getLogger(__name__)

_GOODBYE_SECONDS = 1.0
_MAX_BACKOFF = 5.0


def run(settings: BridgeSettings) -> None:
    """Run the bridge until SIGTERM or SIGINT; raises what made it impossible to go on."""
    stop = threading.Event()
    with _signals(stop):
        engine = database.connect(settings.database_url)
        writing = database.connect(settings.database_url, cache=database.WRITER_CACHE)
        try:
            if _migrated(engine, stop):
                _serve(settings, engine, writing, stop)
        finally:
            writing.dispose()
            engine.dispose()


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
            if stop.wait(random.uniform(0.1, min(_MAX_BACKOFF, 0.2 * 2 ** min(attempt, 10)))):
                return False
        else:
            return True
    raise AssertionError


def _serve(settings: BridgeSettings, engine: Engine, writing: Engine, stop: threading.Event) -> None:
    """Wire the parts, run them until ``stop``, and end them: source first, broker last.

    ``writing`` is the engine of the thread that stores readings alone: its large cache is there once.
    """
    link = Link(_options(settings), _inbox(settings))
    publication = Publication(engine, settings, publish=link.publish, leads=lambda: leader.leads)
    deadlines = Deadlines(engine, grace=settings.command_grace)
    watch = Watch(engine, settings.audit_head_file or audit_head.beside(settings.database_url))
    repeats = Repeats(
        engine,
        settings.mqtt,
        after=settings.repeat_after,
        leads=lambda: leader.leads,
        idle=lambda: not link.inbox.messages,
    )

    def gained() -> None:
        publication.take_over()
        repeats.again()

    leader = Leader(
        engine,
        gained=gained,
        lost=lambda: link.out.forget(settings.mqtt.topics.scl.encode()),
        chores=[deadlines.enforce, watch.look],
    )
    flow = Flow()
    writer = Writer(
        writing,
        max_meters_per_ied=settings.max_meters_per_ied,
        fill_by_address_code=settings.fill_by_address_code,
        dead_letters=DeadLetters(
            per_cause=settings.dead_letters_per_cause,
            per_meter=settings.dead_letters_per_meter,
            max_bytes=settings.dead_letter_bytes,
        ),
        new_meters=settings.limits.new_meters,
        hearing=Hearing(lambda: leader.leads) if settings.group is not None else None,
    )
    ingest = Ingest(
        link,
        Sorter(
            settings.mqtt.topics,
            keys=writer.keys,
            limits=settings.limits,
            clock_kept=settings.clock_kept,
            doubled=bool(settings.identified),
        ),
        writer,
        scl_changed=lambda: publication.changed() if leader.leads else None,
        committed=flow.committed,
        ended=stop.set,
        shared=settings.group is not None,
    )

    def counters() -> dict[str, int]:
        return _counters(link, ingest, publication, leader) | watch.counters()

    presence = Presence(
        settings.mqtt.topics,
        settings.service,
        publish=link.publish,
        counters=counters,
        audit_head=lambda: watch.told,
    )

    def ready() -> None:  # the broker may have lost all that it retained
        presence.tell(online=True)
        if leader.leads:
            publication.again()
            repeats.again()

    policy = Policy(settings.keep, settings.pack_after, settings.clock_kept)
    upkeep = kept_up(engine, policy, seconds=settings.upkeep_seconds)
    with observed(settings, engine, flow=flow, counters=counters), upkeep:
        ingest.start()
        publication.start()
        repeats.start()
        leader.start()
        link.start(will=presence.will, ready=ready)
        while not stop.wait(settings.status_seconds):
            presence.tell(online=True)
        link.inbox.close()
        ingest.stop(seconds=settings.drain_seconds)
        publication.stop()
        repeats.stop()
        leader.stop()
        presence.tell(online=False)
        link.stop(seconds=_GOODBYE_SECONDS)
    if ingest.error is not None:
        raise ingest.error


def _options(settings: BridgeSettings) -> Options:
    mqtt = settings.mqtt
    return Options(
        host=mqtt.host,
        port=mqtt.port,
        client_id=settings.mqtt_client_id,
        subscriptions=settings.subscriptions,
        identified=settings.identified,
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
    return asdict(ingest.counters) | {
        "waiting": link.inbox.messages,
        "connections": link.out.connection,
        "connected": int(link.out.is_open),
        "revision": publication.revision,
        "scl_errors": publication.errors,
        "leads": int(leader.leads),
    }
