"""Attacks with an identity that is one's own, but not the one that is claimed; and with none."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator

import aiomqtt
import psutil
import pytest
from open61850.mms import MmsClient
from open61850.mms.errors import MmsError

from bridge.settings import BridgeSettings
from broker.contract.birth import Birth, Hardware
from broker.contract.block import Block
from broker.contract.messages import Message, utc_now
from broker.contract.reading import History, Reading
from broker.contract.relay import Position, Relay
from broker.contract.result import Outcome, Result
from broker.contract.roles import Role
from broker.contract.status import ServiceStatus, Status
from broker.contract.topics import scl_name
from broker.mqtt import packets
from tests.support.attackers import Desk, associate, client, listening, order, rows
from tests.support.chain import until
from tests.support.houses import TOPICS, Street, street


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    with street(tmp_path_factory.mktemp("street")) as running:
        yield running


def lies() -> dict[str, Message]:
    """What a meter could say for another: each would do harm if it were believed."""
    now = utc_now()
    reading = Reading(epoch=1, seq=2**40, ts=now, energy=0.0)
    return {
        "birth": Birth(
            name="Stolen",
            owner="Nobody",
            hardware=Hardware(vendor="x", model="x", serial="x"),
            firmware="0",
            interval=86_400,
            session="stolen",
            ts=now,
        ),
        "status": Status(online=False, session="stolen", ts=now),
        "reading": reading,
        "history": History(readings=(reading,)),
        "relay": Relay(position=Position.OPEN, operations=99, ts=now, command_id="stolen"),
        "result": Result(command_id="stolen", outcome=Outcome.DONE, ts=now),
        "block": Block(open=True, close=True, ts=now, origin=order().origin),
    }


@pytest.mark.parametrize("kind", lies())
async def test_nobody_says_anything_for_a_neighbour(kind: str, houses: Street) -> None:
    payload = lies()[kind].payload()
    async with listening(houses) as desk:
        with houses.unharmed():
            owners = rows(houses, "SELECT meter_id, owner, session, online FROM meter")
            for name in (houses.thief, "anna", "otto"):
                for meter in houses.ids if (name, kind) != ("otto", "block") else ():
                    await desk.send(name, meter, payload, kind=kind, retain=True)
                    await desk.send(name, meter, payload, kind=kind)
            await settled(desk)
            assert not any(desk.told(TOPICS.meter(meter, kind), payload) for meter in houses.ids)
            assert rows(houses, "SELECT meter_id, owner, session, online FROM meter") == owners


async def settled(desk: Desk) -> None:
    """What was published before has reached the bridge, if it ever will: a command behind it has."""
    command = order(issued=-60.0)
    await desk.obeyed(desk.houses.late, command)
    query = "SELECT outcome FROM command WHERE command_id = ?"
    until(lambda: rows(desk.houses, query, command.command_id) == [("expired",)], why="in the ledger")


@pytest.mark.parametrize("kind", ["status", "relay", "command", "block"])
async def test_a_last_will_on_a_neighbours_topic_is_not_carried_out(kind: str, houses: Street) -> None:
    command = order()
    payload = {**lies(), "command": command}[kind].payload()
    async with listening(houses) as desk:
        with houses.unharmed():
            for meter in houses.ids:
                will = aiomqtt.Will(TOPICS.meter(meter, kind), payload, qos=1, retain=kind != "command")
                async with client(houses.site.settings(houses.thief), will=will) as thief:
                    cut(thief)
            await settled(desk)
            assert not any(desk.told(TOPICS.meter(meter, kind), payload) for meter in houses.ids)
            assert rows(houses, "SELECT * FROM command WHERE command_id = ?", command.command_id) == []


def cut(connected: aiomqtt.Client) -> None:
    """End the connection without a word."""
    sock = connected._client.socket()
    assert isinstance(sock, socket.socket)
    sock.shutdown(socket.SHUT_RDWR)


async def test_a_revoked_meter_is_out_and_the_good_ones_stay(houses: Street) -> None:
    site = houses.site
    revoked = site.add("3f2504e0-4f89-41d3-9a0c-0305e82c3309", Role.METER)
    site.deployment.publish()
    until(lambda: lets_in(revoked.port, revoked.tls()), why="known")
    with houses.unharmed():
        with site.deployment.identity_store.change() as change:
            assert change.revoke("3f2504e0-4f89-41d3-9a0c-0305e82c3309") == 1
        site.deployment.publish()
        until(lambda: not lets_in(revoked.port, revoked.tls()), why="revoked")
    assert "certificate verify failed" in site.log.read_text()


def lets_in(port: int, tls: ssl.SSLContext | None, *, client_id: str = "x") -> bool:
    """Whether the broker answers a CONNECT with success."""
    connect = packets.connect(client_id, version=4, keepalive=10, will=None, clean=True)
    try:
        with socket.create_connection(("127.0.0.1", port), 60) as plain:
            door = tls.wrap_socket(plain, server_hostname="localhost") if tls else plain
            door.sendall(connect)
            return door.recv(4) == b"\x20\x02\x00\x00"
    except OSError:
        return False


def test_there_is_no_plain_door(houses: Street) -> None:
    """The deployment listens on its three TLS doors, and for MMS with TLS and on loopback; nowhere else."""
    ports = houses.site.deployment.ports
    with houses.unharmed() as before:
        listens = {name: listening_at(pid) for name, pid in before.pids.items()}
        assert listens.pop("mosquitto") == {("127.0.0.1", port) for port in ports.values()}
        assert listens.pop("mms") == {("127.0.0.1", houses.mms_port), ("127.0.0.1", houses.mms_tls_port)}
        assert not any(listens.values())
        with pytest.raises((MmsError, OSError)):
            MmsClient.connect("127.0.0.1", houses.mms_tls_port, timeout=2.0)
        for port in ports.values():
            assert not lets_in(port, None)
        admin = houses.site.settings("admin")
        assert lets_in(admin.port, admin.tls())


def test_a_revoked_operator_and_a_meter_are_out_of_mms(houses: Street) -> None:
    """A meter's certificate is of the same authority, and gives no right over MMS."""
    site, variable = houses.site, f"{scl_name(houses.late)}/XSWI1.Pos.stVal[ST]"
    site.add("eve", Role.OPERATOR)
    site.deployment.publish()
    with houses.unharmed():
        until(lambda: associates(houses, "eve"), why="eve's rights are known")
        assert not associates(houses, houses.thief)
        with associate(houses, "eve") as eve, associate(houses, "anna") as anna:
            assert eve.read(variable) is not None
            with site.deployment.identity_store.change() as change:
                assert change.revoke("eve") == 1
            site.deployment.publish()
            until(lambda: not reads(eve, variable), why="eve is cut off")
            assert anna.read(variable) is not None
        assert not associates(houses, "eve")
        assert associates(houses, "anna")


