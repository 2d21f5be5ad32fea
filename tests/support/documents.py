"""The hand-written documents, and what in them the project does not have.

Each function takes Markdown and returns the faults as short texts; an empty list means that all is there.

>>> unknown_commands("`meter61850 meters list --jsn`")
['meter61850 meters list: no option --jsn']
"""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from admin.main import NAME, Commands, app
from meter_firmware.settings import MeterSettings
from mms_bridge.access.client_rights import ClientEntry, Rights
from tests.support.project import ROOT
from tools.docs.cli import DOCUMENTS
from tools.docs.settings_reference import SERVICES

PROGRAMS = ("admin", "bridge", "broker", "meter_firmware", "mms_bridge", "registrar", "scl_builder", "web")
PACKAGES = (*PROGRAMS, "bench", "tests", "tools")
WRITTEN = tuple(
    path
    for path in (
        *sorted((ROOT / "docs").glob("*.md")),
        *(ROOT / "README.md", ROOT / "SECURITY.md"),
        *sorted((ROOT / "deploy").rglob("*.md")),
    )
    if path not in DOCUMENTS
)
"""Every document that is written by hand."""
ALL = (*WRITTEN, *sorted(path for path in DOCUMENTS if path.suffix == ".md"))
FOREIGN = frozenset({"--require-hashes", "--no-build-isolation"})
"""Options of pip that the documents name on their own."""

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^ {4}(?![-*|] ).*\n?)+", re.MULTILINE)
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_PLACEHOLDER = re.compile(r"…|\.\.\.|[A-Z]+…?|\[.*")
"""What stands for a command that the reader chooses."""


def prose(text: str) -> str:
    """``text`` without its code blocks."""
    return _INDENTED.sub("", _FENCE.sub("", text))


def spans(text: str) -> list[str]:
    """Inline code, each on one line."""
    return [" ".join(span.split()) for span in _SPAN.findall(prose(text))]


def code_lines(text: str) -> Iterator[str]:
    """The lines of all code blocks, without prompt, continued lines joined."""
    bodies = [body for _, body in _FENCE.findall(text)] + _INDENTED.findall(_FENCE.sub("", text))
    for body in bodies:
        for line in body.replace("\\\n", " ").splitlines():
            yield line.strip().removeprefix("$ ")


def anchors(text: str) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(text: str, path: Path) -> list[str]:
    """Links of the document ``path`` to a file or an anchor that is not there."""
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", text)):
        file, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = path.parent / file if file else path
        found = (
            anchors(there.read_text() if file else text)
            if there.suffix == ".md" and there.exists()
            else set()
        )
        if not there.exists() or (anchor and anchor not in found):
            dead.append(target)
    return dead


@cache
def _members(words: tuple[str, ...]) -> dict[str, Any]:
    """Name → command of the members of the group ``words``; none of a command that is no group."""
    command = _command(words)
    if not hasattr(command, "list_commands"):
        return {}
    return {name: command.get_command(None, name) for name in command.list_commands(None)}


@cache
def _command(words: tuple[str, ...]) -> Any:
    return _members(words[:-1])[words[-1]] if words else typer.main.get_command(app)


def _every_command(words: tuple[str, ...] = ()) -> Iterator[Any]:
    yield _command(words)
    for name in _members(words):
        yield from _every_command((*words, name))


def _flags(command: Any) -> dict[str, bool]:
    """Option → whether a value follows it."""
    options = {"--help": False}
    for parameter in command.params:
        if parameter.param_type_name == "option":
            names = (*parameter.opts, *parameter.secondary_opts)
            options |= dict.fromkeys(names, not parameter.is_flag)
    return options


def unknown_commands(text: str) -> list[str]:
    """Commands and options that ``meter61850`` does not have."""
    faults = []
    for words in _uses(text):
        faults += _faults(words)
    options = {option for command in _every_command() for option in _flags(command)} | FOREIGN | _of_benches()
    for span in spans(text):
        if span.startswith("--") and (option := re.split(r"[ =]", span)[0]) not in options:
            faults.append(f"no option {option}")
    return faults


@cache
def _of_benches() -> frozenset[str]:
    """The options of benchmarks and of the tests that are programs."""
    files = [*(ROOT / "bench").glob("*.py"), *(ROOT / "tests").glob("*/__main__.py")]
    return frozenset(name for file in files for name in re.findall(r'"(--[\w-]+)"', file.read_text()))


def _uses(text: str) -> Iterator[list[str]]:
    """The words after each ``meter61850``, and the spans that leave it out (``meters list``)."""
    for line in (*code_lines(text), *spans(text)):
        for simple in _simple_commands(line):
            if words := _called(simple):
                yield words[1:]
    for span in spans(text):
        for words in _simple_commands(span):
            if len(words) > 1 and words[0] in Commands.table and re.fullmatch(r"[a-z][a-z-]+|-.*", words[1]):
                yield words


def _called(words: list[str]) -> list[str]:
    """``words`` from ``meter61850`` on; empty if that is not the program that they call."""
    while words and ("=" in words[0] or words[0] == "sudo"):
        words = words[1:]
    if words[:3] == ["docker", "compose", "exec"]:
        words = words[4:]
    return words if words and words[0].rpartition("/")[2] == NAME else []


