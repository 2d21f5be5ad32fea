"""The web service as its users meet it: the process on a real broker and store, and a plain HTTP client.

>>> with served(chain) as web:  # doctest: +SKIP
...     web.get("/api/v1/meters").json()
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.brokers import free_port, mosquitto
from tests.support.chain import Chain, chain, until
from web.auth.accounts import Accounts, Role

PASSWORD = "correct horse 61850"
API = "/api/v1"


@dataclass
class Web:
    """A running web service with an account for each role."""

    chain: Chain
    port: int
    users: Path
    tokens: dict[Role, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def program(self, role: Role = Role.ADMINISTRATOR, **headers: str) -> httpx.Client:
        """A program with a bearer token of that role."""
        token = {"Authorization": f"Bearer {self.tokens[role]}"}
        return httpx.Client(base_url=self.url + API, headers=token | headers, timeout=60)

    def nobody(self) -> httpx.Client:
        """A client that is not logged in; it keeps cookies."""
        return httpx.Client(base_url=self.url, timeout=60)

    def json(self, path: str, **query: Any) -> Any:
        """What a program reads; AssertionError unless 200."""
        with self.program() as client:
            answer = client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_for_meters(self, count: int, state: str = "online") -> list[str]:
        """Until so many meters are in that state; their ids by name."""
        return until(
            lambda: ids if len(ids := self._in_state(state)) == count else [], why=f"{count} {state}"
        )

    def _in_state(self, state: str) -> list[str]:
        return [meter["meter_id"] for meter in self.json("/meters", state=state, limit=1000)["meters"]]

    def answers(self) -> bool:
        """Whether it serves, and knows that the broker is there."""
        try:
            with self.program() as client:
                return bool(client.get("/meters/latest").json().get("broker"))
        except httpx.TransportError:
            return False


def make_accounts(users: Path) -> dict[Role, str]:
    """A password account (named after its role) and a program for each role; the programs' tokens."""
    accounts = Accounts(users)
    for role in Role:
        accounts.add(role.value, role, password=PASSWORD)
    return {role: accounts.add_token(f"{role.value}-program", role) for role in Role}


def start(chain: Chain, web: Web, *options: str) -> None:
    """Start the process; returns when it serves."""
    where = ("--mqtt", chain.mqtt, "--database", chain.url, "--users", str(web.users))
    chain.start("web", "run", "--port", str(web.port), *where, *options)
    until(web.answers, why="the web service answers")


@contextmanager
def served(chain: Chain, *options: str) -> Iterator[Web]:
    """The web service beside ``chain``, which stops it."""
    users = chain.folder / "web-users.json"
    web = Web(chain, free_port(), users, make_accounts(users))
    start(chain, web, *options)
    yield web


@contextmanager
def beside_meters(folder: Path, *counts: int, options: tuple[str, ...] = ()) -> Iterator[Web]:
    """The web with its ``options`` beside a chain; each of ``counts`` meters can be stopped by itself."""
    with mosquitto(folder) as broker, chain(broker, folder) as running:
        for group, count in enumerate(counts):
            running.simulate(count, first=1 + sum(counts[:group]))
        running.wait_for_meters(sum(counts))
        with served(running, *options) as web:
            web.wait_for_meters(sum(counts))
            yield web


@contextmanager
def limited(folder: Path, most: int) -> Iterator[Web]:
    """One meter, and a web that takes ``most`` commands of an account in a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METER61850_WEB_COMMANDS_PER_MINUTE", str(most))
        with beside_meters(folder, 1) as web:
            yield web


def log_in(client: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    """As a browser does; the answer to the form."""
    headers = {"Origin": str(client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    return client.post("/login", data={"name": name, "password": password}, headers=headers)


def csrf_of(page: str) -> str:
    """The second secret that a page carries."""
    found = re.search(r'name="csrf-token" content="([^"]+)"', page)
    assert found, page[:500]
    return found[1]
