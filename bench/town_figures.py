"""What `bench.town` measures at the MMS side, with open61850 as the independent client."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime

import paho.mqtt.client as paho
import psutil
from open61850.data import BitStringData
from open61850.mms import MmsClient, ObjectName, decode_report, is_report, rcb
from open61850.mms.association import association_request
from open61850.mms.report import bits_of
from open61850.mms.transport import IsoConnection
from paho.mqtt.enums import CallbackAPIVersion

from bench.ingest_load import PREFIX, Connection, connect, meter_id
from broker.contract.messages import format_ts
from broker.contract.topics import Topics
from tests.support.brokers import free_port

TOPICS = Topics(PREFIX)
PER_IED = 50
DEADLINE = 120.0
DOMAINS = 9  # object class of GetNameList
WATCHED = 10
"""IEDs whose reports are taken: a client in Python takes no more than some hundred reports a second."""
SLICE = 0.005
"""Seconds; so often the readings that are due go out."""

BARE = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[2])})
from scl_builder.read.cid import read_cid
from mms_bridge.libiec61850.ied_model import build
from mms_bridge.libiec61850.bindings import SIGNATURES, lib
lib.IedServer_start.argtypes = SIGNATURES["IedServer_startThreadless"][1:]
model = build(read_cid(sys.stdin.buffer.read()))
config = lib.IedServerConfig_create()
server = lib.IedServer_createWithConfig(model.handle, None, config)
lib.IedServer_setLocalIpAddress(server, b"127.0.0.1")
lib.IedServer_start(server, int(sys.argv[1]))
print("ready", flush=True)
time.sleep(600)
"""


def gateway_domain(ied: int) -> str:
    """MMS domain of the own logical device of IED ``ied``, counted from 0."""
    return f"SMGW{ied + 1:03d}GW"


def associate(port: int, take: Callable[[object], None] | None = None) -> MmsClient:
    """An association as soon as the port listens; AssertionError after the deadline."""
    end = time.monotonic() + DEADLINE
    while True:
        with suppress(OSError):
            return MmsClient.connect("127.0.0.1", port, timeout=10.0, on_information_report=take)
        assert time.monotonic() < end, f"nothing serves on port {port}"
        time.sleep(0.02)


def wait_readable(first_port: int, ieds: int) -> None:
    """Return when every meter's Vol is good; two associations at a time, as a SCADA makes more than one."""
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(_wait_readable, range(first_port, first_port + ieds)))


def meters_at(client: MmsClient) -> list[str]:
    """MMS domains of the meters behind a server."""
    return [name for name in client.get_name_list(DOMAINS) if not name.endswith("GW")]


def _wait_readable(port: int) -> None:
    with associate(port) as client:
        domains = meters_at(client)
        names = [ObjectName("MMXN1$MX$Vol$q", domain) for domain in domains]
        end = time.monotonic() + DEADLINE
        while not all(_good(q) for q in client.read_many(names)):
            assert time.monotonic() < end, f"not all is good on port {port}"
            time.sleep(0.02)


def _good(quality: object) -> bool:
    return isinstance(quality, BitStringData) and not any(bits_of(quality))


@contextmanager
def updates(port: int, meters: int, rate: int) -> Iterator[dict[int, float]]:
    """Readings at ``rate`` over all meters until the block ends; number in the Watt value -> time sent."""
    sent: dict[int, float] = {}
    stop = threading.Event()

    def run() -> None:
        clients = [Connection(connect(port, 200 + number), 10_000) for number in range(4)]
        number, begin = 0, time.time()
        while not stop.is_set():
            now = time.time()
            ts = format_ts(datetime.fromtimestamp(now, UTC))
            due = int((now - begin) * rate)
            for number in range(number, due):  # noqa: B020 - goes on where it was
                _add(clients[number % 4], number, meters, ts)
                sent[number] = now
            number = due
            for client in clients:
                client.fill()
                client.sock.setblocking(False)
                with suppress(BlockingIOError):
                    client.receive()
                client.sock.setblocking(True)
            time.sleep(SLICE)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


