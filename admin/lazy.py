"""A typer group whose commands are imported when they are called: one row of a table for each.

A command whose part is not installed stays in the list, and names the extra to install.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup

from broker.contract.errors import UnavailableError

OURS = (
    "adapters", "admin", "bridge", "broker", "meter_firmware", "mms_bridge", "registrar", "scl_builder",
    "web",
)  # fmt: skip


LONGEST = 1000
"""Characters of a sentence in a help, which no sentence has."""


@dataclass(frozen=True)
class Lazy:
    """Where a command is: ``module`` in admin.commands holds a typer ``app``; ``needs`` is an extra."""

    module: str
    needs: str = ""


class MissingPartError(UnavailableError):
    """A command needs packages that are not installed."""


def load(module: str, *, needs: str = "server") -> Any:
    """Import a module of ours; MissingPartError when a package that it needs is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in OURS:
            raise
        raise MissingPartError(
            f"{missing} is not installed: pip install 'meter61850[{needs}]' for this command"
        ) from error


class Group(TyperGroup):
    """A group whose help has the first sentence of each command in full, over several lines if needed."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """As typer does it, but without an end that is cut off."""
        found: list[tuple[str, Any]] = [
            (name, self.get_command(ctx, name)) for name in self.list_commands(ctx)
        ]
        rows = [(name, one.get_short_help_str(LONGEST)) for name, one in found if one and not one.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


class LazyGroup(Group):
    """Commands of :attr:`table`."""

    table: ClassVar[Mapping[str, Lazy]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the table."""
        return list(self.table)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the command; None when there is none of that name."""
        lazy = self.table.get(cmd_name)
        if lazy is None:
            return None
        try:
            app = load(f"admin.commands.{lazy.module}", needs=lazy.needs).app
        except MissingPartError as error:
            app = _stub(error)
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command


def new_app(**settings: Any) -> typer.Typer:
    """A typer app in our manner: no completion options of its own, errors are ours to print."""
    settings = {"cls": Group, "add_completion": False, **settings}
    return typer.Typer(pretty_exceptions_enable=False, **settings)


def _stub(error: MissingPartError) -> typer.Typer:
    """Replaces a command that cannot be imported: its help and its call report the missing part."""
    app = new_app()

    @app.command(
        help=str(error),
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    )
    def missing() -> None:
        raise error

    return app
