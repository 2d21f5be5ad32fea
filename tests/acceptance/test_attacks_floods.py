"""Floods on a running deployment: connects, subscriptions, messages, associations. No house notices."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import aiomqtt
import psutil
import pytest
from open61850.mms import MmsClient
from open61850.mms.errors import MmsError

from broker.contract.birth import Birth, Hardware
from broker.contract.messages import utc_now
from broker.contract.reading import Reading
from broker.contract.specs import METER_KINDS
from broker.contract.topics import scl_name
from broker.daemon.mosquitto import MAX_PACKET
from tests.support.attackers import client, listening, order, rows
from tests.support.chain import until
from tests.support.houses import TOPICS, Street, street

HANDSHAKES, CONNECTS, READINGS, GARBAGE = 500, 80, 2000, 1000
HELD = 3000
"""Connections that an attacker holds open."""
SILENT = """
import socket, sys
from broker.descriptors import raise_limit
raise_limit()
port, count = map(int, sys.argv[1:])
held = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
print("ready", flush=True)
sys.stdin.read()
"""
TLS_HELD = 300
FILTERS = 10_000
ASSOCIATIONS = 200


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    with street(tmp_path_factory.mktemp("street")) as running:
        yield running


@pytest.fixture
def held() -> Iterator[ExitStack]:
    """The attacker's sockets; they are closed at the end."""
    with ExitStack() as sockets:
        yield sockets