def _add(client: Connection, number: int, meters: int, ts: str) -> None:
    topic = TOPICS.meter(meter_id(number % meters), "reading").encode()
    client.add(
        topic,
        b'{"epoch":2,"seq":%d,"ts":"%s","voltage":230.0,"current":0.191,"power":%d.0,"power_factor":0.48,'
        b'"frequency":50.0,"energy":1000.0}' % (number // meters + 1, ts.encode(), number),
    )


def report_lags(broker: int, first_port: int, meters: int, *, rate: int, seconds: float) -> dict[str, float]:
    """ms from the publish of a reading to its report at the client, and to an MQTT subscriber beside it."""
    arrived: list[tuple[float, int]] = []
    delivered: list[tuple[float, int]] = []

    def take(message: object) -> None:
        if is_report(message):  # type: ignore[arg-type]
            now = time.time()
            report = decode_report(message)  # type: ignore[arg-type]
            arrived.extend((now, int(e.value.members[0].members[0].value)) for e in report.entries)  # type: ignore[union-attr,arg-type]

    watched = range(0, -(-meters // PER_IED), max(1, meters // PER_IED // WATCHED))
    with ExitStack() as stack:
        for ied in watched:
            client = stack.enter_context(associate(first_port + ied, take))
            block = ObjectName("LLN0$RP$urcbWatt01", gateway_domain(ied))
            rcb.enable(client, block, rcb.RcbSettings(trg_ops=None, opt_flds=None, intg_pd_ms=None))
            stack.callback(rcb.disable, client, block)
        ours = {meter_id(ied * PER_IED + index) for ied in watched for index in range(PER_IED)}
        listener = _listen(broker, ours, delivered)
        with updates(broker, meters, rate) as sent:
            time.sleep(seconds)
            events = dict(sent)
        time.sleep(1.0)
        listener.disconnect()
        listener.loop_stop()
    return {**_lags("report", arrived, events), **_lags("mqtt", delivered, events)}


def _listen(port: int, meters: set[str], delivered: list[tuple[float, int]]) -> paho.Client:
    """An MQTT subscriber to the readings of ``meters``."""

    def take(_client: object, _user: object, message: paho.MQTTMessage) -> None:
        power = message.payload.partition(b'"power":')[2].partition(b".")[0]
        delivered.append((time.time(), int(power)))

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = take
    client.connect("127.0.0.1", port)
    for name in meters:
        client.subscribe(TOPICS.meter(name, "reading"), qos=1)
    client.loop_start()
    time.sleep(0.5)
    return client


def _lags(name: str, arrived: list[tuple[float, int]], sent: dict[int, float]) -> dict[str, float]:
    lags = sorted(
        1000 * (when - sent[number]) for when, number in arrived if number in sent and number > 1000
    )
    return {
        f"{name}_events": len(lags),
        f"{name}_p50_ms": lags[len(lags) // 2],
        f"{name}_p99_ms": lags[len(lags) * 99 // 100],
    }


def read_rates(
    broker: int, first_port: int, meters: int, *, seconds: float, server: psutil.Process
) -> dict[str, float]:
    """Reads per second of one value over one association while updates run; ours, and the bare library.

    Client and server share one core, for both: else the figure is that of waking another core up, which
    differs by a factor of four from run to run.
    """
    with associate(first_port) as client:
        domain, core = meters_at(client)[0], max(os.sched_getaffinity(0))
    with updates(broker, meters, 1000), _pinned(0, core):
        with _pinned(server.pid, core):
            ours = _reads(first_port, domain, seconds)
        with _bare(broker, core) as port:
            bare = _reads(port, domain, seconds)
    return {
        "reads_per_s": ours[0],
        "read_p50_us": ours[1],
        "read_p99_us": ours[2],
        "bare_reads_per_s": bare[0],
        "bare_read_p50_us": bare[1],
        "bare_read_p99_us": bare[2],
        "reads_ratio": ours[0] / bare[0],
    }


@contextmanager
def _pinned(pid: int, core: int) -> Iterator[None]:
    """A process's main thread, or the calling thread (0), on one core."""
    before = os.sched_getaffinity(pid)
    os.sched_setaffinity(pid, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(pid, before)


@contextmanager
def _bare(broker: int, core: int) -> Iterator[int]:
    """The library with its own threads serving the first IED's CID; its port."""
    cids: list[bytes] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _user, message: cids.append(bytes(message.payload))
    client.connect("127.0.0.1", broker)
    client.subscribe(TOPICS.cid("SMGW001"))
    client.loop_start()
    end = time.monotonic() + DEADLINE
    while not cids and time.monotonic() < end:
        time.sleep(0.01)
    client.loop_stop()
    port = free_port()
    command = [sys.executable, "-c", BARE, str(port), str(core)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(cids[0])
        running.stdin.close()
        running.stdout.readline()
        try:
            yield port
        finally:
            running.terminate()


def _reads(port: int, domain: str, seconds: float) -> tuple[float, float, float]:
    """Reads per second, and p50 and p99 in µs, with the same request's bytes again and again."""
    request: list[bytes] = []
    with associate(port) as client:
        connection = client._conn
        send = connection.send

        def recorded(user_data: bytes) -> None:
            request.append(user_data)
            send(user_data)

        connection.send = recorded  # type: ignore[method-assign]
        client.read(ObjectName("MMXN1$MX$Vol", domain))
    raw = IsoConnection.connect("127.0.0.1", port, timeout=10.0)
    raw.send(association_request())
    raw.recv()
    times: list[float] = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        raw.send(request[0])
        raw.recv()
        times.append(time.perf_counter() - start)
    raw.close()
    times.sort()
    return len(times) / sum(times), 1e6 * statistics.median(times), 1e6 * times[len(times) * 99 // 100]
