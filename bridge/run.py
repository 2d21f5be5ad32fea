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

from bridge import database
from bridge.batch import Sorter
from bridge.inbox import Inbox
from bridge.ingest import Ingest
from bridge.link import Link
from bridge.presence import Presence
from bridge.publication import Publication
from bridge.session import Options
from bridge.settings import BridgeSettings
from bridge.writer import Writer

log = logging.getLogger(__name__)

_GOODBYE_SECONDS = 1.0
_MAX_BACKOFF = 5.0


def run(settings: BridgeSettings) -> None:
    """Run the bridge until SIGTERM or SIGINT; raises what made it impossible to go on."""
    stop = threading.Event()
    with _signals(stop):
        engine = database.connect(settings.database_url)
        try:
            if _migrated(engine, stop):
                _serve(settings, engine, stop)
        finally:
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
        except DBAPIError as error:
            log.warning("waiting for the database: %s", str(error.orig).strip())
            if stop.wait(random.uniform(0.1, min(_MAX_BACKOFF, 0.2 * 2 ** min(attempt, 10)))):
                return False
        else:
            return True
    raise AssertionError


def _serve(settings: BridgeSettings, engine: Engine, stop: threading.Event) -> None:
    """Wire the parts, run them until ``stop``, and end them: source first, broker last."""
    link = Link(_options(settings), _inbox(settings))
    writer = Writer(engine, max_meters_per_ied=settings.max_meters_per_ied)
    sorter = Sorter(settings.mqtt.topics, keys=writer.keys)
    publication = Publication(engine, settings, publish=link.publish)
    ingest = Ingest(link, sorter, writer, scl_changed=publication.changed, ended=stop.set)
    presence = Presence(
        settings.mqtt.topics, publish=link.publish, counters=lambda: _counters(link, ingest, publication)
    )

    def ready() -> None:  # the broker may have lost all that it retained
        presence.tell(online=True)
        publication.again()

    ingest.start()
    publication.start()
    link.start(will=presence.will, ready=ready)
    while not stop.wait(settings.status_seconds):
        presence.tell(online=True)
    link.inbox.close()
    ingest.stop(seconds=settings.drain_seconds)
    publication.stop()
    presence.tell(online=False)
    link.stop(seconds=_GOODBYE_SECONDS)
    if ingest.error is not None:
        raise ingest.error


def _options(settings: BridgeSettings) -> Options:
    mqtt = settings.mqtt
    return Options(
        host=mqtt.host,
        port=mqtt.port,
        client_id=settings.client_id,
        subscriptions=(mqtt.topics.everything,),
        version=mqtt.version,
        username=mqtt.username,
        password=mqtt.password.get_secret_value() if mqtt.password else None,
        keepalive=mqtt.keepalive,
        session_expiry=settings.session_expiry,
        receive_maximum=settings.receive_maximum,
    )


def _inbox(settings: BridgeSettings) -> Inbox:
    return Inbox(
        batch_messages=settings.batch_messages,
        batch_seconds=settings.batch_seconds,
        max_bytes=settings.queue_bytes,
    )


def _counters(link: Link, ingest: Ingest, publication: Publication) -> dict[str, int]:
    return asdict(ingest.counters) | {
        "waiting": link.inbox.messages,
        "connections": link.out.connection,
        "revision": publication.revision,
        "scl_errors": publication.errors,
    }
