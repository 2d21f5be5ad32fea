"""One stolen meter and the broker's memory: bounded below its unit's limit, and the others are served on."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from broker.contract.roles import Role
from broker.daemon.mosquitto import MAX_PACKET
from broker.mqtt import packets
from tests.support.brokers import Broker
from tests.support.chain import until
from tests.support.deployments import Site, deployed

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "meter61850-broker.service"
BIRTHS = 59
FLOOD_SECONDS = 6.0
BIRTH = "sm/v1/3f2504e0-4f89-41d3-9a0c-0305e82c3301/birth"


def memory_max() -> int:
    """Bytes that the broker's unit may have."""
    found = re.search(r"^MemoryMax=(\d+)G$", UNIT.read_text(), re.M)
    assert found
    return int(found[1]) * 1024**3


def deaf(port: int, *, qos: int, name: str) -> socket.socket:
    """A client that has subscribed to everything and reads nothing from then on."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connect = packets.connect(
        name, version=4, keepalive=0, will=None, username=None, password=None, clean=True
    )
    sock.sendall(connect)
    assert sock.recv(4) == b"\x20\x02\0\0"
    topic = b"#"
    sock.sendall(b"\x82" + bytes([5 + len(topic)]) + b"\0\1\0" + bytes([len(topic)]) + topic + bytes([qos]))
    assert sock.recv(5) == b"\x90\x03\0\1" + bytes([qos])
    return sock


@dataclass
class Neighbour:
    """A good meter and the bridge: a reading each 50 ms; what arrived, and who was disconnected."""

    port: int
    sent: int = 0
    got: set[int] = field(default_factory=set)
    disconnected: int = 0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._bridge, self._meter = self._client("bridge"), self._client("meter")
        self._bridge.on_message = lambda _c, _u, message: self.got.add(int(message.payload))
        subscribed = threading.Event()
        self._bridge.on_subscribe = lambda *_: subscribed.set()
        self._bridge.subscribe("good/reading", 1)
        assert subscribed.wait(60)
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _client(self, name: str) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv311)
        client.connect("127.0.0.1", self.port)
        client.on_disconnect = self._disconnected
        client.loop_start()
        return client

    def _disconnected(self, *_: object) -> None:
        self.disconnected += not self._stop.is_set()

    def _send(self) -> None:
        while not self._stop.wait(0.05):
            self._meter.publish("good/reading", str(self.sent), qos=1)
            self.sent += 1

    def check(self) -> None:
        """Everything has arrived, and nobody was disconnected; then end."""
        before = self.sent
        until(lambda: len(self.got) > before, why="the neighbour is served after the flood")
        self._stop.set()
        self._thread.join()
        until(lambda: len(self.got) == self.sent, why="every reading")
        assert self.disconnected == 0
        self._meter.disconnect()
        self._bridge.disconnect()
        self._meter.loop_stop()
        self._bridge.loop_stop()


@contextmanager
def watched(pid: int) -> Iterator[Callable[[], int]]:
    """The most memory that a process has had since."""
    process, most, stop = psutil.Process(pid), [0], threading.Event()

    def look() -> None:
        while not stop.wait(0.02):
            with suppress(psutil.Error):
                most[0] = max(most[0], process.memory_info().rss)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield lambda: most[0]
    finally:
        stop.set()
        thread.join()


def flood(port: int, size: int, *, count: int | None = None, retain: bool = True) -> int:
    """A stolen meter publishes births as fast as it can, and comes back when it is thrown out; how many."""
    thief = Client(CallbackAPIVersion.VERSION2, client_id="thief", protocol=MQTTProtocolVersion.MQTTv311)
    thief.reconnect_delay_set(1, 1)
    thief.max_inflight_messages_set(100)
    thief.connect("127.0.0.1", port)
    thief.loop_start()
    payload, end, sent = bytes(size), time.monotonic() + FLOOD_SECONDS, 0
    while time.monotonic() < end and (count is None or sent < count):
        last = thief.publish(BIRTH, payload, qos=1, retain=retain)
        sent += 1
        if sent % 20 == 0:
            with suppress(RuntimeError, ValueError):
                last.wait_for_publish(1.0)
    thief.disconnect()
    thief.loop_stop()
    return sent


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("readers", [1, 4])
def test_flood_of_the_largest_births_beside_clients_that_do_not_read(
    qos: int, readers: int, broker: Broker
) -> None:
    """The issue's attack for as long as it likes, at the unit's own limit."""
    neighbour = Neighbour(broker.port)
    with ExitStack() as held, watched(broker.pid) as most:
        for number in range(readers):
            held.enter_context(deaf(broker.port, qos=qos, name=f"deaf{number}"))
        assert flood(broker.port, MAX_PACKET - 100) > BIRTHS
        neighbour.check()
        assert most() < 0.6 * memory_max()


def test_fifty_nine_births_of_the_issue_are_not_taken_at_all(broker: Broker) -> None:
    """14.6 MB each: the sender is disconnected before the broker has taken one."""
    neighbour = Neighbour(broker.port)
    with ExitStack() as held, watched(broker.pid) as most:
        held.enter_context(deaf(broker.port, qos=1, name="deaf"))
        flood(broker.port, 14_600_000, count=BIRTHS)
        neighbour.check()
        assert most() < 50e6


def test_what_one_meter_can_have_kept_is_eight_small_messages(broker: Broker) -> None:
    """Nobody reads slowly: a flood leaves the last message of each topic."""
    with watched(broker.pid) as most:
        flood(broker.port, MAX_PACKET - 100)
        assert most() < 60e6


@pytest.mark.parametrize("saved", [b"no database at all", b"\0\xb5\0mosquitto db" + bytes(40)])
def test_broker_starts_without_a_saved_state_that_it_cannot_load(saved: bytes, tmp_path: Path) -> None:
    """Such as one that has grown to the memory limit: it is put aside, or the broker would never start."""
    with deployed(tmp_path, started=False) as site:
        site.add("anna", Role.OPERATOR)
        site.deployment.publish()
        database = saved_state(site)
        database.parent.mkdir(parents=True, exist_ok=True)
        database.write_bytes(saved)
        site.start()
        (aside,) = database.parent.glob("mosquitto.db.*.unreadable")
        assert aside.read_bytes() == saved
        assert "it is kept as" in site.log.read_text()


def saved_state(site: Site) -> Path:
    """Where the broker of a deployment keeps its state."""
    return Path(site.deployment.environment["METER61850_DATA_DIR"]) / "broker" / "mosquitto.db"


def test_another_reason_not_to_start_leaves_the_saved_state_alone(tmp_path: Path) -> None:
    with deployed(tmp_path) as site:
        site.stop()
        saved = saved_state(site).read_bytes()
        authority = site.folder / "security" / "ca.crt"
        authority.write_text("no certificate")
        site.log.write_text("")
        with pytest.raises(AssertionError, match=r"ca\.crt"):
            site.start()
        assert saved_state(site).read_bytes() == saved
        assert not list(saved_state(site).parent.glob("*.unreadable"))
