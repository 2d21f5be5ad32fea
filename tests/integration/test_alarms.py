"""Alarms: raised once, cleared once, over restarts and absences; told, with names, by every face."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.meters.twins import Twins, signs
from bridge.store import alarms
from bridge.store.alarms import Raised
from bridge.store.tables import HOUR_MS
from broker.contract.alarms import Acknowledgement
from broker.contract.birth import Birth
from broker.contract.messages import utc_now
from broker.contract.status import Status
from tests.integration.test_mms_observe import metrics
from tests.support.bridges import (
    BIRTH,
    METER,
    OTHER,
    READING,
    TOPICS,
    Rig,
    birth,
    chain,
    eventually,
    reading,
)
from tests.support.brokers import Broker, free_port
from tests.support.stores import DAY0, NOW, Kept, keeping, meter_id, row
from web.app import make_app
from web.auth.accounts import Accounts, Role
from web.run import make_parts
from web.settings import WebSettings

pytest_plugins = ("tests.support.databases",)

ALARMS = TOPICS.meter(METER, "alarms")
STATUS = TOPICS.meter(METER, "status")


def doctor(url: str) -> list[dict[str, str]]:
    """What it says of alarms; there is no broker, so it fails anyway."""
    command = [sys.executable, "-m", "admin", "doctor", "--json", "--mqtt", "127.0.0.1:1", "--database", url]
    done = subprocess.run(command, capture_output=True, timeout=240, check=False)
    found: list[dict[str, str]] = json.loads(done.stdout)
    return [finding for finding in found if finding["what"].startswith("alarm")]


async def pages(url: str, folder: Path, told: bytes) -> dict[str, str]:
    """Health, fleet, alarms and meter as a browser gets them, and health as a program does."""
    settings = WebSettings(users=folder / "users.json", database_url=url)
    token = Accounts(settings.users).add_token("program", Role.OBSERVER)
    parts = make_parts(settings)
    live = parts.live
    live.take(BIRTH, birth().encode(), retained=True)
    live.take(READING, reading(1, thd_current=3.25).encode(), retained=True)
    live.take(ALARMS, told, retained=True)
    transport = httpx.ASGITransport(make_app(parts, None))
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/html"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        found = {
            path: (await client.get(path)).text for path in ("/health", "/", "/alarms", f"/meters/{METER}")
        }
        api = await client.get("/api/v1/health", headers={"Accept": "application/json"})
    parts.archive.close()
    return found | {"api": api.text}


async def test_twins_are_named_everywhere(broker: Broker, sqlite_url: str, tmp_path: Path) -> None:
    port = free_port()
    with chain(broker, sqlite_url, metrics_port=port, alarm_seconds=0.1) as rig:
        rig.client.publish(READING, reading(1))
        rig.client.publish(TOPICS.meter(OTHER, "birth"), birth(hardware={"serial": "2"}, session="x"))
        for number in range(4):
            place = 1 + number % 2
            told = birth(session=f"s{number}", ip=f"10.0.0.{place}", instance=f"run-{place}")
            rig.client.publish(BIRTH, told)
        (alarm,) = eventually(rig.store.alarms, seconds=60)
        eventually(lambda: rig.store.alarms()[0].count == 2, seconds=60)
        assert (alarm.meter_id, alarm.name, alarm.kind) == (METER, "House 7", "twin")
        names = ("session s2 at 10.0.0.1", "session s3 at 10.0.0.2")
        assert all(name in rig.store.alarms()[0].detail for name in names), rig.store.alarms()
        (finding,) = doctor(sqlite_url)
        assert finding["verdict"] == "fail"
        assert all(word in finding["detail"] for word in (*names, METER, "House 7"))
        measured = metrics(port)
        assert measured["meter61850_alarms[twin]"] == 1
        assert measured["meter61850_alarms[epoch-conflict]"] == 0
        assert measured["meter61850_alarms_unacknowledged"] == 1
        payload = eventually(
            lambda: b'"count":2' in rig.client.latest.get(ALARMS, b"") and rig.client.latest[ALARMS]
        )
        assert isinstance(payload, bytes)
        html = await pages(sqlite_url, tmp_path, payload)
        shown = ("/health", "/alarms", f"/meters/{METER}", "api")
        assert all(name in html[page] for name in names for page in shown)
        assert "alarm: twin" in html["/"]
        assert "thd_current 3.25" in html[f"/meters/{METER}"]
        assert json.loads(html["api"])["alarms"][0]["cure"]


def test_an_event_counts_up_while_it_is_in_force_and_begins_anew(database_url: str) -> None:
    with keeping(database_url) as kept:
        kept.put(row(1, 1, ts=DAY0))
        key = kept.meter().key
        assert key is not None

        def seen(now: int, detail: str, count: int = 1) -> None:
            with kept.engine.begin() as connection:
                alarms.note(connection, [(key, Raised(meter_id(1), "twin", detail, count))], now=now)

        seen(NOW, "a")
        seen(NOW + 1000, "b", 5)
        (alarm,) = kept.store.alarms()
        assert (alarm.detail, alarm.count, alarm.since, alarm.last_seen) == ("b", 6, NOW, NOW + 1000)
        with kept.engine.begin() as connection:
            alarms.write(connection, alarms.Changes([], [alarm.key]), now=NOW + 2000)
            alarms.write(connection, alarms.Changes([], [alarm.key]), now=NOW + 3000)
        assert kept.store.alarms() == []
        seen(later := NOW + HOUR_MS, "c")
        again, before = kept.store.alarms(last=10)
        assert (again.detail, again.count, again.since) == ("c", 1, later)
        assert (before.key, before.cleared_at) == (alarm.key, NOW + 2000), "cleared once"


def test_an_alarm_lives_through_kill_9_and_is_acknowledged_over_mqtt(broker: Broker, sqlite_url: str) -> None:
    with chain(broker, sqlite_url, alarm_seconds=0.1, alarm_settle=0.2) as rig:

        def say(*, online: bool, session: str = "s1") -> None:
            status = Status(online=online, session=session, ts=utc_now())
            rig.client.publish(STATUS, status.payload(), retain=True)

        rig.client.publish(BIRTH, birth(interval=3600), retain=True)  # not stale within the test
        say(online=False)
        (alarm,) = eventually(rig.store.alarms, what="offline")
        assert alarm.kind == "offline"
        eventually(lambda: b'"offline"' in rig.client.latest.get(ALARMS, b""))
        rig.bridge.kill()
        rig.bridge.start()
        acknowledge(rig, alarm.key, meter=OTHER)
        acknowledge(rig, alarm.key)
        acknowledge(rig, alarm.key, by="otto")
        eventually(lambda: b"desk4 anna" in rig.client.latest[ALARMS])
        (after,) = rig.store.alarms(last=10)
        assert (after.key, after.since, after.acknowledged_by) == (alarm.key, alarm.since, "desk4 anna")
        say(online=True)
        eventually(lambda: rig.client.latest[ALARMS] == b"", what="nothing is retained")
        (over,) = rig.store.alarms(last=10)
        assert over.cleared_at is not None
        (event,) = [row for row in rig.store.audit() if row.event == "alarm-acknowledged"]
        assert (event.who, event.meter_id) == ("desk4 anna", METER)


def acknowledge(rig: Rig, key: int, *, meter: str = METER, by: str = "anna") -> None:
    message = Acknowledgement(id=key, by=by, ts=utc_now())
    rig.client.publish(TOPICS.acknowledged("desk4", meter), message.payload())


def test_an_outbox_that_drops_is_an_event(broker: Broker, sqlite_url: str) -> None:
    with chain(broker, sqlite_url) as rig:
        rig.client.publish(BIRTH, birth(), retain=True)
        eventually(rig.meter)
        for dropped in (5, 5, 7, 12):
            status = Status(online=True, session="s1", ts=utc_now(), outbox=9, dropped=dropped)
            rig.client.publish(STATUS, status.payload(), retain=True)
        eventually(lambda: (meter := rig.meter()) and meter.dropped == 12)
        (alarm,) = rig.store.alarms()
        assert (alarm.kind, alarm.count) == ("outbox-dropping", 12)
        assert alarm.detail.endswith("12 in all, 9 wait")


def test_a_counter_that_falls_is_an_event_of_the_last_day(database_url: str) -> None:
    def put(kept: Kept, number: int, *counted: float, first: int = 1, start: int = NOW) -> None:
        numbered = enumerate(counted, first)
        kept.put(*(row(number, seq, ts=start + seq * 1000, energy=wh) for seq, wh in numbered))

    with keeping(database_url) as kept:
        put(kept, 1, 100.0, 101.0, 103.0)
        put(kept, 2, 100.0, 101.0, 3.0, 102.0)
        put(kept, 3, 100.0, 3.0, 101.0, start=NOW - 30 * HOUR_MS)  # it was away, and tells of yesterday
        kept.upkeep(now=NOW + 2 * HOUR_MS)
        (alarm,) = kept.store.alarms()
        assert (alarm.kind, alarm.meter_id, alarm.count) == ("counter-doubtful", meter_id(2), 1)
        assert alarm.detail == "steps left out of the energy of the hour from 2026-12-03 00:00 UTC: 1"
        put(kept, 2, 103.0, first=9)
        kept.upkeep(now=NOW + 3 * HOUR_MS)
        assert kept.store.alarms()[0].count == 1, "summed up again, it is the same"


START = utc_now()


def told(number: int, session: str, **values: Any) -> Birth:
    ts = (START + timedelta(seconds=number)).isoformat()
    return Birth.model_validate_json(birth(session=session, ts=ts, **values))


# fmt: off
ONE_METER: dict[str, list[Birth]] = {
    "reconnects": [told(n, f"s{n}", ip="10.0.0.1", instance="a") for n in range(5)],
    "restarts": [told(n, f"s{n}", ip="10.0.0.1", instance=f"run{n}") for n in range(5)],
    "two addresses": [told(n, f"s{n}", ip=f"10.0.0.{n % 2}", instance="a") for n in range(5)],
    "older, reconnects": [told(n, f"s{n}", ip="10.0.0.1") for n in range(5)],
    "heard again": [told(n, f"s{n}", instance=f"run{n}") for n in (1, 2, 1, 2, 1)],
    "told twice": [told(1, "s1", instance="a"), told(2, "s2", instance="b"), told(1, "s1", instance="a")],
    "NTP comes": [told(n, "s", instance="a") for n in range(3)],
    "moved": [told(1, "s1", ip="10.0.0.1"), told(2, "s2", ip="10.0.0.2"), told(3, "s3", ip="10.0.0.2")],
}
TWO_METERS: dict[str, list[Birth]] = {
    "instances": [told(n, f"s{n}", instance="ab"[n % 2]) for n in range(3)],
    "at the same time": [told(1, f"s{n}", instance="ab"[n % 2]) for n in range(3)],
    "sessions": [told(n, "ab"[n % 2]) for n in range(3)],
    "addresses": [told(n, f"s{n}", ip=f"10.0.0.{n % 2}") for n in range(3)],
    "an old and a new one": [told(1, "s1", ip="1.1.1.1"), told(2, "s2", ip="1.1.1.2", instance="b"),
                             told(3, "s1", ip="1.1.1.1")],
}
# fmt: on


@pytest.mark.parametrize("births", ONE_METER.values(), ids=ONE_METER.keys())
def test_one_meter_is_no_twin(births: list[Birth]) -> None:
    twins = Twins()
    assert [twins.look(METER, signs(one), now=NOW) for one in births] == [""] * len(births)


@pytest.mark.parametrize("births", TWO_METERS.values(), ids=TWO_METERS.keys())
def test_two_meters_are_found_at_the_third_birth(births: list[Birth]) -> None:
    twins = Twins()
    found = [twins.look(METER, signs(one), now=NOW) for one in births]
    assert found[:2] == ["", ""]
    assert all(f"session {one.session}" in found[2] for one in births[1:])
    again = Twins()
    assert not any(again.look(f"{number}", signs(one), now=NOW) for number, one in enumerate(births))


def test_what_is_long_ago_is_forgotten_and_a_will_says_nothing() -> None:
    twins, hour = Twins(), 3_600_000
    births = TWO_METERS["sessions"]
    assert not any(twins.look(METER, signs(one), now=NOW + n * hour) for n, one in enumerate(births))
    will = Status(online=False, session="a", ts=START + timedelta(minutes=1))
    assert list(signs(will)) == []
