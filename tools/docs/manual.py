"""The manual page meter61850(1), from the commands (`tools/debian` puts it into the packages).

>>> manual().splitlines()[0]
'.TH METER61850 1 "" "meter61850" "User Commands"'
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from admin.exits import MEANINGS
from admin.main import NAME, app

_HEAD = f"""\
.TH {NAME.upper()} 1 "" "{NAME}" "User Commands"
.SH NAME
{NAME} \\- smart meters over MQTT, with IEC 61850 for SCADA
.SH SYNOPSIS
.B {NAME}
[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGS\\fR]...
"""


def manual() -> str:
    """The page, in the language of man(7)."""
    root: Any = typer.main.get_command(app)
    context = root.context_class(root, info_name=NAME)
    commands = "".join(_commands(root, context, NAME))
    codes = "".join(f".TP\n.B {code}\n{_text(meaning)}\n" for code, meaning in MEANINGS.items())
    return (
        f"{_HEAD}.SH DESCRIPTION\n{_help(root.help or '')}{_options(root, context)}"
        f".SH COMMANDS\n{commands}.SH EXIT STATUS\n{codes}"
    )


def _commands(group: Any, context: Any, path: str) -> Iterator[str]:
    """One section for each command below ``group``."""
    for name in group.list_commands(context):
        member = group.get_command(context, name)
        inner = member.context_class(member, info_name=name, parent=context)
        usage = " ".join((f"{path} {name}", *member.collect_usage_pieces(inner)))
        yield f".SS {_text(usage)}\n{_help(member.help or '')}{_options(member, inner)}"
        if hasattr(member, "list_commands"):
            yield from _commands(member, inner, f"{path} {name}")


def _help(text: str) -> str:
    """Paragraphs; what stands after a backspace is an example, line by line."""
    parts = []
    for block in text.strip().split("\n\n"):
        if block.startswith("\b"):
            parts.append(f".PP\n.EX\n{_text(block.removeprefix(chr(8)).strip(chr(10)), keep=True)}\n.EE\n")
        elif block:
            parts.append(f".PP\n{_text(block)}\n")
    return "".join(parts)


def _options(command: Any, context: Any) -> str:
    records = (
        each.get_help_record(context) or (each.make_metavar(context), each.help or "")
        for each in command.get_params(context)
        if each.name != "help"
    )
    return "".join(f".TP\n.B {_text(name)}\n{_text(meaning)}\n" for name, meaning in records)


def _text(text: str, *, keep: bool = False) -> str:
    """``text`` as roff takes it; with ``keep``, in its lines."""
    lines = text.splitlines() if keep else [" ".join(text.split())]
    return "\n".join(_line(line) for line in lines)


def _line(line: str) -> str:
    escaped = line.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
