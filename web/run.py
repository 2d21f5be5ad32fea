"""The web service as a process: one event loop for HTTP, MQTT and the clock; the store is read in threads.

``asyncio.run(run(WebSettings()))`` serves until SIGTERM or SIGINT.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from bridge.store.tables import Command
from broker.contract.errors import Meter61850Error, PortTakenError
from broker.descriptors import raise_limit
from broker.mqtt import keypair
from broker.mqtt.receiver import Receiver
from broker.signals import stop_on_signals
from web.app import make_app
from web.archive import Archive
from web.auth.accounts import Accounts
from web.auth.guesses import Guesses
from web.auth.sessions import Limiter, Sessions
from web.commands import Commands
from web.feeders import Feeders
from web.legacy_http.meters import ThesisMeters
from web.live.hub import TICK, Hub
from web.live.state import Live
from web.parts import Parts
from web.recorder import Recorder
from web.sending import Sender
from web.serving.budgets import Budgets
from web.serving.certificate import Certificate
from web.serving.connections import Connections, Listener, room
from web.settings import WebSettings

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
REGISTRY_SECONDS = 30.0
"""The registry is looked at again so often, and when the SCD has changed."""
GRACE_SECONDS = 1
"""That an answer may take at a stop."""
TAKE_SECONDS = 120
"""A client that takes nothing of what it is sent for so long is cut off: it may be gone without a word."""
FEED_KEEPALIVE = 4
"""Seconds; a broker that is silent for 1.5 times this is taken as gone: its values are old."""
THREADS = 40
"""That read the store and check passwords, beside as many of the web's framework."""
LOGIN_ATTEMPTS, LOGIN_SECONDS = 5, 60.0


async def run(settings: WebSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    await serve(settings, stop_on_signals())


def make_parts(settings: WebSettings) -> Parts:
    """The wiring; nothing runs yet. ConfigurationError for accounts that others can read."""
    hub = Hub()
    live = Live(settings.mqtt.topics, hub, stale_intervals=settings.stale_intervals)
    sender = Sender(settings.mqtt, counters=lambda: counters(live, hub))
    archive = Archive(settings.database_url)
    accounts = Accounts(settings.users)
    accounts.all()

    def ledger(command_id: str) -> Command | None:
        return archive.store.command(command_id)

    return Parts(
        settings=settings,
        accounts=accounts,
        sessions=Sessions(seconds=3600 * settings.session_hours),
        budgets=Budgets(streams=settings.stream_clients, streams_per_account=settings.streams_per_account),
        guesses=Guesses(at_once=2, waiting=32, of_network=4),
        limiter=Limiter(attempts=LOGIN_ATTEMPTS, seconds=LOGIN_SECONDS),
        crowd_limiter=Limiter(attempts=4 * LOGIN_ATTEMPTS, seconds=LOGIN_SECONDS),
        order_limiter=Limiter(attempts=settings.commands_per_minute, seconds=60.0),
        hub=hub,
        live=live,
        sender=sender,
        commands=Commands(settings.mqtt.topics, live, sender, hub, ledger=ledger),
        archive=archive,
        feeders=Feeders(live),
    )


def counters(live: Live, hub: Hub) -> dict[str, int]:
    """For our status on the broker."""
    return {
        **live.counters,
        "meters": len(live.fleet.meters),
        "streams": len(hub.listeners),
        "overruns": hub.overruns,
    }


async def serve(settings: WebSettings, stop: asyncio.Event) -> None:
    """Serve until ``stop``; what ends by itself before is raised."""
    raise_limit()  # of file descriptors: each connection takes one
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "work"))
    gc.set_threshold(50_000, 50, 50)  # a town's state lives long: not to be looked through so often
    parts = make_parts(settings)
    changed = asyncio.Event()
    parts.live.on_revision = changed.set
    live = parts.live
    topics = live.filters(stored=settings.thesis)
    mqtt = settings.mqtt.model_copy(update={"keepalive": min(FEED_KEEPALIVE, settings.mqtt.keepalive)})
    feed = Receiver(mqtt, live.take, topics=topics, connected=live.connected, name="web")
    thesis = thesis_meters(parts)
    config = _config(parts, thesis)
    config.load()
    server = Server(config)
    connections = Connections(
        most=room(), per_network=settings.connections_per_address, exempt=settings.believed
    )
    with listening(settings) as sock, Recorder(settings.database_url, spool=settings.spool_file):
        jobs: dict[str, Callable[[], Awaitable[None]]] = {
            "feed": feed.run,
            "sender": parts.sender.run,
            "events": lambda: _every(TICK, parts.hub.flush),
            "sweep": lambda: _every(SWEEP_SECONDS, lambda: sweep(parts)),
            "registry": lambda: keep_registry(parts, changed),
            "connections": Listener(sock, config, server.server_state, connections).run,
            "http": lambda: server.serve(sockets=[]),
        }
        if thesis is not None:
            jobs["thesis"] = thesis.keep_watch
        if config.ssl is not None and settings.certificate and settings.key:
            follow = Certificate(config.ssl, settings.certificate, settings.key)
            jobs["certificate"] = lambda: _every(SWEEP_SECONDS, follow.look)
        try:
            await _until(stop, jobs, before=lambda: _end(server, parts))
        finally:
            parts.archive.close()


