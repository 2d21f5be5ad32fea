"""The bridge as a process, on a real Mosquitto and a real database, with meters that speak the contract."""

from __future__ import annotations

import hashlib
import json
import signal
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from lxml import etree

from bridge.store import Store
from bridge.tables import DeadLetter, Meter
from broker.messages import Revision, Stored, format_ts, utc_now
from broker.topics import scl_name
from scl_builder.builder import NAMESPACE
from tests.bridges import TOPICS, BridgeProcess, Client, bridge, eventually
from tests.brokers import Broker, mosquitto

pytest_plugins = ("tests.databases",)

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
OTHER = "3f2504e0-4f89-41d3-9a0c-0305e82c3302"
READING = TOPICS.meter(METER, "reading")
BIRTH = TOPICS.meter(METER, "birth")


def stamp(**ahead: float) -> str:
    return format_ts(datetime.now(UTC) + timedelta(**ahead))


def reading(seq: int, **others: object) -> str:
    return json.dumps({"epoch": 1, "seq": seq, "ts": stamp(), "voltage": 231.2} | others)


def birth(**others: object) -> str:
    hardware = {"vendor": "Peacefair", "model": "PZEM-004T", "serial": "1"}
    values = {
        "name": "House 7",
        "hardware": hardware,
        "firmware": "1",
        "interval": 10,
        "session": "s1",
        "ts": stamp(),
    }
    return json.dumps(values | others)


def command(command_id: str, **others: object) -> str:
    origin = {"category": "remote-control", "identifier": "operator"}
    values = {
        "command_id": command_id,
        "position": "open",
        "issued_at": stamp(),
        "expires_at": stamp(seconds=5),
    }
    return json.dumps(values | {"origin": origin} | others)


@dataclass
class Rig:
    """Broker, bridge, database and a client."""

    broker: Broker
    bridge: BridgeProcess
    store: Store
    client: Client

    def meter(self, meter_id: str = METER) -> Meter | None:
        """The registry's row, if there is one."""
        return next((s.meter for s in self.store.meters(retired=True) if s.meter.meter_id == meter_id), None)

    def seqs(self, meter_id: str = METER) -> list[int]:
        """Stored readings of a meter."""
        meter = self.meter(meter_id)
        return [row.seq for row in self.store.readings(meter)] if meter else []

    def stored(self, seq: int) -> bool:
        """True when ``seq`` is in the database."""
        return seq in self.seqs()

    def dead(self) -> list[DeadLetter]:
        """The dead letters."""
        return self.store.dead_letters()

    def revision(self) -> Revision | None:
        """The revision that the broker retains."""
        payload = self.client.latest.get(TOPICS.revision)
        return Revision.model_validate_json(payload) if payload else None

    def wait_revision(self, condition: Callable[[Revision], bool] = lambda _: True) -> Revision:
        """The revision, once there is one that meets ``condition``."""
        found = eventually(lambda: (new := self.revision()) and condition(new) and new, what="revision")
        assert isinstance(found, Revision)
        return found

    def confirmed(self) -> set[int]:
        """Readings of the meter's epoch 1 that the bridge said are safe."""
        told = [payload for topic, payload in self.client.all if topic == TOPICS.meter(METER, "stored")]
        ranges = [Stored.model_validate_json(payload) for payload in told]
        return {seq for told in ranges for seq in range(told.first, told.seq + 1)}


@pytest.fixture
def rig(broker: Broker, sqlite_url: str) -> Iterator[Rig]:
    with bridge(broker, sqlite_url) as running, Client(broker) as client:
        eventually(client.online, what=running.log.read_text())
        with Store.open(sqlite_url) as store:
            yield Rig(broker, running, store, client)


