"""Writes what is generated: docs/topics, cli, settings and others, mosquitto.conf (``make docs``).

>>> cli_markdown().splitlines()[0]
'# Command line'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from admin.exits import MEANINGS
from admin.main import NAME, app
from bridge.credit.credit_file import EXAMPLE as CREDIT
from bridge.store.tariffs import EXAMPLE as TARIFFS
from broker.daemon.mosquitto import BrokerSettings, render
from tools.docs.alarms import alarms_markdown
from tools.docs.conformance import conformance_markdown
from tools.docs.settings_reference import settings_markdown
from tools.docs.topics import topics_markdown
from tools.docs.wired import wired_kinds_markdown

ROOT = Path(__file__).resolve().parents[2]

_HEAD = f"""\
# Command line

`make docs` generates this file from the commands: change it there. `{NAME} COMMAND --help` shows the same.

## Exit codes

| code | meaning |
|---|---|
"""


def cli_markdown() -> str:
    """The whole document."""
    codes = "".join(f"| {code} | {text} |\n" for code, text in MEANINGS.items())
    root: Any = typer.main.get_command(app)
    context = root.context_class(root, info_name=NAME)
    return _HEAD + codes + "".join(_sections(root, context, NAME))


def _sections(command: Any, context: Any, path: str) -> Iterator[str]:
    """One section for each command, a group before its members."""
    names = command.list_commands(context) if hasattr(command, "list_commands") else []
    yield _section(command, context, path)
    for name in names:
        member = command.get_command(context, name)
        yield from _sections(
            member, member.context_class(member, info_name=name, parent=context), f"{path} {name}"
        )


def _section(command: Any, context: Any, path: str) -> str:
    usage = " ".join((path, *command.collect_usage_pieces(context)))
    rows = "".join(
        _row(parameter, context) for parameter in command.get_params(context) if parameter.name != "help"
    )
    table = f"\n| option | meaning |\n|---|---|\n{rows}" if rows else ""
    return f"\n## {path}\n\n```\n{usage}\n```\n\n{_prose(command.help or '')}{table}"


def _prose(text: str) -> str:
    """Help as Markdown: what stands after a backspace is an example, line by line."""
    blocks = []
    for block in text.strip().split("\n\n"):
        if block.startswith("\b"):
            lines = block.removeprefix("\b").strip("\n")
            blocks.append(f"```\n{lines}\n```")
        else:
            blocks.append(block)
    return "\n\n".join(blocks) + "\n"


def _row(parameter: Any, context: Any) -> str:
    name, meaning = parameter.get_help_record(context) or (
        parameter.make_metavar(context),
        parameter.help or "",
    )
    names = re.sub(r"^(--[\w-]+), (?=--)", r"\1`, `", _escaped(name))
    return f"| `{names}` | {_escaped(meaning)} |\n"


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


DOCUMENTS: dict[Path, Callable[[], str]] = {
    ROOT / "docs" / "topics.md": topics_markdown,
    ROOT / "docs" / "alarms.md": alarms_markdown,
    ROOT / "docs" / "cli.md": cli_markdown,
    ROOT / "docs" / "settings.md": settings_markdown,
    ROOT / "docs" / "conformance.md": conformance_markdown,
    ROOT / "docs" / "wired-kinds.md": wired_kinds_markdown,
    ROOT / "docs" / "tariffs.example.toml": TARIFFS.read_text,
    ROOT / "docs" / "credit.example.toml": CREDIT.read_text,
    ROOT / "mosquitto.conf": lambda: render(BrokerSettings()),
}
"""Every generated file, and what makes its text."""


def main() -> None:
    """Write every document."""
    for path, text in DOCUMENTS.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text())


if __name__ == "__main__":
    main()