def thesis_meters(parts: Parts) -> ThesisMeters | None:
    """The meters that speak HTTP, if they are to be taken."""
    settings = parts.settings
    if not settings.thesis:
        return None
    return ThesisMeters(
        settings.mqtt.topics,
        parts.live,
        parts.sender,
        most=settings.thesis_meters,
        interval=settings.thesis_interval,
    )


def _config(parts: Parts, thesis: ThesisMeters | None) -> uvicorn.Config:
    settings = parts.settings
    return uvicorn.Config(
        make_app(parts, thesis),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        proxy_headers=False,  # web.serving.proxy has its own, which believes configured proxies alone
        ssl_certfile=settings.certificate,
        ssl_keyfile=_usable_key(settings),
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=30,
    )


def _usable_key(settings: WebSettings) -> Path | None:
    if settings.key is None or settings.certificate is None:
        return None
    return keypair.usable(settings.key, settings.certificate)


class Server(uvicorn.Server):
    """Uvicorn without signal handlers of its own: a process has one place for them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None."""
        yield


@contextlib.contextmanager
def listening(settings: WebSettings) -> Iterator[socket.socket]:
    """The socket; PortTakenError when the port is in use."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * TAKE_SECONDS)  # connections, too
        try:
            sock.bind((settings.host, settings.port))
        except OSError as error:
            raise PortTakenError(settings.port, "--port") from error
        log.info("%s", settings.url)
        yield sock


def sweep(parts: Parts) -> None:
    """What changes by time alone."""
    parts.live.sweep()
    parts.commands.sweep()
    if parts.hub.listeners and (told := parts.live.new_summary()):
        parts.hub.tell("summary", orjson.dumps(told))


async def keep_registry(parts: Parts, changed: asyncio.Event) -> None:
    """Know which IED a meter belongs to; the store may come later, and go."""
    while True:
        changed.clear()
        try:
            rows = await asyncio.to_thread(lambda: parts.archive.store.registry(retired=False))
            parts.live.assign({row.meter_id: row.ied for row in rows if row.ied})
            parts.live.devices = {f"{row.ied}M{row.number}": row.meter_id for row in rows if row.ied}
            pause = REGISTRY_SECONDS
        except (Meter61850Error, OSError, SQLAlchemyError) as error:
            log.debug("registry: %s", error)
            pause = 1.0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await changed.wait()


async def _every(seconds: float, work: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            work()
        except OSError as error:  # no free file descriptor: the next time there may be one
            log.warning("%s", error)


async def _end(server: Server, parts: Parts) -> None:
    """Streams first, then the answers that are under way."""
    parts.hub.close()
    server.should_exit = True
    await asyncio.sleep(0)


async def _until(
    stop: asyncio.Event,
    jobs: dict[str, Callable[[], Awaitable[None]]],
    *,
    before: Callable[[], Awaitable[None]],
) -> None:
    """Run ``jobs`` until ``stop``, or until one ends, which raises; ``before`` the others are cancelled."""
    tasks = {name: asyncio.ensure_future(job()) for name, job in jobs.items()}
    stopped = asyncio.create_task(stop.wait(), name="stop")
    try:
        done, _ = await asyncio.wait([stopped, *tasks.values()], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # a job that ends unexpectedly has failed: raise its error
        await before()
        await asyncio.wait([tasks.pop("http")], timeout=2 * GRACE_SECONDS)
    finally:
        left = [stopped, *tasks.values()]
        while pending := [task for task in left if not task.done()]:
            for task in pending:  # more than once: wait_for of Python 3.11 may swallow a cancellation
                task.cancel()
            await asyncio.wait(pending, timeout=0.6)
