"""The bridge at a fixed rate (lag from the meter's time to `stored`, memory), and the drain of a backlog.

    python -m bench.steady --rate 1000 --meters 1000 --seconds 30
    python -m bench.steady --rate 10000 --meters 10000 --seconds 600
    python -m bench.steady --backlog 1000000 --meters 1000

With ``--rate``, readings carry the time at which they are sent, evenly spread; the lag of a reading ends
when this program hears the `stored` that names it, so the way back is in it. With ``--backlog``, as many
readings come on `history` in batches of 200, as after an outage, after a run of live ones through the same
bridge.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import paho.mqtt.client as mqtt
import psutil
from paho.mqtt.enums import CallbackAPIVersion

from bench.ingest import BRIDGE, STATUS_SECONDS, Watch
from bench.ingest_load import EPOCH, PREFIX, Connection, connect, meter_id, reading, send
from broker.contract.messages import format_ts
from broker.contract.reading import Stored
from broker.contract.topics import Topics
from broker.mqtt.settings import MqttSettings
from tests.support.brokers import mosquitto
from tests.support.databases import new_database, running_postgres

BATCH = 200
"""Readings of one history, as the meters send them."""
SLICE = 0.01
"""Seconds; so often the readings that are due go out."""
SETTLE_SECONDS = 20.0


class Answers:
    """Hears `stored` and knows when each reading was sent."""

    def __init__(self, port: int) -> None:
        self.sent: dict[tuple[str, int], float] = {}
        self.lags: list[float] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._subscribed = threading.Event()
        self._client.on_connect = lambda client, *_: client.subscribe(Topics(PREFIX).meter("+", "stored"))
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _user, message: self._take(message)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._subscribed.wait(10)

    def _take(self, message: mqtt.MQTTMessage) -> None:
        now = time.time()
        meter = message.topic.split("/")[-2]
        stored = Stored.model_validate_json(message.payload)
        for seq in range(stored.first, stored.seq + 1):
            sent = self.sent.pop((meter, seq), None)
            if sent is not None:
                self.lags.append(now - sent)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def bridge(folder: Path, url: str, port: int) -> Iterator[psutil.Process]:
    """The bridge as a process."""
    command = [sys.executable, "-c", BRIDGE, str(port), url, str(STATUS_SECONDS)]
    with (folder / "bridge.log").open("wb") as log, subprocess.Popen(command, stderr=log) as running:
        watch = Watch(MqttSettings(port=port))
        watch.wait(lambda: watch.online == 1)
        watch.close()
        try:
            yield psutil.Process(running.pid)
        finally:
            running.terminate()


def steady(options: argparse.Namespace, folder: Path, url: str) -> dict[str, float]:
    """Lag and memory at a fixed rate."""
    with mosquitto(folder) as broker, bridge(folder, url, broker.port) as process:
        answers = Answers(broker.port)
        clients = [Connection(connect(broker.port, number), 10_000) for number in range(8)]
        memory: list[int] = []
        sent = _send_evenly(options, clients, answers, process, memory)
        deadline = time.monotonic() + SETTLE_SECONDS
        while answers.sent and time.monotonic() < deadline:
            time.sleep(0.1)
        answers.close()
        lags = sorted(answers.lags)
    half = len(memory) // 2
    return {
        "rate": sent / options.seconds,
        "unanswered": len(answers.sent),
        "lag_p50_ms": 1000 * lags[len(lags) // 2],
        "lag_p99_ms": 1000 * lags[len(lags) * 99 // 100],
        "memory_mb": max(memory) / 1e6,
        "memory_first_half_mb": max(memory[:half]) / 1e6,
        "memory_second_half_mb": max(memory[half:]) / 1e6,
        **_by_minute(memory),
    }


def _by_minute(memory: list[int]) -> dict[str, float]:
    """The most of each minute: where a slope would show."""
    minutes = range(0, len(memory) - 59, 60)
    return {f"memory_minute_{start // 60 + 1}_mb": max(memory[start : start + 60]) / 1e6 for start in minutes}


def _send_evenly(
    options: argparse.Namespace,
    clients: list[Connection],
    answers: Answers,
    process: psutil.Process,
    memory: list[int],
) -> int:
    """Send what is due every slice; how many readings those were."""
    ids = [meter_id(number) for number in range(options.meters)]
    topics = [Topics(PREFIX).meter(name, "reading").encode() for name in ids]
    number, begin, looked = 0, time.time(), 0.0
    while (now := time.time()) - begin < options.seconds:
        due = int((now - begin) * options.rate)
        ts = format_ts(datetime.fromtimestamp(now, UTC))
        for index in range(number, due):
            seq, meter = index // options.meters + 1, index % options.meters
            answers.sent[ids[meter], seq] = now
            clients[meter % len(clients)].add(topics[meter], reading(epoch=EPOCH, seq=seq, ts=ts))
        number = due
        for client in clients:
            client.fill()
            _drain(client)
        if now - looked > 1.0:
            memory.append(process.memory_info().rss)
            looked = now
        time.sleep(max(0.0, SLICE - (time.time() - now)))
    return number


def _drain(client: Connection) -> None:
    """Take the acknowledgements that are there, and forget packets that are acknowledged."""
    client.sock.setblocking(False)
    try:
        client.receive()
    except BlockingIOError:
        pass
    finally:
        client.sock.setblocking(True)


def drain(options: argparse.Namespace, folder: Path, url: str) -> dict[str, float]:
    """Readings per second of a backlog on history, and live, by the same bridge."""
    with mosquitto(folder) as broker, bridge(folder, url, broker.port):
        watch = Watch(MqttSettings(port=broker.port))
        live = _stored_per_second(watch, broker.port, _live(options.live, options.meters), options.live)
        per_second = _stored_per_second(
            watch, broker.port, _history(options), options.backlog, before=options.live
        )
        watch.close()
    return {"live_per_s": live, "backlog_per_s": per_second, "ratio": per_second / live}


def _stored_per_second(
    watch: Watch, port: int, messages: Iterator[tuple[bytes, bytes]], count: int, *, before: int = 0
) -> float:
    clients = [Connection(connect(port, number + before), 100) for number in range(8)]
    for index, (topic, payload) in enumerate(messages):
        clients[index % len(clients)].add(topic, payload)
    begin = time.time()
    sender = threading.Thread(target=send, args=(clients,))
    sender.start()
    watch.wait(lambda: watch.stored >= before + count)
    seconds = time.time() - begin
    sender.join()
    return count / seconds


def _live(count: int, meters: int) -> Iterator[tuple[bytes, bytes]]:
    ts = format_ts(datetime.now(UTC))
    for number in range(count):
        topic = Topics(PREFIX).meter(meter_id(number % meters), "reading").encode()
        yield topic, reading(epoch=EPOCH, seq=number // meters + 1, ts=ts)


def _history(options: argparse.Namespace) -> Iterator[tuple[bytes, bytes]]:
    """The backlog: each meter's readings in batches, the meters in turn; an epoch of its own."""
    ts = format_ts(datetime.now(UTC))
    batches = options.backlog // options.meters // BATCH
    for batch in range(batches):
        for meter in range(options.meters):
            seqs = range(batch * BATCH + 1, (batch + 1) * BATCH + 1)
            readings = b",".join(reading(epoch=EPOCH + 1, seq=seq, ts=ts) for seq in seqs)
            topic = Topics(PREFIX).meter(meter_id(meter), "history").encode()
            yield topic, b'{"readings":[' + readings + b"]}"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--rate", type=int, default=1000, help="readings per second")
    add("--meters", type=int, default=1000)
    add("--seconds", type=float, default=30.0)
    add("--backlog", type=int, default=0, help="readings on history instead; a multiple of 200 × meters")
    add("--live", type=int, default=100_000, help="live readings beside the backlog")
    add("--runs", type=int, default=1)
    add("--database", choices=["sqlite", "postgresql"], default="sqlite")
    add("--dir", help="folder for the databases; a disk, not a RAM disk")
    add("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    results = [_run(options) for _ in range(options.runs)]
    summary = {
        name: {
            "median": statistics.median(result[name] for result in results),
            "min": min(result[name] for result in results),
            "max": max(result[name] for result in results),
        }
        for name in results[0]
    }
    if options.json:
        print(json.dumps(summary))
        return
    for name, values in summary.items():
        print(f"{name:24}{values['median']:12,.1f}  ({values['min']:,.1f} to {values['max']:,.1f})")


def _run(options: argparse.Namespace) -> dict[str, float]:
    once = drain if options.backlog else steady
    with tempfile.TemporaryDirectory(dir=options.dir) as name:
        folder = Path(name)
        if options.database == "sqlite":
            return once(options, folder, f"sqlite:///{folder}/bench.sqlite")
        with contextmanager(running_postgres)() as server:
            return once(options, folder, new_database(server))


if __name__ == "__main__":
    main()
