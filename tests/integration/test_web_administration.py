"""Administration over the API and on its pages: the audit, settings, users, blocks; who may see what."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.store import audit
from bridge.store.audit import Event, Kind
from broker.contract.block import Block
from broker.contract.enrolment import Access
from broker.contract.messages import format_ts, utc_now
from broker.contract.relay import Origin, OriginCategory
from broker.environment import ENV, ESSENTIAL
from broker.mqtt.settings import MqttSettings
from tests.support.bridges import TOPICS, birth
from tests.support.certificates import Authority
from tests.support.inside import Inside, inside
from tests.support.stores import DAY0, meter_id, row
from web.api.settings import HIDDEN, setting_rows
from web.audit import Event as WebEvent
from web.audit import listeners
from web.auth.accounts import Role
from web.pages.administration import BLOCK_ROWS
from web.settings import WebSettings

HOUR = 3_600_000
SECRET = "correct-horse-61850"
EVENTS = (
    Event(Kind.LOGIN, who="anna", origin="web 192.0.2.7", outcome="done"),
    Event(
        Kind.COMMAND_ENDED, who="operator anna", origin="mms 10.0.0.1", meter_id=meter_id(1), outcome="done"
    ),
    Event(Kind.CREDENTIALS_REVOKED, who="root", origin="cli desk4", identity="billing"),
    Event(Kind.WEB, who="bert", origin="web 192.0.2.8", outcome="denied", detail={"action": "POST"}),
)
"""One an hour from DAY0 on."""


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """An application whose audit has some rows, and a meter, Meter 1."""
    with inside(tmp_path_factory.mktemp("web")) as web:
        web.kept.put(row(1, 1, ts=DAY0))
        with web.kept.engine.begin() as connection:
            for hours, event in enumerate(EVENTS):
                audit.append(connection, [event], now=DAY0 + hours * HOUR)
        yield web


@pytest.fixture
def web(application: Inside) -> Inside:
    """With a client that is an administrator."""
    application.client.cookies.clear()
    as_role(application, Role.ADMINISTRATOR)
    return application


def as_role(web: Inside, role: Role) -> None:
    web.client.headers["Authorization"] = f"Bearer {web.parts.accounts.add_token('someone', role)}"


@pytest.mark.parametrize("path", ["/audit", "/api/v1/audit"])
@pytest.mark.parametrize("role", Role)
async def test_only_administrators_see_it(web: Inside, role: Role, path: str) -> None:
    as_role(web, role)
    answer = await web.client.get(path)
    assert answer.status_code == (200 if role is Role.ADMINISTRATOR else 403)
    assert ("192.0.2.7" in answer.text) == (role is Role.ADMINISTRATOR)
    first = (await web.client.get("/health")).text
    assert ('href="/audit"' in first) == (role is Role.ADMINISTRATOR), "no link that would be refused"


async def numbers(web: Inside, **query: Any) -> list[int]:
    """Of the rows that are found, the newest first."""
    answer = await web.client.get("/api/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    return [found["no"] for found in answer.json()["audit"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [4, 3, 2, 1]),
        ({"start": "2026-11-23T01:00:00Z", "end": "2026-11-23T03:00:00Z"}, [3, 2]),
        ({"start": "2026-11-23T03:00", "time_zone": "Europe/Zurich"}, [4, 3]),
        ({"event": "login"}, [1]),
        ({"who": "anna"}, [2, 1]),
        ({"who": "%"}, []),
        ({"subject": meter_id(1)}, [2]),
        ({"subject": "billing"}, [3]),
        ({"subject": "nobody"}, []),
        ({"limit": 2}, [4, 3]),
    ],
)
async def test_filters(web: Inside, query: dict[str, Any], found: list[int]) -> None:
    assert await numbers(web, **query) == found
    page = await web.client.get("/audit", params={name: query[name] for name in query if name != "limit"})
    shown = [int(part.partition('"')[0]) for part in page.text.split('<tr data-key="')[1:] if part[0] != '"']
    assert shown == (found if "limit" not in query else [4, 3, 2, 1]), "the page has the same rows"


async def test_a_page_after_the_other(web: Inside) -> None:
    query: dict[str, Any] = {"limit": 3, "start": "2026-11-23"}
    first = (await web.client.get("/api/v1/audit", params=query)).json()
    assert [found["no"] for found in first["audit"]] == [4, 3, 2]
    second = (await web.client.get("/api/v1/audit", params=query | {"after": first["next"]})).json()
    assert ([found["no"] for found in second["audit"]], second["next"]) == ([1], None)
    (one,) = second["audit"]
    assert (one["who"], one["origin"], one["ts"]) == ("anna", "web 192.0.2.7", "2026-11-23T00:00:00.000Z")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"event": "gossip"}, "event"),
        ({"start": "yesterday"}, "start"),
        ({"start": "2026-11-24", "end": "2026-11-23"}, "not before"),
        ({"after": "nonsense"}, "cursor"),
        ({"after": "WzE4NDQ2NzQ0MDczNzA5NTUxNjE2XQ"}, "cursor"),
        ({"time_zone": "Nowhere"}, "Nowhere"),
    ],
)
async def test_a_query_that_is_none(web: Inside, query: dict[str, str], said: str) -> None:
    for path in ("/api/v1/audit", "/audit"):
        answer = await web.client.get(path, params=query)
        assert answer.status_code == 422
        assert said in answer.text


async def test_settings_and_where_they_come_from(
    web: Inside, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of each source one; a variable that the command line overrides is not named as the source."""
    file = tmp_path / ENV
    file.write_text("".join(f"{name}=x\n" for name in ESSENTIAL) + "METER61850_WEB_SESSION_HOURS=6\n")
    monkeypatch.setenv("METER61850_WEB_SESSION_HOURS", "6")
    monkeypatch.setenv("METER61850_WEB_STREAM_CLIENTS", "7")
    monkeypatch.setenv("METER61850_WEB_PORT", "9999")
    monkeypatch.setenv("METER61850_DIR", str(tmp_path))
    monkeypatch.setenv("METER61850_MQTT_PASSWORD", SECRET)
    url = f"postgresql://web:{SECRET}@db/meter61850?password={SECRET}"
    settings = WebSettings(port=8061, database_url=url, users=web.parts.settings.users)
    assert settings.mqtt.password is not None
    told = {row["name"]: row for row in setting_rows(settings, os.environ)}
    sources = {
        "SESSION_HOURS": ("6.0", "file", str(file)),
        "STREAM_CLIENTS": ("7", "environment", ""),
        "PORT": ("8061", "command line", ""),
        "HOST": ("127.0.0.1", "default", ""),
        "CERTIFICATE": ("", "default", ""),
    }
    for name, expected in sources.items():
        found = told[f"METER61850_WEB_{name}"]
        assert (found["value"], found["source"], found["file"]) == expected
    assert told["METER61850_DATABASE_URL"]["value"] == "postgresql://web:***@db/meter61850"
    assert told["METER61850_MQTT_PASSWORD"]["value"] == HIDDEN
    assert SECRET not in repr(told)
    assert all(row["meaning"] for row in told.values())


