"""What raises and clears alarms of states, on real databases: once each, over restarts and absences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update
from sqlmodel import col

from bridge.alarms.states import Limits
from bridge.alarms.watch import Feed, Rules, Watch
from bridge.store import alarms
from bridge.store.alarms import AlarmRecord
from bridge.store.clock import Clock
from bridge.store.tables import HOUR_MS, Command, DeadLetter, Meter
from broker.contract.alarms import Alarms
from broker.contract.messages import utc_now
from broker.contract.status import ServiceStatus
from tests.support.bridges import TOPICS
from tests.support.stores import NOW, Kept, keeping, meter_id, row

pytest_plugins = ("tests.support.databases",)


@dataclass
class Looks:
    """Looks at a database, as the leading bridge does, at times that the test chooses."""

    kept: Kept
    monkeypatch: pytest.MonkeyPatch
    published: dict[str, bytes] = field(default_factory=dict)
    settle: float = 0.0
    disk_mb: int = 0
    messages: int = 0
    connected: bool = True
    clock: bool = True
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Another process, which has just connected and heard what is retained."""
        limits = Limits(207.0, 253.0, 2.3)
        folder = Path("/dev/shm")
        rules = Rules(0.0, self.settle, limits, folder, self.disk_mb, dead_letters=10)
        feed = Feed(lambda: self.connected, lambda: self.messages, lambda: self.messages)
        engine = self.kept.engine
        self.watch = Watch(
            engine, engine, TOPICS, rules,
            publish=self._publish, feed=feed, clock=Clock(), clock_kept=lambda: self.clock,
        )  # fmt: skip
        self.connect()

    def connect(self) -> None:
        """A new connection to the broker, with what it retains."""
        self.watch.begin()
        self.watch.take([(topic.encode(), payload) for topic, payload in self.published.items()], [])
        self.watch.ready()

    def _publish(self, topic: str, payload: bytes) -> None:
        self.published[topic] = payload

    def at(self, now: int) -> list[str]:
        """What is in force after a look at ``now``: kinds, sorted."""
        self.messages += 1
        self.monkeypatch.setattr("bridge.alarms.watch.now_ms", lambda: now)
        self.watch.look()
        return sorted(one.kind for one in self.kept.store.alarms())

    def all(self) -> list[AlarmRecord]:
        """All that ever were, the oldest first."""
        return self.kept.store.alarms(last=1000)[::-1]

    def meter(self, number: int = 1, **values: Any) -> None:
        """A meter as the registry has it: born, online, with a reading of now."""
        known = {"online": True, "interval": 10.0, "born_at": NOW, "read_at": NOW, "name": f"House {number}"}
        own = col(Meter.meter_id) == meter_id(number)
        with self.kept.engine.begin() as connection:
            connection.execute(update(Meter).where(own).values(**(known | values)))


@pytest.fixture
def looks(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Looks]:
    with keeping(database_url) as kept:
        kept.put(row(1, 1, ts=NOW, voltage=230.0))
        found = Looks(kept, monkeypatch)
        found.meter()
        yield found


def test_a_state_is_raised_once_and_cleared_once(looks: Looks) -> None:
    assert looks.at(NOW) == []
    for values, kind in (
        ({"online": False}, "offline"),
        ({"clock_synchronized": False}, "clock"),
    ):
        looks.meter(**values)
        assert [looks.at(NOW + 1000 * n) for n in range(3)] == [[kind]] * 3
        looks.restart()
        assert looks.at(NOW + 5000) == [kind], "another bridge"
        looks.meter(online=True, clock_synchronized=True)
        assert [looks.at(NOW + 6000 + 1000 * n) for n in range(2)] == [[]] * 2
    assert [(one.kind, one.cleared_at) for one in looks.all()] == [
        ("offline", NOW + 6000),
        ("clock", NOW + 6000),
    ]


