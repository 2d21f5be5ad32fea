"""``meter61850 init`` at a terminal: it asks, takes Enter for what is usual, and prints what comes next."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from admin import questions
from registrar.deployment import Deployment
from tests.support.cli import DEADLINE, environment, run

Answering = Callable[[str], str]


def at_a_terminal(folder: Path, *arguments: str, answers: dict[str, list[str]]) -> str:
    """What a person sees who answers each prompt with the next of its ``answers``; it must end with 0."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "admin", *arguments],
        cwd=folder, env=environment() | {"COLUMNS": "120"}, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen, since = "", 0
    try:
        while True:
            try:
                seen += os.read(ours, 4096).decode()
            except OSError:  # the other end is closed
                break
            for prompt, left in answers.items():
                if left and re.search(rf"{prompt} \[[^\]]*\]: $", seen[since:]):
                    since = len(seen)
                    os.write(ours, f"{left.pop(0)}\n".encode())
    finally:
        os.close(ours)
        assert process.wait(DEADLINE) == 0, seen
    return seen.replace("\r", "")


def test_a_person_is_asked_and_a_wrong_answer_is_asked_for_again(tmp_path: Path) -> None:
    answers = {
        "Hosts": ["not a host!", "broker.example, 192.0.2.7"],
        "MMS address": ["broker.example", "10.0.0.10-10.0.0.12"],
        "MMS port": ["70000", "10102"],
    }
    seen = at_a_terminal(tmp_path, "init", "d", answers=answers)
    assert not any(answers.values())
    assert "'host!' is no name and no IP address" in seen or "'not' is no name" in seen, seen
    assert "is no port" in seen
    told = Deployment.open(tmp_path / "d").environment
    assert told["METER61850_BROKER_HOSTS"] == "broker.example 192.0.2.7"
    assert told["METER61850_BROKER_BIND"] == "0.0.0.0"
    assert told["METER61850_MMS_HOSTS"] == "10.0.0.10-10.0.0.12"
    assert told["METER61850_MMS_PORT"] == "10102"
    commands = re.findall(r"^  (meter61850 .*?)  +#", seen.partition("Next:")[2], re.MULTILINE)
    assert [command.split()[3:5] for command in commands] == [
        ["broker", "run"],
        ["web", "user"],
        ["enrol", "new"],
    ]
    run(*commands[2].split()[1:], folder=tmp_path)  # the third needs no service


def test_enter_takes_what_is_usual(tmp_path: Path) -> None:
    answers = {"Hosts": ["localhost"], "MMS address": [""], "MMS port": [""]}
    at_a_terminal(tmp_path, "init", "d", answers=answers)
    told = Deployment.open(tmp_path / "d").environment
    assert told["METER61850_BROKER_BIND"] == "127.0.0.1"
    assert told["METER61850_MMS_HOST"] == "127.0.0.1"
    assert told["METER61850_MMS_PORT"] in ("102", "10102")


@pytest.mark.parametrize("option", [("--host", "broker.example"), ("--if-missing",)])
def test_with_an_option_nobody_is_asked(option: tuple[str, ...], tmp_path: Path) -> None:
    seen = at_a_terminal(tmp_path, "init", "d", *option, answers={})
    assert "Hosts [" not in seen
    assert Deployment(tmp_path / "d").exists


def test_without_a_terminal_nobody_is_asked(tmp_path: Path) -> None:
    said = run("init", "d", folder=tmp_path).stderr
    assert "Hosts" not in said
    assert "Next: meter61850 --dir" in said
    assert Deployment.open(tmp_path / "d").environment["METER61850_MMS_PORT"] == "102"


def test_the_usual_hosts_are_names_that_init_takes() -> None:
    hosts = questions._own_hosts()
    assert questions.checked_hosts(" ".join(hosts)) == hosts