def test_the_identity_is_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "connection.toml").write_text('host = "broker.example"\nport = 8882\nusername = "web"\n')
    (folder / "token").write_text(SECRET)
    (folder / "token").chmod(0o600)
    (folder / "ca.crt").write_bytes(Authority(tmp_path / "ca").cert.read_bytes())
    settings = WebSettings(mqtt=MqttSettings(identity=folder, port=8883))
    told = {row["name"].removeprefix("METER61850_MQTT_"): row for row in setting_rows(settings, {})}
    assert (told["HOST"]["source"], told["HOST"]["file"]) == ("file", str(folder / "connection.toml"))
    assert (told["PORT"]["value"], told["PORT"]["source"]) == ("8883", "command line")
    assert SECRET not in repr(told)


async def test_a_page_shows_them_to_administrators(web: Inside) -> None:
    for path in ("/settings", "/api/v1/settings"):
        assert "METER61850_WEB_PORT" in (await web.client.get(path)).text
    as_role(web, Role.OPERATOR)
    for path in ("/settings", "/api/v1/settings"):
        assert (await web.client.get(path)).status_code == 403


async def test_the_sessions_of_one_user_are_ended(web: Inside) -> None:
    for name in ("carla", "dora"):
        web.parts.accounts.add(name, Role.OPERATOR, password=SECRET)
    carla, dora = map(web.parts.accounts.get, ("carla", "dora"))
    assert carla is not None
    assert dora is not None
    cookies = [web.parts.sessions.open(account) for account in (carla, carla, dora)]
    told = (await web.client.get("/api/v1/users")).json()["users"]
    known = {user["name"]: (user["role"], user["kind"], user["sessions"]) for user in told}
    assert known["carla"] == ("operator", "password", 2)
    assert known["someone"] == ("administrator", "token", 0)
    assert SECRET not in repr(told)
    assert carla.secret not in (await web.client.get("/users")).text
    heard: list[WebEvent] = []
    listeners.append(heard.append)
    try:
        answer = await web.client.post("/api/v1/users/carla/sessions/end")
    finally:
        listeners.remove(heard.append)
    assert answer.json() == {"ended": 2}
    assert [(event.action, event.actor, event.subject) for event in heard] == [
        ("sessions-end", "someone", "carla")
    ]
    open_ones = [cookie for cookie in cookies if web.parts.sessions.find(cookie)]
    assert open_ones == cookies[2:], "those of others stay"
    gone = await web.client.post("/api/v1/users/nobody/sessions/end")
    assert (gone.status_code, "nobody" in gone.json()["detail"]) == (404, True)


