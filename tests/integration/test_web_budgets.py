"""No account and no address has all of what is scarce: memory, live streams, exports, sessions, logins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread

import httpx
import psutil
import pytest

from tests.support.brokers import mosquitto
from tests.support.chain import chain, until
from tests.support.inside import Inside, inside
from tests.support.stores import DAY0, meter_id, row
from tests.support.web import PASSWORD, Web, served
from web.auth.accounts import Account, Role
from web.auth.guesses import Guesses
from web.auth.sessions import MAX_OF_ACCOUNT, Sessions
from web.serving.budgets import Budget, Turns
from web.serving.problem import ProblemError

STREAMS = 4
SECONDS = 60.0
LARGE = 40 * 1024 * 1024
BEGIN = b'<SCL xmlns="http://www.iec.ch/61850/2003/SCL" version="2007" revision="B"><Header id="x"/>'
MUCH = 200 * 1024 * 1024
"""Octets by which the service must not grow; 40 MiB took 1.4 GB."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A web behind a proxy on this machine, so that a test chooses whence it comes."""
    folder = tmp_path_factory.mktemp("web")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METER61850_WEB_STREAMS_PER_ACCOUNT", str(STREAMS))
        patch.setenv("METER61850_WEB_BEHIND_PROXY", "true")
        with mosquitto(folder) as broker, chain(broker, folder) as running:
            running.simulate(1)
            running.wait_for_meters(1)
            with served(running) as web:
                web.wait_for_meters(1)
                until(lambda: web.json("/scl/revisions")["current"], seconds=SECONDS, why="an SCD")
                yield web


def largest(process: psutil.Process, ended: Event) -> list[int]:
    """The memory of the process alone, looked at until ``ended``."""
    found = [process.memory_info().rss]
    while not ended.wait(0.02):
        found.append(process.memory_info().rss)
    return found


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(BEGIN + b'<IED name="a"/>' * (LARGE // 15) + b"</SCL>", id="elements"),
        pytest.param(
            BEGIN + b"<Private>" + b"<a b='c'/>" * (LARGE // 10) + b"</Private></SCL>", id="private"
        ),
        pytest.param(BEGIN + b"<a>" * 200_000 + b"</a>" * 200_000 + b"</SCL>", id="deep"),
    ],
)
def test_a_large_file_costs_the_service_no_memory_and_nobody_else_time(web: Web, body: bytes) -> None:
    process, ended, found = psutil.Process(web.chain.processes["web"].pid), Event(), list[int]()
    watcher = Thread(target=lambda: found.extend(largest(process, ended)))
    watcher.start()
    try:
        with web.program(Role.OBSERVER) as client:
            answer = client.post(
                "/scl/diff", content=body, timeout=SECONDS * 2, headers={"Content-Type": "application/xml"}
            )
    finally:
        ended.set()
        watcher.join()
    assert answer.status_code in (413, 422)
    if len(body) > LARGE // 2:
        assert answer.status_code == 413
        assert "needs more than 512 MiB" in answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert max(found) - found[0] < MUCH
    assert not process.children(recursive=True)
    with web.program() as client:
        scd = client.get("/scl/scd").content
        compared = client.post("/scl/diff", content=scd)
        assert (compared.status_code, compared.json()["differences"]) == (200, [])


def test_one_account_has_its_share_of_the_live_streams(web: Web) -> None:
    with ExitStack() as opened:
        greedy = opened.enter_context(web.program(Role.OBSERVER))
        streams = [opened.enter_context(greedy.stream("GET", "/stream")) for _ in range(STREAMS + 1)]
        assert [stream.status_code for stream in streams] == [200] * STREAMS + [429]
        streams[-1].read()
        assert "live streams of observer-program" in streams[-1].json()["detail"]
        with web.program(Role.OPERATOR) as other, other.stream("GET", "/stream") as stream:
            assert stream.status_code == 200

    def again() -> bool:
        with web.program(Role.OBSERVER) as client, client.stream("GET", "/stream") as stream:
            return stream.status_code == 200

    until(again, seconds=SECONDS, why="who has gone takes no place")


@pytest.fixture
def within(tmp_path: Path) -> Iterator[Inside]:
    """The application and a meter with a reading."""
    with inside(tmp_path) as found:
        found.kept.put(row(1, 1, ts=DAY0, power=21.3))
        yield found


READINGS = f"/api/v1/meters/{meter_id(1)}/readings"
LONG = "start=2026-11-01T00:00:00Z&end=2026-11-25T00:00:00Z&resolution=raw&layout=columns"


@pytest.mark.parametrize(
    ("query", "accept"),
    [("", "text/csv"), ("?limit=10001", "application/json"), (f"?{LONG}", "application/json")],
)
async def test_one_account_has_its_share_of_what_is_large(within: Inside, query: str, accept: str) -> None:
    exports = within.parts.budgets.exports
    with exports.place("anna"), exports.place("anna"):
        answer = await within.client.get(READINGS + query, headers={"Accept": accept})
        assert answer.status_code == 429
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await within.client.get(READINGS)).status_code == 200
    assert (await within.client.get(READINGS + query, headers={"Accept": accept})).status_code == 200