def associates(houses: Street, name: str) -> bool:
    """Whether an association over TLS comes about."""
    try:
        associate(houses, name).close()
    except (MmsError, OSError):
        return False
    return True


def reads(client: MmsClient, variable: str) -> bool:
    """Whether the association lives."""
    try:
        return client.read(variable) is not None
    except (MmsError, OSError):
        return False


def listening_at(pid: int) -> set[tuple[str, int]]:
    """Addresses on which a process accepts TCP connections."""
    found = psutil.Process(pid).net_connections("tcp")
    return {(one.laddr.ip, one.laddr.port) for one in found if one.status == psutil.CONN_LISTEN}


def test_a_session_is_not_taken_over_by_its_client_id(houses: Street) -> None:
    """At the meters' door an identity has one session, its own; the bridge's client id is a secret."""
    thief = houses.site.settings(houses.thief)
    with houses.unharmed():
        before = bridge_connections(houses)
        for client_id in (*houses.ids, *(scl_name(meter) for meter in houses.ids), "meter61850-bridge"):
            assert lets_in(thief.port, thief.tls(), client_id=client_id)
        assert bridge_connections(houses) == before


def test_a_meter_does_not_come_in_by_the_services_door(houses: Street) -> None:
    """There the client id is free, and a meter's is its meter_id: whoever said it would end its session."""
    services, bridge = houses.at("services", houses.thief), houses.site.settings("bridge")
    assert not lets_in(services.port, services.tls())
    assert lets_in(services.port, bridge.tls(), client_id="another of the bridge's")


def bridge_connections(houses: Street) -> int:
    """How often the bridge has connected, as it tells next."""
    (told,) = houses.retained([TOPICS.service_status("bridge")])
    return ServiceStatus.model_validate_json(told.payload).counters["connections"]


async def test_nobody_takes_a_share_of_what_a_group_of_bridges_gets(houses: Street) -> None:
    """Mosquitto gives a shared message to one member of the group, and drops it if that may not read it."""
    bridge = houses.site.settings("bridge")
    postgres = "postgresql://127.0.0.1/none"
    ours = BridgeSettings(mqtt=bridge, database_url=postgres, group="town").subscriptions
    guessed = BridgeSettings(database_url=postgres, group="town").subscriptions
    with houses.unharmed():
        async with client(bridge) as member, client(houses.site.settings(houses.thief)) as thief:
            await thief.subscribe([(topic, 1) for topic in guessed])
            await member.subscribe([(topic, 1) for topic in ours])
            seqs: dict[str, list[int]] = {meter: [] for meter in houses.ids}
            async with asyncio.timeout(60):
                while min(map(len, seqs.values())) < 10:
                    message = await anext(member.messages)
                    *_, meter, kind = message.topic.value.split("/")
                    if kind == "reading" and meter in seqs:
                        seqs[meter].append(Reading.model_validate_json(message.payload or b"").seq)
            assert all(found == list(range(found[0], found[0] + len(found))) for found in seqs.values())
            assert len(thief.messages) == 0
