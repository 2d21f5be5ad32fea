"""Dead letters over the API: who may retry and purge them, which ones, and what is left in the store."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, make_url, text
from sqlmodel import Session

from bridge.store.dead_letters import MORE, purge
from bridge.store.tables import DeadLetter
from broker.contract.errors import UnavailableError
from tests.support.databases import migrated
from tests.support.inside import Inside, inside
from tests.support.stores import DAY0, meter_id
from web import audit
from web.api.dead_letters import CAUSES, ELSEWHERE, NEVER
from web.audit import Event
from web.auth.accounts import Role

pytest_plugins = ("tests.support.databases",)
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations-store.md"
TOPIC = f"sm/v1/{meter_id(1)}"
LETTERS = (
    (f"{TOPIC}/reading", b'{"seq": 1}', "late", 10),
    (f"{TOPIC}/reading", b"cut of", "late", 60_000),
    (f"{TOPIC}/history", b"[1]", "late", 3),
    (f"{TOPIC}/command", b"{}", "unknown", 2),
    (MORE, b"", "unknown", 0),
)
"""Topic, payload, cause, size; of which the first alone may be sent again by the web."""


@dataclass
class Broker:
    """What was published; after ``most`` of them the broker is away."""

    most: int = 100
    sent: list[tuple[str, bytes]] = field(default_factory=list)

    async def publish(self, topic: str, payload: bytes) -> None:
        if len(self.sent) >= self.most:
            raise UnavailableError("the broker is away")
        self.sent.append((topic, payload))


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    with inside(tmp_path_factory.mktemp("web")) as web:
        yield web


@pytest.fixture
def web(application: Inside) -> Inside:
    """The application with five dead letters, and a client that is an administrator."""
    purge(application.kept.engine)
    put(application.kept.engine)
    application.client.cookies.clear()
    as_role(application, Role.ADMINISTRATOR)
    return application


@pytest.fixture
def events() -> Iterator[list[Event]]:
    """What is told to the audit."""
    told: list[Event] = []
    audit.listeners.append(told.append)
    yield told
    audit.listeners.remove(told.append)


def put(engine: Engine) -> None:
    with Session(engine) as session:
        for key, (topic, payload, cause, size) in enumerate(LETTERS, 1):
            session.add(letter(topic, payload, cause, size=size, key=key))
        session.commit()


def letter(topic: str, payload: bytes, cause: str, *, size: int, key: int) -> DeadLetter:
    """Of which later ones were seen later."""
    name, seen = hashlib.sha256(payload).hexdigest(), DAY0 + key
    return DeadLetter(
        key=key, topic=topic, payload=payload, cause=cause, size=size, sha256=name,
        first_seen=seen, last_seen=seen,
    )  # fmt: skip


def as_role(web: Inside, role: Role) -> None:
    web.client.headers["Authorization"] = f"Bearer {web.parts.accounts.add_token('someone', role)}"


def playing(web: Inside, monkeypatch: pytest.MonkeyPatch, broker: Broker) -> Broker:
    monkeypatch.setattr(web.parts.sender, "publish", broker.publish)
    return broker


async def listed(web: Inside, **query: Any) -> list[int]:
    answer = await web.client.get("/api/v1/dead-letters", params=query)
    assert answer.status_code == 200, answer.text
    return [row["key"] for row in answer.json()["dead_letters"]]


async def test_one_cause_is_chosen_and_all_are_counted(web: Inside) -> None:
    assert await listed(web) == [5, 4, 3, 2, 1]
    assert await listed(web, cause="late", last=2) == [3, 2]
    assert await listed(web, cause="lat") == []
    told = (await web.client.get("/api/v1/dead-letters")).json()
    assert told["causes"] == [{"cause": "late", "count": 3}, {"cause": "unknown", "count": 2}]
    assert [row["left_alone"] for row in told["dead_letters"]] == [NEVER, NEVER, ELSEWHERE, NEVER, ""]


async def test_a_flood_of_causes_makes_no_endless_page(web: Inside) -> None:
    with Session(web.kept.engine) as session:
        for key in range(10, 10 + CAUSES + 50):
            session.add(letter(TOPIC, str(key).encode(), f"cause {key:04}", size=4, key=key))
        session.commit()
    assert len((await web.client.get("/api/v1/dead-letters")).json()["causes"]) == CAUSES
    page = (await web.client.get("/dead-letters", params={"cause": "cause 0159"})).text
    assert page.count("<option") == CAUSES + 2, "beside all, the one that is shown"
    assert "<option selected>cause 0159</option>" in page


async def test_a_retry_sends_only_whole_readings(
    web: Inside, monkeypatch: pytest.MonkeyPatch, events: list[Event]
) -> None:
    broker = playing(web, monkeypatch, Broker())
    answer = await web.client.post("/api/v1/dead-letters/retry", json={"keys": [5, 4, 3, 2, 1]})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["sent"] == [1]
    assert {row["key"]: row["why"] for row in told["left_alone"]} == {
        2: NEVER, 3: ELSEWHERE, 4: NEVER, 5: NEVER,
    }  # fmt: skip
    assert broker.sent == [LETTERS[0][:2]]
    assert await listed(web) == [5, 4, 3, 2]
    (event,) = events
    assert (event.action, event.actor, event.outcome) == ("dead-letters-retry", "someone", "sent")
    assert event.detail == "keys 1"


async def test_one_that_is_bad_again_meanwhile_stays(web: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker()

    async def publish(topic: str, payload: bytes) -> None:
        with web.kept.engine.begin() as connection:
            connection.execute(text("UPDATE dead_letter SET count = count + 1 WHERE key = 1"))
        await broker.publish(topic, payload)

    monkeypatch.setattr(web.parts.sender, "publish", publish)
    await web.client.post("/api/v1/dead-letters/retry", json={"cause": "late"})
    assert len(broker.sent) == 1
    assert 1 in await listed(web)


async def test_a_broker_that_goes_loses_none(
    web: Inside, monkeypatch: pytest.MonkeyPatch, events: list[Event]
) -> None:
    with Session(web.kept.engine) as session:
        for key in (6, 7, 8):
            session.add(letter(f"{TOPIC}/reading", str(key).encode(), "x", size=1, key=key))
        session.commit()
    before = await listed(web, cause="x")
    broker = playing(web, monkeypatch, Broker(most=1))
    answer = await web.client.post("/api/v1/dead-letters/retry", json={"keys": before})
    assert answer.status_code == 503
    assert len(broker.sent) == 1
    assert len(await listed(web, cause="x")) == 2, "those that were not sent"
    assert events[-1].outcome == "failed"


async def test_without_a_broker_nothing_is_lost(web: Inside) -> None:
    answer = await web.client.post("/api/v1/dead-letters/retry", json={"keys": [1]})
    assert (answer.status_code, await listed(web)) == (503, [5, 4, 3, 2, 1])


async def test_purged_ones_are_gone(web: Inside, events: list[Event]) -> None:
    answer = await web.client.post("/api/v1/dead-letters/purge", json={"keys": [1, 4]})
    assert answer.json() == {"deleted": 2}
    assert await listed(web) == [5, 3, 2]
    answer = await web.client.post("/api/v1/dead-letters/purge", json={"cause": "late"})
    assert answer.json() == {"deleted": 2}
    assert await listed(web) == [5]
    assert [(event.action, event.detail) for event in events] == [
        ("dead-letters-purge", "keys 1, 4"),
        ("dead-letters-purge", "keys 3, 2"),
    ]


@pytest.mark.parametrize("action", ["retry", "purge"])
@pytest.mark.parametrize("role", [Role.OBSERVER, Role.OPERATOR])
async def test_others_than_administrators_look(web: Inside, role: Role, action: str) -> None:
    as_role(web, role)
    answer = await web.client.post(f"/api/v1/dead-letters/{action}", json={"keys": [1]})
    assert answer.status_code == 403
    assert await listed(web) == [5, 4, 3, 2, 1]
    page = (await web.client.get("/dead-letters")).text
    assert TOPIC in page
    assert "data-letters" not in page, "no button that would be refused"


@pytest.mark.parametrize("action", ["retry", "purge"])
async def test_a_page_of_another_site_deletes_nothing(web: Inside, action: str) -> None:
    """A session without its second secret."""
    account = web.parts.accounts.get("someone")
    assert account is not None
    del web.client.headers["Authorization"]
    web.client.cookies.set("meter61850_session", web.parts.sessions.open(account))
    answer = await web.client.post(f"/api/v1/dead-letters/{action}", json={"keys": [1]})
    assert (answer.status_code, await listed(web)) == (403, [5, 4, 3, 2, 1])


@pytest.mark.parametrize("action", ["retry", "purge"])
@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "one of the two"),
        ({"keys": [1], "cause": "late"}, 422, "one of the two"),
        ({"keys": []}, 422, "keys"),
        ({"keys": [0]}, 422, "keys"),
        ({"all": True}, 422, "all"),
        ({"keys": [1, 99]}, 404, "no dead letter 99"),
    ],
)
async def test_a_choice_that_is_none(
    web: Inside, action: str, body: dict[str, Any], status: int, said: str
) -> None:
    answer = await web.client.post(f"/api/v1/dead-letters/{action}", json=body)
    assert answer.status_code == status
    assert said in answer.json()["detail"]
    assert await listed(web) == [5, 4, 3, 2, 1]


async def test_a_role_of_the_database_that_may_not_delete_is_told(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is sent, which would be sent twice. With the right that the manual gives, it is."""
    role = f"web_{make_url(postgres_url).database}"
    (sql,) = re.findall("```sql\n(CREATE ROLE.*?)```", OPERATIONS.read_text(), re.DOTALL)
    *others, right = sql.replace("meter61850_web", role).strip().splitlines()
    engine = migrated(postgres_url)
    put(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("\n".join(others))
    url = make_url(postgres_url).set(username=role).render_as_string(hide_password=False)
    with inside(tmp_path, url=url) as web:
        as_role(web, Role.ADMINISTRATOR)
        broker = playing(web, monkeypatch, Broker())
        for action in ("retry", "purge"):
            answer = await web.client.post(f"/api/v1/dead-letters/{action}", json={"keys": [1]})
            assert (answer.status_code, broker.sent) == (503, [])
            assert "GRANT DELETE ON dead_letter" in answer.json()["detail"]
        with engine.begin() as connection:
            connection.exec_driver_sql(right)
        answer = await web.client.post("/api/v1/dead-letters/retry", json={"keys": [1]})
        assert answer.json()["sent"] == [1]
        assert await listed(web) == [5, 4, 3, 2]
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {role}; DROP ROLE {role}")
    engine.dispose()
