"""What is wrong with one meter is shown by doctor, metrics and pages, with names, until it is over."""

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
from bridge.store.alarms import Kind, Raised
from broker.contract.birth import Birth
from broker.contract.messages import utc_now
from broker.contract.status import Status
from tests.integration.test_mms_observe import metrics
from tests.support.bridges import BIRTH, METER, OTHER, READING, TOPICS, birth, chain, eventually, reading
from tests.support.brokers import Broker, free_port
from tests.support.stores import DAY0, NOW, keeping, meter_id, row
from web.app import make_app
from web.auth.accounts import Accounts, Role
from web.run import make_parts
from web.settings import WebSettings

pytest_plugins = ("tests.support.databases",)


def doctor(url: str) -> list[dict[str, str]]:
    """What it says of alarms; there is no broker, so it fails anyway."""
    command = [sys.executable, "-m", "admin", "doctor", "--json", "--mqtt", "127.0.0.1:1", "--database", url]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    found: list[dict[str, str]] = json.loads(done.stdout)
    return [finding for finding in found if finding["what"].startswith("alarm")]


async def pages(url: str, folder: Path) -> dict[str, str]:
    """Health, fleet and meter as a browser gets them, and health as a program does."""
    settings = WebSettings(users=folder / "users.json", database_url=url)
    token = Accounts(settings.users).add_token("program", Role.OBSERVER)
    parts = make_parts(settings)
    live, kinds = parts.live, dict[str, list[str]]()
    live.take(BIRTH, birth().encode(), retained=True)
    live.take(READING, reading(1, thd_current=3.25).encode(), retained=True)
    for alarm in parts.archive.store.alarms():
        kinds.setdefault(alarm.meter_id, []).append(alarm.kind)
    live.note_alarms(kinds)
    transport = httpx.ASGITransport(make_app(parts, None))
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/html"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        told = {path: (await client.get(path)).text for path in ("/health", "/", f"/meters/{METER}")}
        api = await client.get("/api/v1/health", headers={"Accept": "application/json"})
    parts.archive.close()
    return told | {"api": api.text}


async def test_twins_are_named_everywhere(broker: Broker, sqlite_url: str, tmp_path: Path) -> None:
    port = free_port()
    with chain(broker, sqlite_url, metrics_port=port) as rig:
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
        assert measured["meter61850_meter_alarms[twin]"] == 1
        assert measured["meter61850_meter_alarms[epoch-conflict]"] == 0
        html = await pages(sqlite_url, tmp_path)
        assert all(name in html[page] for name in names for page in ("/health", f"/meters/{METER}", "api"))
        assert "alarm: twin" in html["/"]
        assert "thd_current 3.25" in html[f"/meters/{METER}"]
        assert json.loads(html["api"])["alarms"][0]["cure"]


def test_an_alarm_is_over_by_itself_and_begins_anew(database_url: str) -> None:
    with keeping(database_url) as kept:
        kept.put(row(1, 1, ts=DAY0))
        key = kept.meter().key
        assert key is not None

        def seen(now: int, detail: str, count: int = 1) -> None:
            with kept.engine.begin() as connection:
                alarms.note(connection, [(key, Raised(meter_id(1), Kind.TWIN, detail, count))], now=now)

        seen(NOW, "a")
        seen(NOW + 1000, "b", 5)
        (alarm,) = kept.store.alarms(now=NOW + 1000 + alarms.LASTS_MS)
        assert (alarm.detail, alarm.count, alarm.since, alarm.last_seen) == ("b", 6, NOW, NOW + 1000)
        assert kept.store.alarms(now=NOW + 1001 + alarms.LASTS_MS) == []
        seen(later := NOW + 10 * alarms.LASTS_MS, "c")
        (alarm,) = kept.store.alarms(now=later)
        assert (alarm.detail, alarm.count, alarm.since) == ("c", 1, later)


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