async def test_one_account_compares_one_file_at_a_time(within: Inside) -> None:
    with within.parts.budgets.comparisons.place("anna"):
        answer = await within.client.post("/api/v1/scl/diff", content=b"<SCL/>")
        assert answer.status_code == 429
    with within.parts.budgets.comparisons.place("berta"):
        answer = await within.client.post("/api/v1/scl/diff", content=b"<SCL/>")
        assert answer.status_code == 404  # no SCD is published


def test_a_budget_is_shared() -> None:
    budget = Budget("places", total=3, each=2)
    with budget.place("anna"), budget.place("anna"):
        with pytest.raises(ProblemError) as refused:
            budget.take("anna")
        assert refused.value.status == 429
        with budget.place("berta"):
            with pytest.raises(ProblemError) as refused:
                budget.take("carla")
            assert refused.value.status == 503
    with budget.place("anna"), budget.place("anna"), budget.place("carla"):
        pass


async def test_requests_of_an_account_wait_for_their_turn_and_others_do_not() -> None:
    turns, running, most = Turns(each=2, waiting=3), 0, 0
    done = asyncio.Event()

    async def work(account: str) -> None:
        nonlocal running, most
        async with turns.turn(account):
            running += 1
            most = max(most, running)
            await done.wait()
            running -= 1

    anna = [asyncio.create_task(work("anna")) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(ProblemError, match="3 requests of anna wait"):
        await work("anna")
    assert running == 2
    berta = asyncio.create_task(work("berta"))
    await asyncio.sleep(0)
    assert running == 3
    done.set()
    await asyncio.gather(*anna, berta)
    assert most == 3


def test_an_account_ends_its_own_sessions_alone() -> None:
    sessions = Sessions(seconds=60)
    anna, berta = (Account(name, Role.OBSERVER, "password", "s", "") for name in ("anna", "berta"))
    first, hers = sessions.open(anna), sessions.open(berta)
    cookies = [sessions.open(anna) for _ in range(MAX_OF_ACCOUNT)]
    assert sessions.find(first) is None
    assert sessions.find(hers)
    assert all(map(sessions.find, cookies))


# --- logins --------------------------------------------------------------------------------------


async def guess(client: httpx.AsyncClient, address: str, password: str = "wrong password") -> int:
    form = {"name": "operator", "password": password}
    answer = await client.post("/login", data=form, headers={"X-Forwarded-For": address})
    return answer.status_code


@pytest.mark.parametrize("network", ["198.51.{}.{}", "2001:db8:{}:{}::1"], ids=["IPv4", "IPv6"])
async def test_a_crowd_that_guesses_does_not_delay_an_honest_login(web: Web, network: str) -> None:
    limits = httpx.Limits(max_connections=400)
    async with httpx.AsyncClient(base_url=web.url, limits=limits, timeout=SECONDS) as crowd:
        guesses = [
            asyncio.create_task(guess(crowd, network.format(n % 200, n // 200 + 1))) for n in range(300)
        ]
        async with httpx.AsyncClient(base_url=web.url, timeout=SECONDS) as honest:
            assert await guess(honest, "203.0.113.7", PASSWORD) == 303  # the last to come: the queue is full
            overtaken = sum(not one.done() for one in guesses)
        codes = await asyncio.gather(*guesses)
    assert set(codes) <= {401, 503}
    assert codes.count(503) > 200
    assert overtaken > 0, "its turn came before that of others who had waited for longer"


async def test_a_64_of_ipv6_is_one_address(web: Web) -> None:
    async with httpx.AsyncClient(base_url=web.url, timeout=SECONDS) as client:
        codes = [await guess(client, f"2001:db8:61:850::{number:x}") for number in range(1, 8)]
        assert codes == [401] * 5 + [429] * 2
        assert await guess(client, "2001:db8:61:851::1") == 401
        assert await guess(client, "2001:db8:61:851::2", PASSWORD) == 303


async def test_the_newest_and_those_who_came_in_before_go_first() -> None:
    queue, order = Guesses(at_once=1, waiting=4, of_network=2), list[str]()
    queue.succeeded("known")

    async def come(name: str) -> None:
        try:
            async with queue.turn(name.rstrip("'")):
                order.append(name)
                await asyncio.sleep(0)
        except ProblemError:
            order.append(f"not {name}")

    async with queue.turn("first"):
        tasks = [asyncio.create_task(come(name)) for name in ("a", "a'", "known", "b", "c", "c'", "c'")]
        await asyncio.sleep(0)
        assert all(not task.done() for task in tasks[2:6])
    await asyncio.gather(*tasks)
    refused = [name for name in order if name.startswith("not")]
    assert sorted(refused) == ["not a", "not a'", "not c'"], "pushed out, and too many of one network"
    assert [name for name in order if name not in refused] == ["known", "c'", "c", "b"]


async def test_who_goes_away_while_waiting_takes_no_turn() -> None:
    queue = Guesses(at_once=1, waiting=4, of_network=4)

    async def wait() -> None:
        async with queue.turn("a"):
            pass

    async with queue.turn("a"):
        tasks = [asyncio.create_task(wait()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[2].cancel()
    await asyncio.wait(tasks)
    async with asyncio.timeout(30):
        await wait()