def _simple_commands(line: str) -> Iterator[list[str]]:
    """The words of each command of a shell line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    try:
        for word in lexer:
            if set(word) <= set("|&;<>"):
                yield words
                words = []
            else:
                words.append(word)
    except ValueError:  # an apostrophe: no shell line
        return
    yield words


def _faults(words: list[str]) -> list[str]:
    """What is wrong with the words after ``meter61850``."""
    path: tuple[str, ...] = ()
    rest = list(words)
    faults = []
    while rest and rest[0] != "--":
        word = rest.pop(0)
        if word.startswith("-") and word != "-":
            option, given, _ = word.partition("=")
            flags = _flags(_command(path))
            if option not in flags:
                faults.append(f"{' '.join((NAME, *path))}: no option {option}")
            elif flags[option] and not given:
                rest = rest[1:]
        elif members := _members(path):
            if _PLACEHOLDER.fullmatch(word):
                break
            if word not in members:
                return [*faults, f"no command {' '.join((NAME, *path, word))}"]
            path = (*path, word)
    return faults


def unknown_settings(text: str) -> list[str]:
    """Environment variables and keys of the TOML files that the code does not have."""
    faults = [name for name in re.findall(r"METER61850_[A-Z0-9_]+(?!…)\b", text) if name not in _variables()]
    for prefix in re.findall(r"(METER61850_[A-Z0-9_]*)…", text):
        faults += [] if any(name.startswith(prefix) for name in _variables()) else [f"{prefix}…"]
    for language, body in _FENCE.findall(text):
        faults += (
            [key for key in _keys_of(tomllib.loads(body)) if key not in _keys()]
            if language == "toml" and "[[source]]" not in body  # tests/unit/test_docs_adapters.py
            else []
        )
    for span in spans(text):
        if match := re.fullmatch(r"(?:\[(\w+)\] ?)?(\w+)(?: = .*)?", span):
            section, key = match.groups()
            known = _section_keys(section) if section else _keys()
            if key not in known and (section or " = " in span):
                faults.append(span)
    return faults


@cache
def _variables() -> frozenset[str]:
    """Every environment variable: of the settings, of the command line, and those read by name."""
    found: set[str] = set()
    for _, model in SERVICES:
        prefix = str(model.model_config.get("env_prefix", ""))
        found |= {prefix + name.upper() for name in model.model_fields}
    for command in _every_command():
        found |= {parameter.envvar for parameter in command.params if isinstance(parameter.envvar, str)}
    for file in (file for package in PROGRAMS for file in (ROOT / package).rglob("*.py")):
        found |= set(_strings(file))
    return frozenset(found)


def _strings(file: Path) -> Iterator[str]:
    """The strings of a module that are the name of a variable and nothing else."""
    text = file.read_text()
    for node in ast.walk(ast.parse(text)) if '"METER61850_' in text else ():
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, str) and re.fullmatch(r"METER61850_[A-Z0-9_]+", value):
            yield value


def _section_keys(section: str) -> frozenset[str]:
    field = MeterSettings.model_fields.get(section)
    model = field.annotation if field else None
    return (
        frozenset(model.model_fields)
        if isinstance(model, type) and issubclass(model, BaseModel)
        else frozenset()
    )


@cache
def _keys() -> frozenset[str]:
    """Every key of ``meter.toml`` and of the file of MMS clients."""
    parts = [_section_keys(section) for section in MeterSettings.model_fields]
    return frozenset(
        {*MeterSettings.model_fields, *Rights.model_fields, *ClientEntry.model_fields}.union(*parts)
    )


def _keys_of(table: dict[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        yield key
        for inner in (value.values() if key == "clients" else [value]) if isinstance(value, dict) else []:
            yield from _keys_of(inner)


def unknown_paths(text: str) -> list[str]:
    """Files, folders, modules and names of modules that the project does not have."""
    packages = "|".join(PACKAGES)
    faults = []
    for name in re.findall(
        rf"\b((?:{packages}|deploy|docs|requirements)/[\w./-]+\.(?:py|md|in|lock|toml|service|sysusers))\b",
        text,
    ):
        faults += [] if (ROOT / name).exists() else [name]
    for span in spans(text):
        if re.fullmatch(r"[\w-]+\.py", span) and not any(ROOT.glob(f"[a-z]*/**/{span}")):
            faults.append(span)
        if re.fullmatch(rf"(?:{packages})(?:/\w+)+/", span) and not (ROOT / span).is_dir():
            faults.append(span)
    for name in re.findall(
        rf"(?<![\w/.])((?:{packages})(?:\.(?!example)\w+)+)\b(?![/(]|\.py)",
        " ".join(spans(text)) + " ".join(re.findall(r"python -m ([\w.]+)", text)),
    ):
        faults += [] if _is_there(name.split(".")) else [name]
    return faults


def _is_there(parts: list[str]) -> bool:
    """Whether a dotted name is a module, or a name that a module defines."""
    if (ROOT / Path(*parts)).is_dir() or (ROOT / Path(*parts)).with_suffix(".py").is_file():
        return True
    module = (ROOT / Path(*parts[:-1])).with_suffix(".py")
    defined = rf"^(?:class |def |async def )?{re.escape(parts[-1])}\b"
    return module.is_file() and re.search(defined, module.read_text(), re.MULTILINE) is not None
