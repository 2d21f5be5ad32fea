"""The command ``meter61850``: its table of commands, options for all of them, errors in one line.

>>> main(["--version"])  # doctest: +SKIP
meter61850 0.1.0
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Annotated, ClassVar

import typer
from pydantic import ValidationError

from admin import logs
from admin.chain.supervisor import obey_supervisor
from admin.deployments import enter_deployment
from admin.exits import MEANINGS, exit_code, root_cause
from admin.lazy import Lazy, LazyGroup, new_app
from admin.output import note
from broker.contract.errors import ConfigurationError, Meter61850Error, reason
from broker.validation import first_complaint

NAME = "meter61850"
# fmt: off
SERVICES = frozenset({
    "broker", "bridge", "mms", "web", "meter", "adapter", "homeassistant", "sparkplug", "credit",
})
# fmt: on
"""Groups whose commands run for long: they log from level info on."""


class Commands(LazyGroup):
    """Every command, in the order of the help."""

    # fmt: off
    table: ClassVar[Mapping[str, Lazy]] = {
        "init":         Lazy("init", needs="server"),
        "up":           Lazy("up", needs="server"),
        "doctor":       Lazy("doctor"),
        "meters":       Lazy("meters", needs="server"),
        "readings":     Lazy("readings", needs="server"),
        "energy":       Lazy("energy", needs="server"),
        "profile":      Lazy("profile", needs="server"),
        "demand":       Lazy("demand", needs="server"),
        "registers":    Lazy("registers", needs="server"),
        "statement":    Lazy("statement", needs="server"),
        "tariffs":      Lazy("tariffs", needs="server"),
        "credit":       Lazy("credit", needs="server"),
        "quality":      Lazy("quality", needs="server"),
        "outages":      Lazy("outages", needs="server"),
        "reliability":  Lazy("reliability", needs="server"),
        "losses":       Lazy("losses", needs="server"),
        "suspicions":   Lazy("suspicions", needs="server"),
        "subscribe":    Lazy("subscribe"),
        "relay":        Lazy("relay"),
        "commands":     Lazy("ledger", needs="server"),
        "audit":        Lazy("audit", needs="server"),
        "alarms":       Lazy("alarms", needs="server"),
        "dead-letters": Lazy("dead_letters", needs="server"),
        "store":        Lazy("store", needs="server"),
        "scl":          Lazy("scl", needs="server"),
        "mms":          Lazy("mms", needs="server"),
        "identity":     Lazy("identity", needs="server"),
        "enrol":        Lazy("enrol", needs="server"),
        "credentials":  Lazy("credentials", needs="server"),
        "devices":      Lazy("devices", needs="server"),
        "broker":       Lazy("broker"),
        "bridge":       Lazy("bridge", needs="server"),
        "web":          Lazy("web", needs="server"),
        "meter":        Lazy("meter", needs="firmware"),
        "adapter":      Lazy("adapter", needs="adapter"),
        "sparkplug":    Lazy("sparkplug"),
        "homeassistant": Lazy("homeassistant"),
    }
    # fmt: on


class LogLevel(StrEnum):
    """From which level on to log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass
class Invocation:
    """What the options before the command said."""

    debug: bool = False


app = new_app(cls=Commands, add_completion=True, no_args_is_help=True, rich_markup_mode=None)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{NAME} {version(NAME)}")
        raise typer.Exit


@app.callback(epilog="Exit codes: " + "; ".join(f"{code} {text}" for code, text in MEANINGS.items()) + ".")
def options(
    ctx: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            envvar="METER61850_DIR",
            metavar="DIR",
            show_default=False,
            readable=False,  # a service may pass through the folder, and not list it
            help="The deployment that `init` made, with settings and identity; default: ./data if it is one.",
        ),
    ] = None,
    log_level: Annotated[
        LogLevel | None,
        typer.Option(
            envvar="METER61850_LOG_LEVEL",
            show_default=False,
            help="Lowest level for the log on stderr; default: info for services, else warning.",
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Log everything, and show tracebacks of errors.")
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Smart meters over MQTT, with IEC 61850 for SCADA.

    \b
    Try the whole chain with simulated meters:
        meter61850 up
    Then, in another terminal:
        meter61850 meters list
        meter61850 relay open "House 1" --wait
        meter61850 mms browse 127.0.0.1:10102

    `meter61850 COMMAND --help` shows details and examples.
    """
    obey_supervisor()
    ctx.obj.debug = debug
    enter_deployment(folder, ctx.invoked_subcommand or "")
    usual = LogLevel.INFO if ctx.invoked_subcommand in SERVICES else LogLevel.WARNING
    logs.set_up(LogLevel.DEBUG if debug else (log_level or usual))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends with SystemExit and a code of :class:`ExitCode`."""
    invocation = Invocation()
    sys.excepthook = _report_bug
    try:
        typer.main.get_command(app)(args=arguments, prog_name=NAME, obj=invocation)
    except (Meter61850Error, ValidationError, BaseExceptionGroup) as error:
        if invocation.debug:
            note(logs.redacted(traceback.format_exc().rstrip()))
        cause = root_cause(error)
        if isinstance(cause, ValidationError):
            cause = ConfigurationError(first_complaint(cause))
        if not isinstance(cause, Meter61850Error | KeyboardInterrupt):
            raise
        note(f"error: {logs.redacted(str(cause) or reason(cause))}")
        raise SystemExit(exit_code(cause)) from None


def _report_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The hook for unexpected errors: one line, without --debug."""
    if "--debug" in sys.argv:
        note(logs.redacted("".join(traceback.format_exception(kind, error, trace)).rstrip()))
        return
    text = logs.redacted(" ".join(f"{kind.__name__}: {error}".split()))
    note(
        f"error: {text[:500]} (this is an internal error: run it again with {NAME} --debug … and report it)",
    )
