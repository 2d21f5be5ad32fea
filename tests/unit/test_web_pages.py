"""What a page says that it is as new as."""

from __future__ import annotations

import re
from pathlib import Path

import anyio
import httpx
import pytest

import web.pages.pages
from broker.contract.alarms import AlarmInForce, Alarms
from broker.contract.messages import utc_now
from broker.contract.quantities import QUANTITIES
from broker.contract.topics import Topic
from web.api.stream import PING_SECONDS
from web.app import make_app
from web.auth.accounts import Accounts, Role
from web.live.interests import Interest
from web.pages.assets import FOLDER
from web.pages.curves import curves_of
from web.pages.pages import ALARM_ROWS
from web.parts import Parts
from web.run import make_parts
from web.settings import WebSettings


def test_what_happens_while_a_page_reads_comes_after_its_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, token = _web(tmp_path)

    def slow(parts: Parts) -> str:
        parts.hub.tell("service", b"{}")
        return "ok"

    monkeypatch.setattr(web.pages.pages, "database_state", slow)
    before = parts.hub.position
    page = anyio.run(_page, parts, token, "/health")
    assert re.findall('name="since" content="([^"]+)"', page) == [before]
    assert parts.hub.position != before


def test_three_phases_of_each_quantity_are_drawn_together() -> None:
    together = {names: label for names, label, _ in curves_of(QUANTITIES.values()) if "," in names}
    assert together["power_l1,power_l2,power_l3"] == "Power of all phases"
    assert together["thd_u_l1,thd_u_l2,thd_u_l3"] == "Voltage THD of all phases", "there is no total of it"


def test_a_page_that_hears_nothing_says_so_within_5_s() -> None:
    script = (FOLDER / "live.js").read_text()
    (silent,) = re.findall(r"SILENT_MS = (\d+);", script)
    assert 1000 * PING_SECONDS + int(silent) <= 5000


def test_a_storm_of_alarms_is_one_event_and_no_endless_page(tmp_path: Path) -> None:
    parts, token = _web(tmp_path)
    listener = parts.hub.listen(Interest(frozenset({"alarms"})), since=None)
    for number in range(1, ALARM_ROWS + 51):
        topic = Topic("alarms", f"aaaaaaaa-0000-4000-8000-{number:012d}")
        alarm = AlarmInForce(id=number, kind="offline", severity="alarm", since=utc_now())
        parts.live.handlers["alarms"](topic, Alarms(alarms=(alarm,)).payload(), retained=False)
    parts.hub.flush()
    [frame] = listener.queue.get_nowait() or ()
    assert b"event: alarms" in frame
    for path, rows in (("/alarms", r'data-told="alarm: '), ("/health", r'data-key="alarm \d')):
        page = anyio.run(_page, parts, token, path)
        assert len(re.findall(rows, page)) == ALARM_ROWS
        assert ">50 more" in page


def _web(folder: Path) -> tuple[Parts, str]:
    """The parts of a web service, and the token of an observer."""
    settings = WebSettings(users=folder / "users.json", database_url=f"sqlite:///{folder}/none.sqlite")
    token = Accounts(settings.users).add_token("program", Role.OBSERVER)
    return make_parts(settings), token


async def _page(parts: Parts, token: str, path: str) -> str:
    transport = httpx.ASGITransport(make_app(parts, None))
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/html"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        return (await client.get(path)).text
