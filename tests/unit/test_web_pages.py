"""What a page says that it is as new as."""

from __future__ import annotations

import re
from pathlib import Path

import anyio
import httpx
import pytest

import web.pages.pages
from web.app import make_app
from web.auth.accounts import Accounts, Role
from web.parts import Parts
from web.run import make_parts
from web.settings import WebSettings


def test_what_happens_while_a_page_reads_comes_after_its_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = WebSettings(users=tmp_path / "users.json", database_url=f"sqlite:///{tmp_path}/none.sqlite")
    token = Accounts(settings.users).add_token("program", Role.OBSERVER)
    parts = make_parts(settings)

    def slow(parts: Parts) -> str:
        parts.hub.tell("service", b"{}")
        return "ok"

    monkeypatch.setattr(web.pages.pages, "database_state", slow)
    before = parts.hub.position
    page = anyio.run(_health, parts, token)
    assert re.findall('name="since" content="([^"]+)"', page) == [before]
    assert parts.hub.position != before


async def _health(parts: Parts, token: str) -> str:
    transport = httpx.ASGITransport(make_app(parts, None))
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/html"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        return (await client.get("/health")).text
