"""``meter61850 up`` on a slow machine: it waits for a part while that lives, and names the one that died."""

from __future__ import annotations

import re
import shlex
import signal
import time
from pathlib import Path

import psutil
import pytest

from broker.daemon.mosquitto import find
from tests.support.chain import until
from tests.support.cli import Running, run, up

SLOW_SECONDS = 12
"""Longer than the 10 s that `up` once had."""


def broker_that(does: str, folder: Path) -> str:
    """A PATH on which ``mosquitto -c FILE`` first ``does`` something; it still tells its version."""
    binary = find()
    assert binary is not None
    script = folder / "bin" / "mosquitto"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then {does}; fi\nexec {shlex.quote(str(binary))} "$@"\n')
    script.chmod(0o755)
    return f"{script.parent}:/usr/bin:/bin"


@pytest.mark.parametrize("options", [(), ("--plain",)])
def test_slow_broker_is_waited_for(options: tuple[str, ...], tmp_path: Path) -> None:
    path = broker_that(f"sleep {SLOW_SECONDS}", tmp_path)
    with up(tmp_path, "--meters", "1", *options, PATH=path) as running:
        assert float(re.split("[ ]", running.ready())[2]) > SLOW_SECONDS
        assert "waiting for broker to listen on port" in running.log.read_text()


def test_slow_web_is_waited_for(tmp_path: Path) -> None:
    with up(tmp_path, "--meters", "1") as running:
        child = until(lambda: children(running).get("web"), why="web started")
        assert child is not None
        child.send_signal(signal.SIGSTOP)
        time.sleep(SLOW_SECONDS)  # as long as the old limit: nothing to wait for happens in a stopped process
        assert running.process.poll() is None, running.log.read_text()
        child.send_signal(signal.SIGCONT)
        running.ready()


def children(running: Running) -> dict[str, psutil.Process]:
    """Those that have become what they are: a child is python before it is `admin`."""
    try:
        return running.children()
    except (ValueError, IndexError, psutil.Error):
        return {}


def test_dead_broker_is_named_with_its_last_words_and_the_login_is_known(tmp_path: Path) -> None:
    path = broker_that("echo no room for a broker >&2; exit 9", tmp_path)
    with up(tmp_path, "--meters", "1", "--plain", PATH=path) as running:
        assert running.process.wait(60) == 1
    said = running.log.read_text()
    assert "error: broker ended by itself (exit 9); data/logs/broker.log says:" in said
    assert "\n  no room for a broker" in said
    login = re.search(r"log in as (\S+) with (\S+) \(shown only now; to set another: (.*)\)", said)
    assert login
    assert said.index("log in as") < said.index("error: ")
    another = login[3].split()
    assert another[0] == "meter61850"
    before = (tmp_path / "data" / "web-users.json").read_text()
    run(*another[1:], folder=tmp_path, METER61850_WEB_PASSWORD="correct horse battery")
    assert (tmp_path / "data" / "web-users.json").read_text() != before


def test_killed_while_it_starts_is_named(tmp_path: Path) -> None:
    path = broker_that("exec sleep 1000", tmp_path)
    with up(tmp_path, "--meters", "1", "--plain", PATH=path) as running:
        sleeper = until(
            lambda: next(
                (c for c in psutil.Process(running.process.pid).children() if c.name() == "sleep"), None
            ),
            why="broker started",
        )
        assert sleeper is not None
        sleeper.kill()
        assert running.process.wait(60) == 1
    assert "error: broker ended by itself (SIGKILL); data/logs/broker.log says:" in running.log.read_text()
