"""Behind a real nginx that ends TLS on another port, with and without a path, as docs/web.md shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.browser import browser, complaints, shows
from tests.support.chain import until
from tests.support.nginx import NAME, proxied
from tests.support.web import PASSWORD, Web, beside_meters, csrf_of
from web.auth.accounts import Role

FLAGS = ("--ignore-certificate-errors", f"--host-resolver-rules=MAP {NAME} 127.0.0.1")
LINK = re.compile(r'(?:href|action|src)="(/[^"]*)"')


@dataclass
class Shown:
    """The web as browsers see it."""

    web: Web
    port: int
    root: str

    @property
    def origin(self) -> str:
        """What a browser calls it."""
        return f"https://{NAME}:{self.port}"

    def client(self, **headers: str) -> httpx.Client:
        """A browser's requests, without its Sec-Fetch-Site."""
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}",
            verify=False,
            headers={"Host": f"{NAME}:{self.port}", **headers},
            timeout=30,
        )

    def program(self, **headers: str) -> httpx.Client:
        """With an operator's token."""
        return self.client(Authorization=f"Bearer {self.web.tokens[Role.OPERATOR]}", **headers)


@contextmanager
def shown(folder: Path, root: str, **proxy: Any) -> Iterator[Shown]:
    """A web with a meter behind nginx; ``proxy`` as of `proxied`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METER61850_WEB_BEHIND_PROXY", "true")
        patch.setenv("METER61850_WEB_NAMES", NAME)
        options = ("--root-path", root) if root else ()
        with (
            beside_meters(folder, 1, options=("--thesis", *options)) as web,
            proxied(folder, web_port=web.port, location=f"{root}/", **proxy) as port,
        ):
            yield Shown(web, port, root)


@pytest.fixture(
    scope="module",
    params=[("/meters", False), ("/meters", True), ("", False), ("/a.b/c", False)],
    ids=["path", "path cut off", "port alone", "two names"],
)
def there(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    root, cut = request.param
    with shown(tmp_path_factory.mktemp("proxy"), root, cut=cut) as found:
        yield found


def log_in(there: Shown, client: httpx.Client) -> httpx.Response:
    form = {"name": "operator", "password": PASSWORD, "next": f"{there.root}/commands"}
    return client.post(f"{there.root}/login", data=form, headers={"Origin": there.origin})


def test_login_cookie_and_logout_stay_below_the_path(there: Shown) -> None:
    with there.client() as client:
        asked = client.get(f"{there.root}/commands")
        assert asked.status_code == 303
        assert asked.headers["location"] == f"{there.root}/login?next={there.root}/commands"
        answer = log_in(there, client)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{there.root}/commands")
        cookie = answer.headers["set-cookie"]
        assert f"; Path={there.root or '/'};" in cookie
        assert "Secure" in cookie
        assert "HttpOnly" in cookie
        page = client.get(answer.headers["location"])
        assert page.status_code == 200
        assert 'aria-current="page">Commands' in page.text
        gone = client.post(
            f"{there.root}/logout", data={"csrf": csrf_of(page.text)}, headers={"Origin": there.origin}
        )
        assert (gone.status_code, gone.headers["location"]) == (303, f"{there.root}/login")
        assert client.get(f"{there.root}/commands").status_code == 303


def test_every_link_of_every_page_stays_below_the_path_and_leads_somewhere(there: Shown) -> None:
    with there.client() as client:
        assert log_in(there, client).status_code == 303
        seen, waiting = set[str](), [f"{there.root}/", f"{there.root}/login", f"{there.root}/no/such/page"]
        while waiting:
            path = waiting.pop()
            seen.add(path)
            answer = client.get(path, headers={"Accept": "text/html, */*;q=0.8"})
            assert answer.status_code == (404 if path.endswith("/no/such/page") else 200), path
            if "text/html" in answer.headers["content-type"]:
                found = {link.replace("&amp;", "&") for link in LINK.findall(answer.text)}
                assert all(link.startswith(f"{there.root}/") for link in found), (path, found)
                waiting += found - seen - set(waiting) - {f"{there.root}/logout"}
        assert len(seen) > 15


def test_an_order_and_what_it_answers(there: Shown) -> None:
    (meter_id,) = there.web.wait_for_meters(1)
    with there.client() as client:
        log_in(there, client)
        csrf = csrf_of(client.get(f"{there.root}/").text)
        path = f"{there.root}/api/v1/meters/{meter_id}/relay"
        position = there.web.json(f"/meters/{meter_id}")["relay"]
        order = {"position": "open" if position == "closed" else "closed"}
        headers = {"X-CSRF-Token": csrf, "Origin": "https://evil.example"}
        assert client.post(path, json=order, headers=headers).status_code == 403
        other_port = {"X-CSRF-Token": csrf, "Origin": f"https://{NAME}:1"}
        assert client.post(path, json=order, headers=other_port).status_code == 403
        answer = client.post(path, json=order, headers={"X-CSRF-Token": csrf, "Origin": there.origin})
        assert answer.status_code == 202, answer.text
        followed = client.get(answer.headers["location"], params={"wait": 10})
        assert followed.json()["state"] == "done"


def test_problems_and_the_description_name_paths_that_exist(there: Shown) -> None:
    with there.program() as client:
        problem = client.get(f"{there.root}/api/v1/scl/cid/none").json()
        assert f"GET {there.root}/api/v1/scl/revisions" in problem["detail"]
        document = client.get(f"{there.root}/openapi.json").json()
        server = document.get("servers", [{"url": ""}])[0]["url"]
        assert server == there.root
        assert client.get(f"{server}/api/v1/meters").status_code == 200
        assert client.get(f"{there.root}/swagger").headers["location"] == f"{there.root}/docs"


def test_the_stream_comes_at_once(there: Shown) -> None:
    with there.program() as client, client.stream("GET", f"{there.root}/api/v1/stream") as stream:
        lines = stream.iter_lines()
        kinds = [next(line for line in lines if line.startswith("event:")) for _ in range(3)]
    assert kinds[0] == "event: hello"


def test_a_clients_own_word_of_its_address_is_not_believed(there: Shown) -> None:
    """nginx adds the address that it sees; what a client sends about host and port does not pass."""
    with there.client(**{"X-Forwarded-For": "192.0.2.99", "X-Forwarded-Port": "1"}) as client:
        form = {"name": "stranger", "password": "wrong"}
        answer = client.post(f"{there.root}/login", data=form, headers={"Origin": there.origin})
    assert answer.status_code == 401
    query = "SELECT origin FROM audit WHERE who = 'stranger'"
    assert until(lambda: there.web.chain.rows(query), seconds=30, why="the audit")[0] == ("web 127.0.0.1",)


def test_a_person_uses_it(there: Shown) -> None:
    (meter_id,) = there.web.wait_for_meters(1)
    with browser(flags=FLAGS) as page:
        page.get(f"{there.origin}{there.root}/meters/{meter_id}")
        shows(page, "h1", "Log in".__eq__, seconds=30)
        page.execute_script(
            "document.getElementById('name').value = 'operator';"
            f"document.getElementById('password').value = {json.dumps(PASSWORD)};"
            "document.querySelector('form.login button').click()"
        )
        shows(page, "h1", lambda text: text.startswith("House 1"), seconds=30)
        shows(page, "#link", "Live".__eq__, seconds=30)
        shows(page, "#curve-words", lambda text: "in the mean" in text, seconds=30)
        position = there.web.json(f"/meters/{meter_id}")["relay"]
        wanted, words = ("open", "off") if position == "closed" else ("closed", "on")
        page.execute_script(f"document.querySelector('[data-order=\"{wanted}\"]').click()")
        page.execute_script("document.getElementById('confirm-yes').click()")
        shows(page, "#outcome", f"Switch {words}: Done.".__eq__, seconds=30)
        assert page.current_url == f"{there.origin}{there.root}/meters/{meter_id}"
        assert complaints(page) == []


def test_a_proxy_that_calls_us_otherwise_is_believed_by_browsers_alone(tmp_path: Path) -> None:
    """nginx without the documented lines: the browser's own Sec-Fetch-Site says that it is our page."""
    left_out = ("proxy_set_header Host", "proxy_set_header X-Forwarded-Host")
    with shown(tmp_path, "", without=left_out) as there, there.client() as client:
        form = {"name": "operator", "password": PASSWORD}
        ours = {"Origin": there.origin, "Sec-Fetch-Site": "same-origin"}
        assert client.post("/login", data=form, headers=ours).status_code == 303
        for foreign in ({"Origin": "https://evil.example"}, {**ours, "Sec-Fetch-Site": "cross-site"}):
            assert client.post("/login", data=form, headers=foreign).status_code == 403


def test_only_configured_proxies_are_believed(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METER61850_WEB_BEHIND_PROXY", "true")
        patch.setenv("METER61850_WEB_PROXIES", "192.0.2.1, 2001:db8::/64")
        with beside_meters(tmp_path, 1) as web, web.nobody() as client:
            headers = {
                "X-Forwarded-For": "198.51.100.7",
                "X-Forwarded-Host": "evil.example",
                "Origin": web.url,
            }
            answer = client.post("/login", data={"name": "stranger", "password": "wrong"}, headers=headers)
            assert answer.status_code == 401
            query = "SELECT origin FROM audit WHERE who = 'stranger'"
            assert until(lambda: web.chain.rows(query), seconds=30, why="the audit")[0] == ("web 127.0.0.1",)