@pytest.mark.parametrize("values", [{"retired_at": NOW}, {"blocked": "stolen"}, {"born_at": None}])
def test_a_meter_out_of_service_has_no_alarm(looks: Looks, values: dict[str, Any]) -> None:
    looks.meter(online=False, clock_synchronized=False)
    assert looks.at(NOW) == ["clock", "offline"]
    looks.meter(online=False, clock_synchronized=False, **values)
    assert looks.at(NOW + 1000) == []


def test_a_bridge_that_was_away_makes_no_storm(looks: Looks) -> None:
    """Every meter looks stale to it, and offline where the broker has lost what it retained."""
    for number in range(2, 30):
        looks.kept.put(row(number, 1, ts=NOW))
        looks.meter(number)
    looks.meter(1, online=False)
    looks.meter(2, read_at=NOW - HOUR_MS)
    assert looks.at(NOW) == ["offline"], "it was silent before we listened: not sure"
    looks.settle = 3600.0
    later = NOW + 10 * HOUR_MS
    looks.restart()
    for number in range(2, 30):
        looks.meter(number, online=number % 2 == 0)
    assert looks.at(later) == ["offline"]
    (alarm,) = looks.all()
    assert (alarm.name, alarm.cleared_at) == ("House 1", None)
    looks.meter(1)
    assert looks.at(later + 1000) == [], "what is over may be cleared at once"


def test_who_hears_nothing_says_nothing(looks: Looks) -> None:
    assert looks.at(NOW) == []
    looks.meter(online=False)
    looks.connected = False
    assert looks.at(NOW + 1000) == []
    looks.connected = True
    object.__setattr__(looks.watch._rules, "deaf", -1.0)  # no message for so long
    assert looks.at(NOW + 2000) == []
    object.__setattr__(looks.watch._rules, "deaf", 30.0)
    assert looks.at(NOW + 3000) == ["offline"]


