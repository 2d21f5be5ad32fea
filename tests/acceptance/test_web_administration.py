"""The pages of administration in a browser: what an administrator does there, at a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from sqlalchemy import create_engine
from sqlmodel import Session

from bridge.store.audit import now_ms
from bridge.store.tables import DeadLetter
from tests.support.axe import violations
from tests.support.bridges import TOPICS, Client, reading
from tests.support.browser import (
    DESKTOP,
    PHONE,
    browser,
    complaints,
    log_in,
    opened,
    resize,
    same,
    screenshot,
    shows,
    text_of,
)
from tests.support.chain import until
from tests.support.played import Played
from tests.support.web import Web
from tests.support.web import log_in as log_in_by_form
from web.auth.accounts import Role

pytest_plugins = ("tests.support.played",)

HOUSE = "aaaaaaaa-0000-4000-8000-000000000001"
STRANGER = "99999999-0000-4000-8000-000000000009"
MENDED = "the cause is removed"
PAGES = ("/dead-letters", "/audit", "/users", "/settings", "/health", "/blocks")
WIDE = "return document.documentElement.scrollWidth"
SIDEWAYS = """
const wide = (one) => one.scrollWidth > one.clientWidth + 1;
return [...document.querySelectorAll(".scroll")].filter(wide).length;
"""
"""Tables that one has to move sideways."""


@pytest.fixture(scope="module")
def client(web: Web) -> Iterator[Client]:
    with Client(web.chain.broker) as client:
        yield client


@pytest.fixture(scope="module")
def house(web: Web, client: Client) -> Played:
    """House 1."""
    house = Played(client, HOUSE, "House 1")
    house.appear(web)
    return house


@pytest.fixture(scope="module")
def chrome(web: Web) -> Iterator[Chrome]:
    """A browser in which the administrator is logged in."""
    with browser() as driver:
        log_in(driver, web, "administrator")
        yield driver


def answer(page: Chrome, button: str, reply: str) -> str:
    """Click ``button`` and answer its question; the question."""
    page.find_element(By.CSS_SELECTOR, button).click()
    asked = shows(page, "#confirm-title", bool)
    page.find_element(By.CSS_SELECTOR, f'#confirm button[value="{reply}"]').click()
    return asked


def test_a_dead_letter_is_retried_and_another_purged(
    chrome: Chrome, web: Web, client: Client, house: Played
) -> None:
    """One whose cause is gone by now is stored; rubbish is not, and goes at the second answer."""
    put(web, TOPICS.meter(HOUSE, "reading"), reading(7, power=77.0), MENDED)
    client.publish(TOPICS.meter(STRANGER, "status"), "rubbish")
    page = opened(chrome, web, "/dead-letters")
    shows(page, "#rows", lambda text: STRANGER in text and MENDED in text)
    screenshot(page, "dead-letters-administrator")

    rubbish = f'#rows [data-letters="purge"][aria-label$="{STRANGER}/status"]'
    assert answer(page, rubbish, "no") == "Purge 1 dead letter?"
    assert STRANGER in text_of(page, "#rows")
    answer(page, rubbish, "yes")
    shows(page, "#outcome", "1 dead letter deleted.".__eq__)
    shows(page, "#rows", lambda text: STRANGER not in text and MENDED in text)

    assert answer(page, 'p [data-letters="retry"]', "yes") == "Retry 1 dead letter?"
    shows(page, "#outcome", "1 dead letter sent again.".__eq__)
    shows(page, "#rows", "none".__eq__)
    stored = (
        "SELECT power FROM reading JOIN meter ON meter.key = reading.meter WHERE meter_id = ? AND seq = 7"
    )
    assert until(lambda: web.chain.rows(stored, HOUSE), why="it is stored") == [(77.0,)]
    audited(web, "dead-letters-retry")
    audited(web, "dead-letters-purge")
    assert same(page)


def audited(web: Web, action: str) -> None:
    """Wait until the audit has it, of the administrator."""
    told = "SELECT who FROM audit WHERE event = 'web' AND detail LIKE ?"
    found = until(lambda: web.chain.rows(told, f"%{action}%"), why=f"{action} is in the audit")
    assert found == [("administrator",)]


def test_one_cause_is_shown(chrome: Chrome, web: Web) -> None:
    for number in (1, 2):
        put(web, TOPICS.meter(STRANGER, "reading"), f"rubbish {number}", f"cause {number}")
    page = opened(chrome, web, "/dead-letters")
    Select(page.find_element(By.NAME, "cause")).select_by_value("cause 2")
    page.find_element(By.CSS_SELECTOR, "form.filters button").click()
    shows(page, "#rows", lambda text: "rubbish 2" in text and "rubbish 1" not in text)
    assert complaints(page) == []


def put(web: Web, topic: str, payload: str, cause: str) -> None:
    """A dead letter, as the bridge would have written it."""
    engine = create_engine(web.chain.url)
    row = DeadLetter(topic=topic, payload=payload.encode(), size=len(payload), sha256=cause, cause=cause)
    row.first_seen = row.last_seen = now_ms()
    with Session(engine) as session:
        session.add(row)
        session.commit()
    engine.dispose()


def test_the_audit_is_filtered(chrome: Chrome, web: Web, house: Played) -> None:
    """By what somebody types; days are those of the viewer."""
    for role in (Role.OBSERVER, Role.OPERATOR):
        with web.program(role) as program:
            assert program.delete(f"/meters/{HOUSE}").status_code == 403
    page = opened(chrome, web, "/audit")
    both = ("observer-program", "operator-program")
    shows(page, "#rows", lambda text: all(name in text for name in both), seconds=90)
    page.find_element(By.NAME, "who").send_keys("observer-")
    Select(page.find_element(By.NAME, "event")).select_by_value("web")
    page.find_element(By.CSS_SELECTOR, "form.filters button").click()
    shows(page, "#rows", lambda text: both[0] in text and both[1] not in text)
    assert "denied" in text_of(page, "#rows")
    zone = page.execute_script("return Intl.DateTimeFormat().resolvedOptions().timeZone")
    assert f"time_zone={quote(zone, safe='')}" in page.current_url
    assert complaints(page) == []


def test_the_sessions_of_a_user_are_ended(chrome: Chrome, web: Web) -> None:
    with web.nobody() as client:
        log_in_by_form(client, "observer")
        assert client.get("/commands").status_code == 200
        page = opened(chrome, web, "/users")
        sessions = 'tr[data-key="observer"] [data-label="Sessions"]'
        shows(page, sessions, "1".__eq__)
        assert answer(page, '[data-end="observer"]', "yes") == "End the sessions of observer?"
        shows(page, "#outcome", "Sessions of observer ended: 1.".__eq__)
        shows(page, sessions, "0".__eq__)
        assert client.get("/commands").status_code == 303
    audited(web, "sessions-end")
    assert same(page)


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (PHONE, True)], ids=["desk", "phone-dark"])
def test_every_page_is_accessible_and_fits(
    chrome: Chrome, web: Web, house: Played, path: str, size: tuple[int, int], dark: bool
) -> None:
    resize(chrome, size, dark=dark)
    chrome.get(web.url + path)
    shows(chrome, "#link", "Live".__eq__)
    screenshot(
        chrome, f"{path.strip('/').replace('/', '-')}-administrator-{'phone-dark' if dark else 'desk'}"
    )
    assert violations(chrome) == []
    assert chrome.execute_script(WIDE) <= size[0]
    assert chrome.execute_script(SIDEWAYS) == 0
    assert complaints(chrome) == []
