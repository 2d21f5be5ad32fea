"""Alarms as people meet them: over HTTP, on the command line, on the page; acknowledged by those who may."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver.common.by import By

from tests.support.browser import DESKTOP, PHONE, browser, complaints, log_in, resize, screenshot, shows
from tests.support.chain import until
from tests.support.receivers import hook_server
from tests.support.web import API, Web, beside_meters
from tests.support.web import log_in as log_in_client
from web.auth.accounts import Role

SOON = {"ALARM_SECONDS": "0.2", "ALARM_SETTLE": "0.5", "CLOCK_SYNCHRONIZED": "1"}
"""Settings of the bridge."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Three meters that can be killed by themselves."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SOON.items():
            patch.setenv(f"METER61850_{name}", value)
        with beside_meters(tmp_path_factory.mktemp("web"), 1, 1, 1) as web:
            yield web


def offline(web: Web, name: str) -> dict[str, Any]:
    """The alarm of a meter that is offline, once it is there."""

    def found() -> dict[str, Any] | None:
        rows = web.json("/alarms")["alarms"]
        return next((row for row in rows if (row["kind"], row["name"]) == ("offline", name)), None)

    row = until(found, why=f"{name} is offline")
    assert row is not None
    return row


def kill(web: Web, number: int) -> dict[str, Any]:
    web.chain.processes[f"meters{number}"].kill()
    return offline(web, f"House {number}")


def test_over_http_an_operator_acknowledges_and_an_observer_does_not(web: Web) -> None:
    alarm = kill(web, 1)
    assert (alarm["severity"], alarm["acknowledged_at"]) == ("alarm", None)
    assert alarm["cure"].startswith("look at its power")
    path = f"/alarms/{alarm['id']}/acknowledge"
    with web.program(Role.OBSERVER) as observer:
        assert observer.post(path).status_code == 403
    with web.nobody() as browser_of_another_site:
        log_in_client(browser_of_another_site, "operator")
        assert browser_of_another_site.post(API + path).status_code == 403, "without the CSRF token"
    with web.program(Role.OPERATOR) as operator:
        assert operator.post("/alarms/999999/acknowledge").status_code == 404
        assert operator.post(f"/alarms/{2**60}/acknowledge").status_code == 422
        answer = operator.post(path)
        assert answer.status_code == 200, answer.text
        assert answer.json()["acknowledged_by"] == "web operator-program"
    with web.program(Role.ADMINISTRATOR) as other:
        assert other.post(path).json()["acknowledged_by"] == "web operator-program", "the first counts"
    assert offline(web, "House 1")["acknowledged_by"] == "web operator-program"
    web.chain.simulate(1, first=1)
    until(lambda: all(row["name"] != "House 1" for row in web.json("/alarms")["alarms"]), why="it is over")
    (past,) = (row for row in web.json("/alarms", last=10)["alarms"] if row["id"] == alarm["id"])
    assert past["cleared_at"] > past["acknowledged_at"] > past["since"]


def test_on_the_command_line(web: Web) -> None:
    alarm = kill(web, 2)
    store = ("--database", web.chain.url)
    (row,) = (one for one in web.chain.cli_json("alarms", *store) if one["id"] == alarm["id"])
    assert (row["where"], row["kind"], row["acknowledged_at"]) == ("House 2", "offline", None)
    assert "House 2" in web.chain.cli("alarms", *store)
    where = (*store, "--mqtt", web.chain.mqtt)
    web.chain.cli("alarms", "ack", str(alarm["id"]), "--by", "Anna, on the way", *where)
    until(
        lambda: offline(web, "House 2")["acknowledged_by"] == "cli Anna, on the way", why="the web hears it"
    )
    web.chain.cli("alarms", "ack", "999999", *where, code=3)
    web.chain.simulate(1, first=2)

    def in_force() -> set[str]:
        return {one["where"] for one in web.chain.cli_json("alarms", *store)}

    until(lambda: "House 2" not in in_force(), why="it is over")
    rows = web.chain.cli_json("alarms", "--last", "10", *store)
    assert [one["cleared_at"] is not None for one in rows if one["id"] == alarm["id"]] == [True]


def test_a_test_message_reaches_a_webhook(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    with hook_server() as hooks:
        monkeypatch.setenv("METER61850_NOTIFY", hooks.url)
        web.chain.cli("alarms", "test")
        assert [told["title"] for told in hooks.taken] == ["meter61850: test"]
        hooks.status = 500
        web.chain.cli("alarms", "test", code=4)
    monkeypatch.setenv("METER61850_NOTIFY", "")
    web.chain.cli("alarms", "test", code=2)


def test_on_the_page(web: Web) -> None:
    with browser() as page:
        resize(page, DESKTOP, dark=False)
        log_in(page, web, "observer")
        page.get(f"{web.url}/alarms")
        shows(page, "#link", "Live".__eq__)
        alarm = kill(web, 3)
        shows(page, "#rows", lambda text: "House 3" in text and "by nobody yet" in text)
        assert page.find_elements(By.CSS_SELECTOR, "[data-acknowledge]") == [], "an observer has no button"
        page.delete_all_cookies()
        log_in(page, web)
        page.get(f"{web.url}/alarms")
        shows(page, "#link", "Live".__eq__)
        shows(page, "#rows", lambda text: "House 3" in text and "offline" in text)
        screenshot(page, "alarms-desktop")
        page.find_element(By.CSS_SELECTOR, f'[data-acknowledge="{alarm["id"]}"]').click()
        shows(page, "#rows", lambda text: "web operator" in text)
        assert page.find_elements(By.CSS_SELECTOR, f'[data-acknowledge="{alarm["id"]}"]') == []
        assert complaints(page) == []
        resize(page, PHONE, dark=True)
        screenshot(page, "alarms-phone")
        width = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.execute_script(width) <= 0
        web.chain.simulate(1, first=3)
        shows(page, "#past-rows", lambda text: "House 3" in text)
