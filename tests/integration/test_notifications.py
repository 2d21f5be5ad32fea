"""Notifications with real SMTP and HTTP servers: each alarm once, late enough, never a storm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from bridge.alarms.notifications import Notifier, Policy, _Post
from bridge.alarms.targets import Notification, parse
from bridge.store import alarms
from bridge.store.alarms import Changes, Finding
from broker.contract.alarms import Severity
from tests.support.receivers import Hooks, Mails, hook_server, mail_server
from tests.support.stores import NOW, Kept, keeping, row

pytest_plugins = ("tests.support.databases",)

MINUTE, HOUR = 60_000, 3_600_000
POLICY = Policy(timedelta(minutes=2), 5, Severity.WARNING)


@dataclass
class Desk:
    """A database with alarms, and those who are notified."""

    kept: Kept
    mails: Mails
    hooks: Hooks

    def notifier(self, *, policy: Policy = POLICY, urls: tuple[str, ...] = ()) -> Notifier:
        """A new one, as after a restart."""
        targets = [parse(url) for url in urls or (self.mails.url, self.hooks.url)]
        engine = self.kept.engine
        return Notifier(engine, engine, targets, policy, leads=lambda: True)

    def raise_(self, *subjects: str, kind: str = "certificate", now: int = NOW, meter: int = 0) -> None:
        found = [Finding(meter, kind, f"detail of {subject}", subject) for subject in subjects]
        with self.kept.engine.begin() as connection:
            alarms.write(connection, Changes(found, []), now=now)

    def clear(self, *subjects: str, now: int) -> None:
        with self.kept.engine.begin() as connection:
            keys = [one.key for one in alarms.standing(connection) if one.subject in subjects]
            alarms.write(connection, Changes([], keys), now=now)

    @property
    def titles(self) -> list[str]:
        """Of what the webhook has got."""
        return [told["title"].removeprefix("meter61850: ") for told in self.hooks.taken]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Mails, Hooks]]:
    with mail_server() as mails, hook_server() as hooks:
        yield mails, hooks


@pytest.fixture
def desk(servers: tuple[Mails, Hooks], database_url: str) -> Iterator[Desk]:
    mails, hooks = servers
    mails.taken, mails.receivers, mails.refuse, hooks.taken, hooks.status = [], [], False, [], 200
    with keeping(database_url) as kept:
        yield Desk(kept, mails, hooks)


def test_an_alarm_is_sent_once_when_it_lasts_and_once_when_it_is_over(desk: Desk) -> None:
    desk.kept.put(row(1, 1, ts=NOW))
    key = desk.kept.meter().key
    assert key is not None
    desk.raise_("", kind="offline", meter=key)
    notifier = desk.notifier()
    notifier.look(now=NOW + 2 * MINUTE - 1)
    assert (desk.hooks.taken, desk.mails.taken) == ([], []), "not yet"
    for later in (2, 3, 4):
        notifier.look(now=NOW + later * MINUTE)
        notifier = desk.notifier()  # a restart sends nothing again
    (mail,), (hook,) = desk.mails.taken, desk.hooks.taken
    assert mail["Subject"] == hook["title"] == f"meter61850: offline: {desk.kept.meter().meter_id}"
    assert desk.mails.receivers == ["anna@example.org"]
    assert mail.get_content().replace("\r\n", "\n").strip() == hook["text"]
    assert "What to do: look at its power" in hook["text"]
    (told,) = hook["alarms"]
    assert (told["kind"], told["event"], told["meter_id"]) == (
        "offline",
        "raised",
        desk.kept.meter().meter_id,
    )
    desk.clear("", now=NOW + 5 * MINUTE)
    for later in (6, 7):
        desk.notifier().look(now=NOW + later * MINUTE)
    assert [told["alarms"][0]["event"] for told in desk.hooks.taken] == ["raised", "cleared"]
    assert len(desk.mails.taken) == 2


def test_what_clears_or_is_acknowledged_before_is_not_sent(desk: Desk) -> None:
    desk.raise_("a", "b", "c")
    desk.clear("a", now=NOW + MINUTE)
    (key,) = (one.key for one in desk.kept.store.alarms() if one.subject == "b")
    with desk.kept.engine.begin() as connection:
        assert alarms.acknowledge(connection, key, "", "cli anna", now=NOW + MINUTE)
        assert not alarms.acknowledge(connection, key, "", "cli otto", now=NOW + MINUTE), "the first counts"
    desk.notifier().look(now=NOW + 3 * MINUTE)
    assert [told["alarms"][0]["subject"] for told in desk.hooks.taken] == ["c"]


def test_a_storm_is_one_message_and_an_hour_has_few(desk: Desk) -> None:
    desk.raise_(*(f"{n}" for n in range(500)))
    desk.notifier().look(now=(now := NOW + 3 * MINUTE))
    assert desk.titles == ["500 alarms raised, 0 over"]
    assert "and 450 more" in desk.hooks.taken[0]["text"]
    for number in range(10):  # single ones, one after the other, over restarts
        desk.raise_(f"late {number}", now=now)
        now += 3 * MINUTE
        desk.notifier().look(now=now)
    assert len(desk.hooks.taken) == POLICY.per_hour
    desk.notifier().look(now=NOW + HOUR + 3 * MINUTE + 1)
    assert len(desk.hooks.taken) == POLICY.per_hour + 1
    assert desk.titles[-1] == "6 alarms raised, 0 over", "the rest, as one"
    assert len(desk.mails.taken) == len(desk.hooks.taken)


def test_a_target_that_is_away_gets_it_later_and_the_other_once(desk: Desk) -> None:
    desk.mails.refuse = True
    desk.raise_("a")
    notifier = desk.notifier()
    notifier.look(now=NOW + 3 * MINUTE)
    assert (len(desk.hooks.taken), notifier.sent, notifier.errors) == (1, 1, 1)
    desk.mails.refuse = False
    for post in notifier._posts:
        post.again = 0.0  # as after a while
    notifier.look(now=NOW + 4 * MINUTE)
    assert (len(desk.hooks.taken), len(desk.mails.taken)) == (1, 1)


def test_what_cannot_be_noted_is_not_sent_again_and_again(desk: Desk) -> None:
    """As on a full disk: the alarm that says this must not become a storm."""
    notifier, broken = desk.notifier(), create_engine("sqlite:////nowhere/a.sqlite")
    desk.raise_("a")
    good, notifier._engine = notifier._engine, broken
    for minute in (3, 4, 5):
        with pytest.raises(OperationalError):
            notifier.look(now=NOW + minute * MINUTE)
    assert len(desk.hooks.taken) == len(desk.mails.taken) == 1
    notifier._engine = good
    desk.raise_("b")
    notifier.look(now=NOW + 6 * MINUTE)
    assert [told["alarms"][0]["subject"] for told in desk.hooks.taken] == ["a", "b"]
    (noted,) = (one for one in desk.kept.store.alarms() if one.subject == "a")
    assert noted.notified_at == NOW + 3 * MINUTE
    desk.notifier().look(now=NOW + 7 * MINUTE)
    assert len(desk.hooks.taken) == 2


def test_a_target_that_fails_in_its_own_way_costs_the_others_nothing(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd:
        words = "odd://…"

        def send(self, message: Notification) -> None:
            raise RuntimeError(f"no {message.title} at https://secret")

    desk.raise_("a")
    notifier = desk.notifier()
    notifier._posts.append(_Post(Odd()))
    for minute in (3, 4, 5):
        notifier.look(now=NOW + minute * MINUTE)
    assert (len(desk.hooks.taken), len(desk.mails.taken), notifier.sent) == (1, 1, 2)
    assert notifier.errors >= 1
    assert "odd://…: RuntimeError" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("status", [302, 404, 500])
def test_what_nobody_takes_is_tried_again_with_what_is_due_then(desk: Desk, status: int) -> None:
    desk.hooks.status = status
    desk.raise_("a", "b")
    urls = (desk.hooks.url,)
    notifier = desk.notifier(urls=urls)
    notifier.look(now=NOW + 3 * MINUTE)
    assert (notifier.sent, notifier.errors) == (0, 1), "and not at once for each"
    desk.hooks.status = 204
    desk.clear("a", now=NOW + 4 * MINUTE)
    desk.notifier(urls=urls).look(now=NOW + 5 * MINUTE)
    assert [told["alarms"][0]["subject"] for told in desk.hooks.taken] == ["b"]


def test_warnings_are_left_out_if_only_alarms_are_wanted(desk: Desk) -> None:
    desk.raise_("a")
    desk.raise_("/", kind="disk")
    desk.notifier(policy=replace(POLICY, severity=Severity.ALARM)).look(now=NOW + 3 * MINUTE)
    assert [told["alarms"][0]["kind"] for told in desk.hooks.taken] == ["disk"]


def test_a_service_of_apprise_gets_it_too(desk: Desk) -> None:
    desk.raise_("a")
    notifier = desk.notifier(urls=(desk.hooks.url.replace("http://", "json://"),))
    notifier.look(now=NOW + 3 * MINUTE)
    assert notifier.sent == 1
    (told,) = desk.hooks.taken
    assert "detail of a" in told["message"]
    desk.hooks.status = 500
    desk.raise_("b", now=NOW + 3 * MINUTE)
    notifier.look(now=NOW + 6 * MINUTE)
    assert notifier.errors == 1
