"""``meter61850 relay open|close`` for many meters, and ``relay block``: with the real chain behind it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.brokers import Broker
from tests.support.chain import Chain, chain, until
from tests.support.cli import environment, error

COUNT = 4


@pytest.fixture
def town(broker: Broker, tmp_path: Path) -> Iterator[Chain]:
    """Four meters of one address code, with relays that are closed."""
    with chain(broker, tmp_path) as running:
        running.simulate(COUNT)
        running.wait_for_meters(COUNT)
        until(lambda: len(running.rows("SELECT 1 FROM meter WHERE relay = 'closed' AND online")) == COUNT)
        yield running


def relay(town: Chain, *arguments: str, code: int = 0) -> Any:
    """``relay … --json`` to its end."""
    return town.cli_json("relay", *arguments, "--mqtt", town.mqtt, code=code)


def opening(town: Chain, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    """``relay open --all``, running."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "admin", "relay", "open", "--all", "--mqtt", town.mqtt, *arguments],
        env=environment(),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def positions(town: Chain) -> list[str]:
    """What the bridge has stored."""
    return [row[0] for row in town.rows("SELECT relay FROM meter ORDER BY name")]


def ledger(town: Chain) -> list[tuple[str, str, str]]:
    """Meter, outcome and reason of every record, by meter."""
    rows = town.cli_json("commands", "--database", town.url)
    return sorted((row["meter"], row["outcome"], row["reason"]) for row in rows)


def test_all_are_switched_one_by_one_each_with_its_record(town: Chain) -> None:
    started = time.monotonic()
    rows = relay(town, "open", "--all", "--yes", "--rate", "4")
    assert time.monotonic() - started > (COUNT - 1) / 4
    assert [(row["meter"], row["outcome"]) for row in rows] == [
        (f"House {n}", "done") for n in range(1, COUNT + 1)
    ]
    assert len({row["command_id"] for row in rows}) == COUNT
    until(lambda: positions(town) == ["open"] * COUNT)
    until(lambda: ledger(town) == [(f"House {n}", "done", "") for n in range(1, COUNT + 1)])


def test_the_meters_are_chosen_by_ied_code_and_names(town: Chain) -> None:
    until(lambda: town.rows("SELECT 1 FROM scl_revision WHERE meters = ?", COUNT), why="a CID with all")
    assert len(relay(town, "open", "--ied", "SMGW001", "--rate", "50", "--yes")) == COUNT
    assert len(relay(town, "close", "--address-code", "7500", "--rate", "50", "--yes")) == COUNT
    two = relay(town, "open", "House 3", "House 1", "House 3", "--rate", "50", "--yes")
    assert [row["meter"] for row in two] == ["House 1", "House 3"]
    mqtt = ("--mqtt", town.mqtt)
    assert "no IED SMGW009" in error("relay", "open", "--ied", "SMGW009", "--yes", *mqtt, code=3)
    assert "this selects no meter" in error("relay", "open", "--address-code", "1", "--yes", *mqtt, code=3)
    assert "not both" in error("relay", "open", "House 1", "--all", "--yes", *mqtt, code=2)
    assert "which METER" in error("relay", "open", "--yes", *mqtt, code=2)


def test_what_is_refused_is_told_recorded_and_does_not_stop_the_others(town: Chain) -> None:
    relay(town, "open", "House 1", "--wait")
    relay(town, "block", "House 2", "--opening")
    rows = relay(town, "open", "--all", "--yes", "--rate", "50", code=5)
    assert [(row["outcome"], row["reason"]) for row in rows] == [
        ("refused", "the relay is open already"),
        ("refused", "opening is blocked"),
        ("done", ""),
        ("done", ""),
    ]
    until(lambda: positions(town) == ["open", "closed", "open", "open"])
    until(lambda: ("House 2", "refused", "opening is blocked") in ledger(town))


def test_a_meter_that_does_not_answer_is_exit_6(town: Chain) -> None:
    os.kill(town.processes["meters1"].pid, signal.SIGSTOP)
    try:
        rows = relay(town, "open", "House 1", "House 2", "--yes", "--rate", "50", code=6)
    finally:
        os.kill(town.processes["meters1"].pid, signal.SIGCONT)
    assert [row["outcome"] for row in rows] == ["unanswered", "unanswered"]


def test_nobody_to_confirm_and_nothing_is_sent(town: Chain) -> None:
    process = opening(town)
    out, told = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "use --yes" in told
    assert out == ""
    assert positions(town) == ["closed"] * COUNT


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 5, "closed"), (b"y\n", 0, "open")])
def test_the_question_names_the_houses(town: Chain, answer: bytes, code: int, left: str) -> None:
    ours, theirs = pty.openpty()
    process = opening(town, "--rate", "50", stdin=theirs)
    os.write(ours, answer)
    _, told = process.communicate(timeout=120)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code, told
    assert f"Open the relays of {COUNT} meters" in told
    assert all(f"House {n}" in told for n in range(1, COUNT + 1))
    until(lambda: positions(town) == [left] * COUNT)


def test_ctrl_c_stops_the_sending_and_tells_what_was_sent(town: Chain) -> None:
    process = opening(town, "--yes", "--json", "--rate", "0.1")
    until(lambda: town.rows("SELECT 1 FROM command WHERE outcome = 'done'"), why="the first has answered")
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert [row["outcome"] for row in json.loads(out)] == ["done", "not sent", "not sent", "not sent"]
    assert "1 done, 3 not sent" in told
    assert positions(town).count("open") == 1


def test_a_broker_that_goes_tells_what_was_sent(town: Chain) -> None:
    process = opening(town, "--yes", "--json", "--rate", "0.3")
    until(lambda: town.rows("SELECT 1 FROM command WHERE outcome = 'done'"), why="the first has answered")
    town.broker.kill()
    out, told = process.communicate(timeout=120)
    town.broker.start()
    assert process.returncode == 4, told
    outcomes = [row["outcome"] for row in json.loads(out)]
    assert outcomes[0] == "done"
    assert outcomes[2:] == ["not sent", "not sent"]


def test_a_block_is_shown_kept_enforced_released_and_in_the_ledger(town: Chain) -> None:
    mqtt = ("--mqtt", town.mqtt)
    assert relay(town, "block", "House 1")["blocked"] == "nothing"
    assert relay(town, "block", "House 1", "--closing")["blocked"] == "closing"
    assert relay(town, "block", "House 1", "--opening")["blocked"] == "opening and closing"
    assert "opening is blocked" in error("relay", "open", "House 1", *mqtt, code=5)
    assert relay(town, "block", "House 1", "--opening", "--release")["blocked"] == "closing"
    told = relay(town, "open", "House 1", "--wait")
    assert told["outcome"] == "done"
    assert "closing is blocked" in error("relay", "close", "House 1", *mqtt, code=5)
    assert relay(town, "block", "House 1", "--release")["blocked"] == "nothing"
    assert relay(town, "close", "House 1", "--wait")["outcome"] == "done"
    assert "no meter" in error("relay", "block", "House 99", *mqtt, code=3)

    def recorded() -> list[str]:
        rows = town.cli_json("commands", "House 1", "--database", town.url)
        return [row["position"] for row in reversed(rows) if row["outcome"] == "set"]

    until(lambda: len(recorded()) == 4)
    assert recorded() == ["block closing", "block opening and closing", "block closing", "block nothing"]
