"""What the README shows is what happens: its commands run, its output is the real one but for numbers."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from rich.console import Console

from admin.chain.live import Line, live_table
from admin.mms.meter_values import Told
from broker.contract.quantities import QUANTITIES
from broker.contract.relay import Position
from tests.support.cli import Running, environment, up
from tests.support.project import ROOT

README = (ROOT / "README.md").read_text()


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


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """What `make up` starts, on free ports."""
    with up(tmp_path_factory.mktemp("readme")) as running:
        running.ready()
        yield running


def test_readme_has_about_a_hundred_lines() -> None:
    assert 60 <= README.count("\n") <= 120


def test_output_of_make_up(chain: Running) -> None:
    (output,) = [lines for command, lines in shown() if command == "make up"]
    assert masked(output[0]) == masked(chain.ready())
    console = Console(width=120, color_system=None)
    told = {name: Told(1, "good", datetime.now(UTC)) for name in QUANTITIES}
    with console.capture() as capture:
        line = Line("House 1", told | {"relay": Told(Position.CLOSED, "good", datetime.now(UTC))})
        console.print(live_table([line], now=datetime.now(UTC), more=0))
    assert output[1].split() == capture.get().splitlines()[0].split()


def test_operators_commands_run(chain: Running) -> None:
    """In the order of the README, beside the running chain."""
    for arguments in commands("meter61850"):
        if (
            arguments[:2] in (["meter", "run"], ["meter", "simulate"], ["up"])
            or "broker.example" in arguments
        ):
            continue  # these run for ever, or need a broker of that name
        words = [word.replace("127.0.0.1:10102", chain.mms) for word in arguments]
        done = subprocess.run(
            [sys.executable, "-P", "-m", "admin", *words],
            cwd=chain.folder,
            env=environment() | {"METER61850_MQTT_PORT": str(chain.mqtt_port)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stderr)


def test_there_are_commands_to_run() -> None:
    assert len(commands("meter61850")) >= 5
    assert ["up"] in commands("make")


@pytest.mark.parametrize("arguments", commands("make"), ids=" ".join)
def test_make_knows_the_targets(arguments: list[str]) -> None:
    done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_extras_and_files_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for (wanted,) in [arguments[1:] for arguments in commands("pip")]:
        for extra in re.findall(r"\[(.*)\]", wanted)[0].split(","):
            assert extra in extras
    for source, *_ in commands("cp"):
        assert (ROOT / source).is_file()
    for folder in re.findall(r"`(\w+)/`", README):
        assert (ROOT / folder).is_dir(), folder