def test_a_meter_without_readings_is_stale_after_three_intervals_and_a_minute(
    looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert looks.at(NOW) == []
    looks.watch._listening_since -= 1000.0  # we have listened for long
    assert looks.at(NOW + 90_000) == []
    assert looks.at(NOW + 90_001) == ["stale"]
    looks.restart()
    assert looks.at(NOW + 91_000) == ["stale"], "a new bridge is not sure, so it stays"
    looks.meter(read_at=NOW + 92_000)
    assert looks.at(NOW + 93_000) == []


def test_the_voltage_has_a_margin(looks: Looks) -> None:
    steps = [
        (253.0, []), (253.1, ["voltage"]), (252.0, ["voltage"]), (250.8, ["voltage"]), (250.6, []),
        (252.0, []), (206.9, ["voltage"]), (209.2, ["voltage"]), (209.4, []),
    ]  # fmt: skip
    for seq, (volts, wanted) in enumerate(steps, 2):
        looks.kept.put(row(1, seq, ts=NOW + seq * 1000, voltage=volts), now=NOW + seq * 1000)
        looks.meter()
        assert looks.at(NOW + seq * 1000) == wanted, (seq, volts)
    details = [one.detail for one in looks.all()]
    assert details == ["voltage 253.1 V (207 to 253 V)", "voltage 206.9 V (207 to 253 V)"]
    looks.kept.put(row(1, 99, ts=NOW + 99_000, voltage_l1=230.0, voltage_l2=100.0), now=NOW + 99_000)
    looks.meter(online=False)
    assert looks.at(NOW + 99_000) == ["offline", "voltage"]


def command(key: str, outcome: str, *, received_at: int = NOW, position: str = "open") -> dict[str, Any]:
    texts = {"origin_category": "", "origin_identifier": "", "late_outcome": "", "reason": "no answer"}
    numbers = {"retained": False, "repeats": 0, "received_at": received_at}
    return {
        "command_id": key,
        "meter_id": meter_id(1),
        "outcome": outcome,
        "position": position,
        **texts,
        **numbers,
    }


def test_a_relay_that_did_not_move_until_it_does(looks: Looks) -> None:
    def enter(*rows: dict[str, Any]) -> None:
        with looks.kept.engine.begin() as connection:
            connection.execute(insert(Command), list(rows))

    enter(command("old", "timed out", received_at=NOW - 25 * HOUR_MS))
    assert looks.at(NOW) == [], "of yesterday"
    enter(command("a", "done"), command("b", "timed out"), command("c", "refused"), command("d", ""))
    assert looks.at(NOW) == ["relay"]
    assert looks.all()[0].detail == "to open it timed out: no answer"
    assert looks.at(NOW + 48 * HOUR_MS) == ["relay"], "it stays"
    enter(command("e", "done", received_at=NOW + 48 * HOUR_MS))
    assert looks.at(NOW + 48 * HOUR_MS + 1000) == []


def test_the_server_has_alarms_of_its_own(looks: Looks) -> None:
    letters = [
        {
            "topic": "t",
            "payload": b"",
            "size": 0,
            "sha256": str(n),
            "cause": "c",
            "count": 1,
            "confirmed": False,
        }
        for n in range(10)
    ]
    times = {"first_seen": NOW, "last_seen": NOW}
    with looks.kept.engine.begin() as connection:
        connection.execute(insert(DeadLetter), [letter | times for letter in letters[:9]])
    looks.clock = False
    assert looks.at(NOW) == ["clock"]
    with looks.kept.engine.begin() as connection:
        connection.execute(insert(DeadLetter), letters[9] | times)
    registrar = ServiceStatus(
        online=True, version="1", session="s", ts=utc_now(), warnings=("a ends", "b ends")
    )
    looks.watch.take([], [("registrar", registrar)])
    looks.watch._rules = replace(looks.watch._rules, disk_mb=1 << 40)
    assert looks.at(NOW) == ["certificate", "certificate", "clock", "dead-letters", "disk"]
    told = Alarms.model_validate_json(looks.published[TOPICS.service_alarms("bridge")])
    assert len(told.alarms) == 5
    looks.restart()  # it has not heard the registrar yet
    looks.clock = True
    assert looks.at(NOW + HOUR_MS) == ["certificate", "certificate", "dead-letters"], (
        "of an hour it heard a moment"
    )
    looks.watch.take([], [("registrar", registrar.model_copy(update={"warnings": ("a ends",)}))])
    looks.watch._listening_since -= 3601.0
    looks.meter(read_at=NOW + HOUR_MS)
    assert looks.at(NOW + HOUR_MS) == ["certificate"]


def test_what_the_broker_retains_is_what_is_in_force(looks: Looks) -> None:
    own = TOPICS.meter(meter_id(1), "alarms")
    looks.published = {own: b"garbage", TOPICS.meter(meter_id(9), "alarms"): b'{"alarms":[]}'}
    looks.connect()
    looks.at(NOW)
    assert set(looks.published.values()) == {b""}
    looks.meter(online=False)
    looks.at(NOW)
    (told,) = Alarms.model_validate_json(good := looks.published[own]).alarms
    assert (told.kind, told.severity, told.acknowledged_by) == ("offline", "alarm", "")
    looks.published.clear()  # a broker that forgot
    looks.connect()
    looks.at(NOW)
    assert looks.published == {own: good}


def test_old_alarms_are_deleted_and_those_in_force_are_not(looks: Looks) -> None:
    looks.meter(online=False)
    looks.at(NOW)
    with looks.kept.engine.begin() as connection:
        for day in (1, 399, 401):
            one = alarms.Finding(0, "disk", str(day))
            alarms.write(connection, alarms.Changes([one], []), now=NOW - day * 24 * HOUR_MS)
            (key,) = (one.key for one in alarms.standing(connection) if one.kind == "disk")
            alarms.write(connection, alarms.Changes([], [key]), now=NOW - day * 24 * HOUR_MS)
        alarms.purge(connection, now=NOW)
    assert sorted(one.detail for one in looks.all() if one.kind == "disk") == ["1", "399"]
    assert [one.kind for one in looks.kept.store.alarms()] == ["offline"]