@pytest.mark.parametrize("role", [Role.OBSERVER, Role.OPERATOR])
async def test_users_are_for_administrators(web: Inside, role: Role) -> None:
    account = web.parts.accounts.get("anna")
    assert account is not None
    cookie = web.parts.sessions.open(account)
    as_role(web, role)
    for path in ("/users", "/api/v1/users"):
        assert (await web.client.get(path)).status_code == 403
    assert (await web.client.post("/api/v1/users/anna/sessions/end")).status_code == 403
    assert web.parts.sessions.find(cookie)


async def test_what_is_blocked_and_what_releases_it(web: Inside) -> None:
    """For every reader; there is nothing to press: the web may not."""
    as_role(web, Role.OBSERVER)
    assert (await web.client.get("/api/v1/blocks")).json() == {"blocks": []}
    origin = Origin(category=OriginCategory.MAINTENANCE, identifier="otto")
    first = Block.changed(None, opening=None, closing=True, origin=origin)
    then = Block.changed(first, opening=True, closing=None, origin=origin)
    out = Access(allowed=False, reason="stolen", ts=utc_now())
    for number, name in ((1, "House <1>"), (2, "House 2")):
        web.parts.live.take(TOPICS.meter(meter_id(number), "birth"), birth(name=name).encode(), retained=True)
    web.parts.live.take(TOPICS.meter(meter_id(1), "block"), then.payload(), retained=True)
    web.parts.live.take(TOPICS.meter(meter_id(2), "access"), out.payload(), retained=True)
    told = (await web.client.get("/api/v1/blocks")).json()["blocks"]
    found = {(row["name"], row["what"]): row for row in told}
    assert found.keys() == {("House <1>", "opening"), ("House <1>", "closing"), ("House 2", "connecting")}
    closing = found["House <1>", "closing"]
    assert (closing["since"], closing["by"]) == (format_ts(first.ts), "maintenance otto")
    assert closing["release"] == "meter61850 relay block 'House <1>' --closing --release"
    out_row = found["House 2", "connecting"]
    assert (out_row["since"], out_row["reason"]) == (format_ts(out.ts), "stolen")
    assert out_row["release"] == "meter61850 meters unblock 'House 2'"
    page = (await web.client.get("/blocks")).text
    assert "House &lt;1&gt;" in page
    assert "<strong>switching on</strong>" in page
    assert "stolen" in page
    for number in range(3, 10 + BLOCK_ROWS):
        web.parts.live.take(TOPICS.meter(meter_id(number), "access"), out.payload(), retained=True)
    page = (await web.client.get("/blocks")).text
    assert page.count("meters unblock") + page.count("relay block") == BLOCK_ROWS
    assert ">10 more" in page
    for number in range(3, 10 + BLOCK_ROWS):
        web.parts.live.take(TOPICS.meter(meter_id(number), "access"), b"", retained=True)
    released = Block.changed(then, opening=False, closing=False, origin=origin)
    web.parts.live.take(TOPICS.meter(meter_id(1), "block"), released.payload(), retained=False)
    told = (await web.client.get("/api/v1/blocks")).json()["blocks"]
    assert [row["what"] for row in told] == ["connecting"]