@contextmanager
def silent(port: int, count: int) -> Iterator[None]:
    """Another process holds so many connections and says nothing."""
    command = [sys.executable, "-c", SILENT, str(port), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as attacker:
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == b"ready\n"
        yield
        attacker.kill()


def mosquitto(houses: Street) -> psutil.Process:
    """The broker itself, below its guardian."""
    assert houses.site.process is not None
    (found,) = psutil.Process(houses.site.process.pid).children()
    return found


async def comes_and_obeys(houses: Street) -> None:
    """A good meter that starts now gets in, and a command is answered: nobody stands in the door."""
    late = houses.programs["late"]
    async with listening(houses) as desk:
        late.stop()
        before = len(desk.heard)
        late.start()
        await desk.online(houses.late, before=before)
        await desk.obeyed(houses.late, order(issued=-60.0))


def test_the_broker_may_have_as_many_connections_as_the_system_allows(houses: Street) -> None:
    soft, hard = mosquitto(houses).rlimit(psutil.RLIMIT_NOFILE)
    assert soft == hard


@pytest.mark.parametrize("door", ["certificates", "passwords"])
async def test_connections_that_never_say_anything(door: str, houses: Street) -> None:
    """Mosquitto closes each after 90 s; until then they are in nobody's way."""
    port = houses.site.deployment.ports[door]
    count = HELD if door == "certificates" else HELD // 2
    with houses.unharmed(), silent(port, count):
        await comes_and_obeys(houses)
        assert len(mosquitto(houses).net_connections("tcp")) >= count


async def test_handshakes_that_are_not_followed_by_a_connect(houses: Street, held: ExitStack) -> None:
    thief = houses.site.settings(houses.thief)
    tls = thief.tls()
    assert tls is not None
    with houses.unharmed():
        for _ in range(TLS_HELD):
            plain = socket.create_connection(("127.0.0.1", thief.port))
            held.enter_context(tls.wrap_socket(plain, server_hostname="localhost"))
        await comes_and_obeys(houses)


async def test_handshakes_that_are_garbage(houses: Street) -> None:
    port = houses.site.settings(houses.thief).port
    with houses.unharmed():
        for _ in range(HANDSHAKES):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as plain:
                plain.sendall(bytes(range(256)) * 16)
        await comes_and_obeys(houses)


async def test_connects_of_one_identity_as_fast_as_it_can(houses: Street) -> None:
    """Each ends the one before; every other client stays."""
    thief = houses.site.settings(houses.thief)
    count = 0

    async def storm() -> None:
        nonlocal count
        while count < CONNECTS:
            with suppress(aiomqtt.MqttError):
                async with client(thief):
                    count += 1

    with houses.unharmed():
        await asyncio.gather(*(storm() for _ in range(8)))
        await comes_and_obeys(houses)
    name = f"u'{houses.thief}'"
    sessions = sum(name in line for line in houses.site.log.read_text().splitlines())
    assert sessions >= count, "the broker's log tells each"


async def test_ten_thousand_subscriptions_hear_nothing_of_others(houses: Street) -> None:
    wide = ["#", "+/#", "+/+/+/+", "sm/v1/#", "sm/v1/+/reading", "$SYS/#", "$share/x/sm/v1/#"]
    filters = [*wide, *(f"sm/v1/+/{number}/#" for number in range(FILTERS - len(wide)))]
    memory = mosquitto(houses).memory_info().rss
    with houses.unharmed():
        async with client(houses.site.settings(houses.thief), max_queued_incoming_messages=10_000) as thief:
            for first in range(0, FILTERS, 500):
                await thief.subscribe([(topic, 1) for topic in filters[first : first + 500]])
            await comes_and_obeys(houses)
            await thief.subscribe("barrier")
            assert len(thief.messages) == 0
    assert mosquitto(houses).memory_info().rss - memory < 50e6


async def test_readings_of_its_own_as_fast_as_a_meter_can(houses: Street) -> None:
    """They are its own, so they are taken; the neighbours' are not later for it than can be caught up."""
    topic = TOPICS.meter(houses.thief, "reading")
    with houses.unharmed():
        async with client(houses.site.settings(houses.thief)) as thief:
            await thief.publish(TOPICS.meter(houses.thief, "birth"), birth().payload(), qos=1, retain=True)
            for first in range(1, READINGS, 50):
                burst = range(first, first + 50)
                told = [Reading(epoch=1, seq=number, ts=utc_now(), power=1.0) for number in burst]
                await asyncio.gather(*(thief.publish(topic, one.payload(), qos=1) for one in told))
            await comes_and_obeys(houses)


def birth() -> Birth:
    """The thief's own."""
    hardware = Hardware(vendor="x", model="x", serial="x")
    return Birth(name="x", hardware=hardware, firmware="0", interval=1, session="x", ts=utc_now())


@pytest.mark.parametrize("size", [10, 60_000, 1_000_000])
async def test_garbage_on_all_of_its_topics(size: int, houses: Street) -> None:
    """Kept aside and counted, in few rows."""
    query = "SELECT count(*), coalesce(sum(count), 0) FROM dead_letter"
    ((letters_before, counted_before),) = rows(houses, query)
    garbage, count = bytes(size), 0
    kinds = [kind for kind in METER_KINDS if kind not in ("stored", "command")]
    with houses.unharmed():
        async with client(houses.site.settings(houses.thief)) as thief:
            while count < GARBAGE and count * size < 100e6:
                topics = [TOPICS.meter(houses.thief, kind) for kind in kinds]
                await asyncio.gather(*(thief.publish(t, garbage, qos=1, retain=True) for t in topics))
                count += len(kinds)
            for kind in kinds:
                await thief.publish(TOPICS.meter(houses.thief, kind), b"", qos=1, retain=True)
            await comes_and_obeys(houses)
    ((letters, counted),) = rows(houses, query)
    assert counted - counted_before > 0
    assert letters - letters_before < 100


async def test_the_largest_packet_and_one_beyond(houses: Street) -> None:
    """1 MiB is what the SCD of a large town needs; who sends more is disconnected."""
    topic = TOPICS.meter(houses.thief, "reading")
    memory = mosquitto(houses).memory_info().rss
    with houses.unharmed():
        async with client(houses.site.settings(houses.thief)) as thief:
            await thief.publish(topic, bytes(MAX_PACKET - 1024), qos=1, retain=True, timeout=30)
            await thief.publish(topic, b"", qos=1, retain=True)
        with pytest.raises(aiomqtt.MqttError):
            async with client(houses.site.settings(houses.thief)) as thief:
                await thief.publish(topic, bytes(MAX_PACKET + 1), qos=1, timeout=30)
        await comes_and_obeys(houses)
    assert mosquitto(houses).memory_info().rss - memory < 300e6


def test_associations_beyond_the_limit(houses: Street, held: ExitStack) -> None:
    """Who is there stays and reads on; who comes is refused, until the flood is over."""
    variable = f"{scl_name(houses.late)}/XSWI1.Pos.stVal[ST]"
    with houses.unharmed():
        with associated(houses) as scada:
            for _ in range(ASSOCIATIONS):
                held.enter_context(socket.create_connection(("127.0.0.1", houses.mms_port)))
            refused = 0
            for _ in range(ASSOCIATIONS):
                try:
                    held.enter_context(MmsClient.connect("127.0.0.1", houses.mms_port, timeout=0.5))
                except (MmsError, OSError):
                    refused += 1
                    assert scada.read(variable) is not None
            assert refused > 0
            assert scada.read(variable) is not None
            held.close()
        with associated(houses) as after:
            assert after.read(variable) is not None


def associated(houses: Street) -> MmsClient:
    """A new association, as soon as there is one to have."""

    def tried() -> MmsClient | None:
        with suppress(MmsError, OSError):
            return MmsClient.connect("127.0.0.1", houses.mms_port, timeout=30.0)
        return None

    found = until(tried, seconds=90, why="association")
    assert found is not None
    return found


async def test_a_slow_reader_of_everything(houses: Street) -> None:
    """An operator that subscribes to all and reads nothing fills its own queue, nobody else's."""
    anna = houses.site.settings("anna")
    tls = anna.tls()
    assert tls is not None
    with houses.unharmed():
        async with client(anna) as operator:
            await operator.subscribe("sm/v1/#", qos=1)
            sock = operator._client.socket()
            assert isinstance(sock, ssl.SSLSocket)
            asyncio.get_running_loop().remove_reader(sock.fileno())
            async with client(houses.site.settings(houses.thief)) as loud:
                for _ in range(400):  # 24 MB: more than the sockets' buffers hold
                    await loud.publish(TOPICS.meter(houses.thief, "reading"), bytes(60_000), qos=1)
            await comes_and_obeys(houses)
