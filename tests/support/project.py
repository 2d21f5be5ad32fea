"""The project's own files as data: the services of compose.yaml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def compose() -> dict[str, Any]:
    """compose.yaml, with the default of each ``${NAME:-default}`` in its place."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / "compose.yaml").read_text())
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def is_ours(service: dict[str, Any]) -> bool:
    """Whether it runs a command of ours: `network` has another one."""
    return bool(service["image"] == "meter61850" and "entrypoint" not in service)


@dataclass(frozen=True)
class Command:
    """How one of our services is started: what stands after ``meter61850``, and its environment."""

    words: list[str]
    environment: dict[str, str]


def commands(profile: str | None = None) -> dict[str, Command]:
    """Service of ours → how it is started, in the order of the file: those of a profile, or those without."""
    services = {
        name: service
        for name, service in compose()["services"].items()
        if is_ours(service) and profile in service.get("profiles", [None])
    }
    return {
        name: Command([str(word) for word in service["command"]], dict(service["environment"]))
        for name, service in services.items()
    }
