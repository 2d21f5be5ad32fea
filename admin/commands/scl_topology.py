"""``meter61850 scl topology``: the check of a topology file before the bridge reads it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from admin.exits import ExitCode, NotFoundError
from admin.options import Json
from admin.output import line, note, print_json
from broker.contract.errors import ConfigurationError
from scl_builder.model.topology import By, Topology
from scl_builder.read.topology_file import TopologyError, read_topology

_NOUNS = {By.NUMBER: "meters by number", By.NAME: "by name", By.CODE: "address codes"}


def topology(
    file: Annotated[Path, typer.Argument(help="The file that METER61850_TOPOLOGY of the bridge names.")],
    as_json: Json = False,
) -> None:
    """Check a topology file: substations, transformers, feeders, phases and their meters; exit 1 if wrong.

    The message names line, key and value, and what would be right. docs/topology.example.toml explains the
    file. `meter61850 scl check` checks the SCD that the bridge makes with it.

    \b
    meter61850 scl topology topology.toml
    """
    try:
        found = read_topology(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotFoundError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file}: it is not UTF-8: save it as UTF-8") from error
    except TopologyError as error:
        line(f"{file}: {error}")
        raise typer.Exit(ExitCode.FAILURE) from error
    counts = Counter(choice.by for choice, _ in found.choices())
    if as_json:
        print_json({"substations": [site.name for site in found.sites]} | {by.value: counts[by] for by in By})
    else:
        note(f"{file}: {_summary(found, counts)}")


def _summary(found: Topology, counts: Counter[By]) -> str:
    named = [f"{counts[by]} {noun}" for by, noun in _NOUNS.items() if counts[by]]
    return f"{found}, {', '.join(named) or 'no meters'}"
