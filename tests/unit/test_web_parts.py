"""The web's parts without sockets: streams that resume and stay bounded, accounts, formats, settings."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lxml import etree
from pydantic import ValidationError

from broker.contract.errors import ConfigurationError
from broker.contract.fleet import State
from broker.contract.names import by_name
from web.auth.accounts import Accounts, Role, UnknownAccountError
from web.auth.sessions import Limiter, Sessions
from web.live.hub import KEPT, Hub
from web.live.interests import WAITING, Interest, Listener
from web.live.summary import STATES
from web.serving.answers import CSV, JSON, XML, chosen
from web.serving.problem import ProblemError
from web.serving.xml import xml_document
from web.settings import WebSettings

ALL = Interest()
PASSWORD = "correct horse"
VENDORED = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}
"""SHA-256 of what the npm package uplot 1.6.32 holds in dist/."""


def heard(listener: Listener) -> list[tuple[str, str]]:
    """Kind and data of the events that wait."""
    found = []
    while not listener.queue.empty():
        for block in b"".join(listener.queue.get_nowait() or ()).decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            if fields:
                found.append((fields["event"], fields["data"]))
    return found


def test_of_a_meter_only_the_newest_state_is_told() -> None:
    hub = Hub()
    listener = hub.listen(ALL, since=None)
    for number in range(3):
        hub.tell("meter", b"%d" % number, meter_id="a")
        hub.tell("command", b"%d" % number, meter_id="a")
    hub.flush()
    told = heard(listener)
    assert [data for kind, data in told if kind == "meter"] == ["2"]
    assert [data for kind, data in told if kind == "command"] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("interest", "expected"),
    [
        (Interest(meters=frozenset({"a"})), ["a", "all"]),
        (Interest(address_code="7501"), ["b", "all"]),
        (Interest(kinds=frozenset({"broker"})), ["all"]),
        (ALL, ["a", "b", "all"]),
    ],
)
def test_a_listener_hears_what_it_asked_for(interest: Interest, expected: list[str]) -> None:
    hub = Hub()
    listener = hub.listen(interest, since=None)
    hub.tell("meter", b"a", meter_id="a", address_code="7500")
    hub.tell("meter", b"b", meter_id="b", address_code="7501")
    hub.tell("broker", b"all")
    hub.flush()
    assert [data for _, data in heard(listener)] == expected


def test_who_comes_back_gets_what_it_missed() -> None:
    hub = Hub()
    hub.tell("command", b"before")
    hub.flush()
    since = hub.position
    hub.tell("command", b"missed")
    hub.flush()
    listener = hub.listen(ALL, since=since)
    hub.tell("command", b"after")
    hub.flush()
    assert [data for _, data in heard(listener)] == ["missed", "after"]


@pytest.mark.parametrize("since", ["other-1", "nonsense", "{boot}-99999999", "{boot}-x"])
def test_who_has_an_id_that_we_do_not_know_looks_again(since: str) -> None:
    hub = Hub()
    listener = hub.listen(ALL, since=since.format(boot=hub.boot))
    assert heard(listener) == [("reset", "{}")]


def test_what_is_forgotten_is_reset() -> None:
    hub = Hub()
    hub.tell("command", b"seen")
    hub.flush()
    since = hub.position
    for number in range(KEPT + 2):
        hub.tell("command", b"%d" % number)
    hub.flush()
    assert heard(hub.listen(ALL, since=since)) == [("reset", "{}")]


def test_a_slow_listener_is_bounded_and_looks_again() -> None:
    hub = Hub()
    listener = hub.listen(ALL, since=None)
    for number in range(3 * WAITING):
        hub.tell("command", b"%d" % number)
        hub.flush()
        assert listener.queue.qsize() <= WAITING
    assert hub.overruns >= 1
    assert ("reset", "{}") in heard(listener)


def test_accounts_are_kept_with_hashes_and_closed_to_others(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "users.json")
    accounts.add("anna", Role.OPERATOR, password=PASSWORD)
    token = accounts.add_token("billing", Role.OBSERVER)
    text = accounts.file.read_text()
    assert PASSWORD not in text
    assert token not in text
    assert accounts.file.stat().st_mode & 0o777 == 0o600
    again = Accounts(accounts.file)
    found = again.check("anna", PASSWORD)
    assert found is not None
    assert found.role is Role.OPERATOR
    assert again.check("anna", PASSWORD + "x") is None
    assert again.check("nobody", PASSWORD) is None
    assert again.check("billing", token) is None
    program = again.of_token(token)
    assert program is not None
    assert program.name == "billing"
    again.remove("anna")
    assert accounts.get("anna") is None
    with pytest.raises(UnknownAccountError, match="anna"):
        accounts.remove("anna")


def test_changes_at_once_are_all_kept(tmp_path: Path) -> None:
    """Each as from a program of its own: an operator who was removed must not come back."""
    file = tmp_path / "users.json"
    Accounts(file).add_token("gone", Role.OPERATOR)
    names = [f"program{number}" for number in range(24)]

    def change(name: str) -> None:
        Accounts(file).remove(name) if name == "gone" else Accounts(file).add_token(name, Role.OBSERVER)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(change, [*names[:12], "gone", *names[12:]]))
    assert sorted(one.name for one in Accounts(file).all()) == sorted(names)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "users.json")
    accounts.add("anna", Role.OPERATOR, password=PASSWORD)
    os.chmod(accounts.file, 0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        accounts.get("anna")


@pytest.mark.parametrize(("name", "password"), [("anna", "short"), ("", PASSWORD), ("a b", PASSWORD)])
def test_impossible_accounts_are_refused(name: str, password: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        Accounts(tmp_path / "users.json").add(name, Role.OBSERVER, password=password)


def test_roles_cover_those_before() -> None:
    covered = {(one, other) for one in Role for other in Role if one.covers(other)}
    assert len(covered) == 6
    assert (Role.OPERATOR, Role.OBSERVER) in covered


def test_a_session_ends_with_its_time(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "users.json")
    accounts.add("anna", Role.OPERATOR, password=PASSWORD)
    account = accounts.get("anna")
    assert account is not None
    assert Sessions(seconds=60).find(Sessions(seconds=60).open(account)) is None
    ended = Sessions(seconds=-1)
    assert ended.find(ended.open(account)) is None


def test_meters_are_in_the_order_of_words_and_then_of_numbers() -> None:
    names = ["Barn 2", "barn 10", "House 1", "House 2a", "House 2b", "House 10"]
    assert sorted(names, key=lambda name: by_name(name, "")) == names


def test_a_limiter_forgets_in_time() -> None:
    limiter = Limiter(attempts=1, seconds=60.0)
    limiter.note("anna", now=0.0)
    assert limiter.wait("anna", now=1.0) == 59.0
    assert limiter.wait("anna", now=61.0) == 0.0
    assert limiter.wait("eve", now=1.0) == 0.0


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("", JSON), ("*/*", JSON), ("text/csv, */*;q=0.1", CSV), ("application/xml", XML), ("text/*", CSV)],
)
def test_the_format_that_is_liked_best(accept: str, kind: str) -> None:
    assert chosen(accept, (JSON, XML, CSV)) == kind


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "application/json;q=nonsense"])
def test_no_format_that_is_liked(accept: str) -> None:
    with pytest.raises(ProblemError, match="Accept"):
        chosen(accept, (JSON, XML))


def test_any_text_makes_well_formed_xml() -> None:
    name = 'House <1> & "2" \x00\x1b\ud800'
    root = etree.fromstring(
        xml_document("meter", {"name": name, "un named": [1, None, True], "absent": None})
    )
    assert root.findtext("name") == 'House <1> & "2" \ufffd\ufffd\ufffd'
    assert [item.text for item in root.iterfind("member/item")] == ["1", "true"]


@pytest.mark.parametrize(
    ("given", "said"),
    [({"host": "0.0.0.0"}, "clear text"), ({"certificate": "web.pem"}, "belong together")],
)
def test_passwords_do_not_go_over_the_network_in_clear(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        WebSettings.model_validate(given)


def test_vendored_assets_are_those_of_the_registry() -> None:
    """`make vendor` fetches them; nobody edits them."""
    folder = Path(__file__).parents[2] / "web" / "static" / "vendor"
    found = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in VENDORED}
    assert found == VENDORED
    assert '"uplot": "1.6.32"' in (folder / "package.json").read_text()
    assert "MIT License" in (folder / "uPlot.LICENSE").read_text()


def test_states_of_a_meter_are_those_of_the_contract() -> None:
    assert {*STATES} == {*State} - {State.WITHDRAWN}