# fmt: off
BAD: dict[str, tuple[str, str | bytes, str]] = {
    "malformed": (READING, b'{"epoch":1,"seq"', "reading: is not JSON"),
    "empty history": (TOPICS.meter(METER, "history"), b"", "history: is not JSON"),
    "binary": (READING, b"\xff\x00\xfe", "reading: is not JSON"),
    "wrong type": (READING, reading(1, voltage="much"),
                   "reading: voltage: Input should be a valid number, unable to parse string as a number"),
    "wrong shape": (READING, "[1,2,3]", "reading: Input should be an object"),
    "unknown kind": (f"sm/v1/{METER}/voltage", reading(1), "topic is not of the contract"),
    "unknown topic": ("sm/v1/anything/below/the/prefix", "x", "topic is not of the contract"),
    "NaN": (READING, reading(1, voltage=float("nan")), "reading: voltage: Input should be a finite number"),
    "infinity": (READING, reading(1, power=float("inf")), "reading: power: Input should be a finite number"),
    "future": (READING, reading(1, ts=stamp(days=1)), "reading: ts: is in the future"),
    "1970": (READING, reading(1, ts="1970-01-01T00:00:01.000Z"),
             "reading: ts: is before 2020: the sender's clock was never set"),
    "1 MB": (READING, b" " * 1_000_000 + reading(1).encode(), "reading: is larger than 65536 bytes"),
    "2 MB history": (TOPICS.meter(METER, "history"), b" " * 2_000_000,
                     "history: is larger than 1048576 bytes"),
    "no UUID": (TOPICS.meter("meter-7", "birth"), birth(), "meter_id is not a UUID in canonical form"),
    "UUID in capitals": (TOPICS.meter(METER.upper(), "reading"), reading(1),
                         "meter_id is not a UUID in canonical form"),
    "NUL in a name": (BIRTH, birth(name="a\0b"), "birth: holds a NUL character"),
    "birth of another serial": (BIRTH, birth(hardware={"serial": "2"}),
                                "birth: meter_id belongs to another hardware serial"),
    "birth without hardware": (BIRTH, '{"name":"x"}', "birth: hardware: Field required"),
    "status of text": (TOPICS.meter(METER, "status"), "online", "status: is not JSON"),
    "relay in between": (TOPICS.meter(METER, "relay"),
                         json.dumps({"position": "half", "operations": 1, "ts": stamp()}),
                         "relay: position: Input should be 'open' or 'closed'"),
    "command for an unknown position": (TOPICS.meter(METER, "command"), command("c-1", position="half"),
                                        "command: position: Input should be 'open' or 'closed'"),
    "result without outcome": (TOPICS.meter(METER, "result"), json.dumps({"command_id": "c", "ts": stamp()}),
                               "result: outcome: Field required"),
    "refusal for no meter": (TOPICS.refused("mms"),
                             json.dumps({"meter_id": "x", "command": json.loads(command("c-2")), "reason": "",
                                         "ts": stamp()}),
                             "meter_id: is not a UUID in canonical form"),
}
# fmt: on


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One bridge for all that should not hurt it."""
    folder = tmp_path_factory.mktemp("shared")
    with mosquitto(folder) as broker:
        url = f"sqlite:///{folder / 'meter.sqlite'}"
        with bridge(broker, url) as running, Client(broker) as client:
            eventually(client.online)
            with Store.open(url) as store:
                yield Rig(broker, running, store, client)


@pytest.mark.parametrize(("topic", "payload", "cause"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_kept_aside_and_the_next_reading_is_stored(
    shared: Rig, topic: str, payload: str | bytes, cause: str
) -> None:
    own = str(uuid.uuid4())  # the topic of this test's own meter in place of METER's
    topic = topic.replace(METER, own).replace(METER.upper(), own.upper())
    data = payload.encode() if isinstance(payload, str) else payload
    before = shared.client.counter("dead")
    shared.client.publish(TOPICS.meter(own, "birth"), birth())
    shared.client.publish(topic, data)
    shared.client.publish(TOPICS.meter(own, "reading"), reading(2))
    eventually(lambda: shared.seqs(own) == [2], what="the good reading, and nothing bad, is stored")
    (letter,) = (letter for letter in shared.dead() if letter.topic == topic)
    assert letter.cause == cause
    assert (letter.payload, letter.size) == (data[: 64 * 1024], len(data))
    assert letter.sha256 == hashlib.sha256(data).hexdigest()
    meter = shared.meter(own)
    assert meter is not None
    assert (meter.name, meter.serial) == ("House 7", "1")
    eventually(lambda: shared.client.counter("dead") == before + 1)
    assert shared.client.online()


def test_bad_input_once_more_is_counted_and_logged_once(rig: Rig) -> None:
    for _ in range(3):
        rig.client.publish(READING, b"{")
    eventually(lambda: rig.client.counter("dead") == 3)
    (letter,) = rig.dead()
    assert letter.count == 3
    assert rig.bridge.log.read_text().count("is not JSON") == 1


def test_what_is_kept_aside_is_confirmed_too(rig: Rig) -> None:
    rig.client.publish(READING, reading(1, ts=stamp(days=1)))
    rig.client.publish(
        TOPICS.meter(METER, "history"), f'{{"readings":[{reading(2)},{reading(3, power="x")}]}}'
    )
    eventually(lambda: rig.confirmed() == {1, 2, 3}, what="stored 1…3")
    assert rig.seqs() == [2]


def test_duplicates_are_stored_once_and_confirmed_again(rig: Rig) -> None:
    rig.client.publish(READING, reading(1, power=5), retain=True)
    eventually(lambda: rig.confirmed() == {1})
    rig.client.all.clear()
    rig.client.publish(READING, reading(1, power=6))
    eventually(lambda: rig.confirmed() == {1})
    eventually(lambda: rig.client.counter("duplicate") == 1)
    meter = rig.meter()
    assert meter is not None
    assert [row.power for row in rig.store.readings(meter)] == [5.0]


def test_an_old_will_does_not_mark_a_new_session_offline(rig: Rig) -> None:
    def status(session: str, *, online: bool, outbox: int) -> str:
        return json.dumps({"online": online, "session": session, "ts": stamp(), "outbox": outbox})

    def seen() -> tuple[bool, int] | None:
        meter = rig.meter()
        return (meter.online, meter.outbox) if meter else None

    topic = TOPICS.meter(METER, "status")
    rig.client.publish(topic, status("s1", online=True, outbox=1))
    rig.client.publish(topic, status("s2", online=True, outbox=2))
    rig.client.publish(topic, status("s1", online=False, outbox=3))
    rig.client.publish(READING, reading(1))
    eventually(lambda: rig.stored(1))
    assert seen() == (True, 2)
    rig.client.publish(topic, status("s2", online=False, outbox=4))
    eventually(lambda: seen() == (False, 4))


def test_every_command_leaves_a_record(rig: Rig) -> None:
    def result(command_id: str, outcome: str, reason: str = "") -> str:
        return json.dumps({"command_id": command_id, "outcome": outcome, "reason": reason, "ts": stamp()})

    to, back = TOPICS.meter(METER, "command"), TOPICS.meter(METER, "result")
    rig.client.publish(to, command("done"))
    rig.client.publish(back, result("done", "done"))
    rig.client.publish(to, command("done"))
    rig.client.publish(back, result("done", "refused", "repeated"))
    rig.client.publish(to, command("expired"))
    rig.client.publish(back, result("expired", "expired", "came too late"))
    rig.client.publish(to, command("retained"), retain=True)
    rig.client.publish(to, b"", retain=True)
    rig.client.publish(to, command("half", position="half"))
    rig.client.publish(back, result("half", "refused", "no such position"))
    rig.client.publish(back, result("unheard", "failed", "stuck"))
    refusal = {
        "meter_id": OTHER,
        "command": json.loads(command("offline")),
        "reason": "offline",
        "ts": stamp(),
    }
    rig.client.publish(TOPICS.refused("mms"), json.dumps(refusal))
    eventually(lambda: rig.store.command("offline"))
    ledger = {row.command_id: row for row in rig.store.commands()}
    assert {name: row.outcome for name, row in ledger.items()} == {
        "done": "done", "expired": "expired", "retained": "refused", "half": "refused", "unheard": "failed",
        "offline": "refused",
    }  # fmt: skip
    assert ledger["done"].repeats == 1
    assert (ledger["done"].origin_category, ledger["done"].origin_identifier) == (
        "remote-control",
        "operator",
    )
    assert "retained" in ledger["retained"].reason
    assert ledger["half"].reason == "position: Input should be 'open' or 'closed'"
    assert (ledger["offline"].meter_id, ledger["offline"].reason) == (OTHER, "offline")


def logical_devices(xml: bytes) -> set[str]:
    """ldNames of the meters in an SCD or CID."""
    return set(etree.fromstring(xml).xpath("//s:LDevice/@ldName", namespaces={"s": NAMESPACE}))


def test_births_make_an_scd_and_births_that_change_nothing_make_no_revision(rig: Rig) -> None:
    rig.client.publish(BIRTH, birth(), retain=True)
    first = rig.wait_revision()
    assert (first.revision, first.meters, first.ieds) == (1, 1, 1)
    scd = rig.client.latest[TOPICS.scd]
    assert first.sha256 == hashlib.sha256(scd).hexdigest()
    assert (
        logical_devices(scd) == logical_devices(rig.client.latest[TOPICS.cid("SMGW001")]) == {scl_name(METER)}
    )

    rig.client.publish(BIRTH, birth(session="s2", ip="10.0.0.9"), retain=True)
    rig.client.publish(TOPICS.meter(OTHER, "birth"), birth(hardware={"serial": "2"}), retain=True)
    second = rig.wait_revision(lambda new: new != first)
    assert (second.revision, second.meters) == (2, 2), "the birth that changed nothing made no revision"
    assert [(row.revision, row.what) for row in rig.store.revisions()] == [
        (2, "1 meter added"),
        (1, "1 meter added"),
    ]

    rig.client.latest.clear()
    assert rig.bridge.stop() == 0
    rig.bridge.start()
    assert rig.wait_revision() == second, "the same registry gives the same bytes"
    assert hashlib.sha256(rig.client.latest[TOPICS.scd]).hexdigest() == second.sha256


def test_births_come_together_in_one_revision(rig: Rig) -> None:
    for number in range(120):
        meter = str(uuid.UUID(int=0x7777_0000 + number))
        rig.client.publish(TOPICS.meter(meter, "birth"), birth(hardware={"serial": str(number)}))
    final = rig.wait_revision(lambda new: new.meters == 120)
    assert final.ieds == 3
    assert final.revision <= 4, "debounced: not a revision for each birth"
    cids = [rig.client.latest[TOPICS.cid(f"SMGW{number:03d}")] for number in (1, 2, 3)]
    assert [len(logical_devices(cid)) for cid in cids] == [50, 50, 20]
    ports = [etree.fromstring(cid).findtext(f".//{{{NAMESPACE}}}P[@type='MMS-Port']") for cid in cids]
    assert ports == ["102", "103", "104"]


def test_a_withdrawn_meter_leaves_the_scd_and_comes_back(rig: Rig) -> None:
    rig.client.publish(BIRTH, birth(), retain=True)
    rig.wait_revision()
    for kind in ("birth", "status", "reading", "relay"):
        rig.client.publish(TOPICS.meter(METER, kind), b"", retain=True)
    gone = rig.wait_revision(lambda new: new.revision == 2)
    assert (gone.meters, gone.ieds) == (0, 0)
    assert rig.client.latest[TOPICS.cid("SMGW001")] == b""
    assert logical_devices(rig.client.latest[TOPICS.scd]) == set()
    rig.client.publish(BIRTH, birth(), retain=True)
    back = rig.wait_revision(lambda new: new.revision == 3)
    assert back.meters == 1
    assert logical_devices(rig.client.latest[TOPICS.cid("SMGW001")]) == {scl_name(METER)}
    assert rig.dead() == []


def test_only_the_changed_ied_is_published_again(rig: Rig) -> None:
    meters = [str(uuid.UUID(int=0x7777_0000 + number)) for number in range(51)]
    for number, meter in enumerate(meters):
        rig.client.publish(TOPICS.meter(meter, "birth"), birth(hardware={"serial": str(number)}))
    rig.wait_revision(lambda new: new.meters == 51)
    rig.client.all.clear()
    rig.client.publish(TOPICS.meter(meters[50], "birth"), birth(name="Mill", hardware={"serial": "50"}))
    eventually(lambda: TOPICS.revision in [topic for topic, _ in rig.client.all])
    topics = [topic for topic, _ in rig.client.all if topic.startswith("sm/v1/scl/")]
    assert topics == [TOPICS.cid("SMGW002"), TOPICS.scd, TOPICS.revision], "and the revision comes last"


def test_a_clean_stop_says_offline_and_leaves_nothing_unstored(rig: Rig) -> None:
    for seq in range(1, 201):
        rig.client.publish(READING, reading(seq))
    started = utc_now()
    assert rig.bridge.stop() == 0
    assert utc_now() - started < timedelta(seconds=5)
    eventually(lambda: not rig.client.online())
    assert rig.seqs() == list(range(1, 201))


def test_the_last_will_says_offline(rig: Rig) -> None:
    rig.bridge.kill()
    eventually(lambda: not rig.client.online())


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_stop_it(rig: Rig, signal_number: signal.Signals) -> None:
    assert rig.bridge.process is not None
    rig.bridge.process.send_signal(signal_number)
    assert rig.bridge.process.wait(5) == 0


def test_everything_works_on_mqtt_3_1_1(broker: Broker, sqlite_url: str) -> None:
    mqtt = {"port": broker.port, "version": 4}
    with bridge(broker, sqlite_url, mqtt=mqtt) as running, Client(broker) as client:
        eventually(client.online)
        with Store.open(sqlite_url) as store:
            rig = Rig(broker, running, store, client)
            client.publish(BIRTH, birth(), retain=True)
            client.publish(READING, reading(1), retain=True)
            eventually(lambda: rig.confirmed() == {1})
            assert rig.wait_revision().meters == 1
            client.publish(BIRTH, b"", retain=True)
            rig.wait_revision(lambda new: new.meters == 0)
            assert rig.dead() == [], "on 3.1.1 the bridge hears itself, and does not mind"


def test_the_same_chain_on_postgresql(broker: Broker, postgres_url: str) -> None:
    with bridge(broker, postgres_url) as running, Client(broker) as client:
        eventually(client.online)
        with Store.open(postgres_url) as store:
            rig = Rig(broker, running, store, client)
            client.publish(BIRTH, birth(), retain=True)
            client.publish(READING, reading(1), retain=True)
            client.publish(READING, b"{")
            client.publish(TOPICS.meter(METER, "command"), command("c-1"))
            eventually(lambda: store.command("c-1"))
            assert (rig.seqs(), len(rig.dead())) == ([1], 1)
            assert rig.wait_revision().meters == 1
