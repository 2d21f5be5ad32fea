"""The help of every command: whole sentences, lines that fit, and nothing that a reader cannot copy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from admin.main import NAME, app


def walk(command: Any, context: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Path, command and context of every command."""
    yield path, command, context
    for name in command.list_commands(context) if hasattr(command, "list_commands") else []:
        member = command.get_command(context, name)
        below = member.context_class(member, info_name=name, parent=context)
        yield from walk(member, below, f"{path} {name}")


def everything() -> list[tuple[str, Any, Any]]:
    root: Any = typer.main.get_command(app)
    return list(walk(root, root.context_class(root, info_name=NAME), NAME))


EVERY = everything()
PATHS = [path for path, _, _ in EVERY]
each = pytest.mark.parametrize(("path", "command", "context"), EVERY, ids=PATHS)


def test_there_are_commands() -> None:
    assert len(EVERY) > 60
    assert f"{NAME} enrol approve" in PATHS


@each
def test_no_line_is_cut(path: str, command: Any, context: Any) -> None:
    lines = command.get_help(context).splitlines()
    usage = next(number for number, line in enumerate(lines) if not line.strip())
    args = re.compile(r"^\s+\[?[A-Z/]+\]?\.\.\.")  # the row of an argument that may be repeated
    cut = [line for line in lines[usage:] if re.search(r"…|\.\.\.", args.sub("", line))]
    assert cut == [], path


@each
def test_the_list_of_commands_has_whole_sentences(path: str, command: Any, context: Any) -> None:
    text = " ".join(command.get_help(context).split())
    for name in command.list_commands(context) if hasattr(command, "list_commands") else []:
        said = command.get_command(context, name).get_short_help_str(10_000)
        assert said, f"{path} {name}"
        assert " ".join(said.split()) in text, f"{path} {name}"


@each
def test_every_option_says_what_it_is(path: str, command: Any, context: Any) -> None:
    silent = [one.name for one in command.get_params(context) if not getattr(one, "help", None)]
    assert silent == [], path


@each
def test_no_line_is_longer_than_a_terminal(path: str, command: Any, context: Any) -> None:
    """But for examples, which must not be broken."""
    long = [line for line in command.get_help(context).splitlines() if len(line) > 100]
    assert [line for line in long if f" {NAME} " not in line] == [], path
