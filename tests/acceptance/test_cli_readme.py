"""What the README shows is what happens: its commands run, its output is the real one but for numbers."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from rich.console import Console

from admin.chain.live import Line, live_table
from admin.mms.meter_values import Told
from broker.contract.quantities import QUANTITIES
from broker.contract.relay import Position
from broker.contract.topics import checked_meter_id
from meter_firmware.simulate import meter_id
from tests.support.newcomer import Command, Shell, is_possible, newcomer
from tests.support.project import ROOT

README = (ROOT / "README.md").read_text()
CODE = re.compile(r"(?:\w{4}-){5}\w{4}")


def shown() -> list[tuple[str, list[str]]]:
    """Each command of a console block, and the lines that stand below it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:].partition(" #")[0].strip(), []))
            else:
                found[-1][1].append(line)
    return found


def commands(program: str) -> list[list[str]]:
    """The arguments of every use of ``program``, also after ``&&``."""
    parts = [shlex.split(part) for command, _ in shown() for part in command.split("&&")]
    return [words[1:] for words in parts if words[0].rpartition("/")[2] == program]


def masked(text: str) -> str:
    """``text`` without its numbers."""
    return re.sub(r"\d+(\.\d+)*", "0", text)


NEEDS_IDENTITIES = "enrol new"
"""The first command of the README that works with Mosquitto only."""
NEW = checked_meter_id(meter_id(seed=7, number=1))
FOR_EVER = ("meter simulate", "subscribe")


def operators_commands() -> list[str]:
    """What the README lets one type beside the chain, in its order."""
    found = [command for command, _ in shown()]
    return [command for command in found if ".venv/bin/meter61850" in command]


@pytest.fixture(scope="module", params=["mosquitto", "embedded"])
def machine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Shell, Command]]:
    """A machine with a clean clone, its broker, and `make up` there, which is READY."""
    if not is_possible():
        pytest.skip("this machine gives us no network namespace")
    broker = str(request.param)
    with newcomer(tmp_path_factory.mktemp(broker), mosquitto=broker == "mosquitto") as shell:
        chain = shell.run("make up", background=True)
        chain.shows("READY in")
        yield broker, shell, chain


def test_readme_has_about_a_hundred_lines() -> None:
    assert 60 <= README.count("\n") <= 120


def test_readmes_commands_work_or_say_what_is_missing(machine: tuple[str, Shell, Command]) -> None:
    """All of them as they stand, but for the code, which is the one that was printed."""
    broker, shell, chain = machine
    (output,) = [lines for command, lines in shown() if command == "make up"]
    if broker == "mosquitto":
        assert masked(output[0]) == masked(chain.shows("READY in"))
    assert "log in as admin with" in chain.shows("log in")
    code, works = "", True
    for written in operators_commands():
        works = works and (broker == "mosquitto" or NEEDS_IDENTITIES not in written)
        line = CODE.sub(code, written) if code else written
        command = shell.run(line, background=works and any(words in line for words in FOR_EVER))
        if not works:
            assert command.ended() == 2, (line, str(command))
            assert "install Mosquitto" in command.err.read_text(), (line, str(command))
        elif any(words in line for words in FOR_EVER):
            continue
        else:
            assert command.ended() == 0, (line, str(command))
        if NEEDS_IDENTITIES in line and works:
            code = command.lines()[0]
    if broker == "mosquitto":  # anna hears the meter that was enrolled with the code
        assert NEW in command.shows(NEW)


def test_output_of_make_up() -> None:
    (output,) = [lines for command, lines in shown() if command == "make up"]
    console = Console(width=120, color_system=None)
    told = {name: Told(1, "good", datetime.now(UTC)) for name in QUANTITIES}
    with console.capture() as capture:
        line = Line("House 1", told | {"relay": Told(Position.CLOSED, "good", datetime.now(UTC))})
        console.print(live_table([line], now=datetime.now(UTC), more=0))
    assert output[1].split() == capture.get().splitlines()[0].split()


def test_there_are_commands_to_run() -> None:
    assert len(commands("meter61850")) >= 5
    assert ["up"] in commands("make")


@pytest.mark.parametrize("arguments", commands("make"), ids=" ".join)
def test_make_knows_the_targets(arguments: list[str]) -> None:
    done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_folders_exist() -> None:
    for folder in re.findall(r"`(\w+)/`", README):
        assert (ROOT / folder).is_dir(), folder


@pytest.mark.parametrize("reader", ["install", "operate", "SCADA", "administer"])
def test_each_reader_has_links(reader: str) -> None:
    (row,) = [line for line in README.splitlines() if line.startswith("|") and f"**{reader}**" in line]
    assert len(re.findall(r"\]\(\w", row)) >= 3


def test_it_begins_with_a_picture_and_the_time_to_success() -> None:
    begin = README.partition("```console")[0]
    (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", begin)
    assert (ROOT / picture).read_bytes()[:4] == b"\x89PNG"
    assert (ROOT / picture).stat().st_size < 150_000
    assert "minutes" in begin
