"""A command for many meters: the list, the confirmation, the progress and the table at the end.

>>> Choice(("House 1", "House 2")).single is None
True
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import aiomqtt
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from admin import mqtt
from admin.exits import ExitCode, NotFoundError, RefusedError
from admin.output import note, show, stderr
from admin.switching import directory
from admin.switching.fan_out import NOT_SENT, FanOut
from admin.tables import table
from broker.contract.commands import against_switching
from broker.contract.errors import ConfigurationError, UnavailableError
from broker.contract.known import Known
from broker.contract.names import by_name
from broker.contract.relay import Position
from broker.contract.topics import Topics
from broker.mqtt.settings import MqttSettings

SHOWN = 20
"""Meters that are listed before the question; the rest is counted."""


@dataclass(frozen=True)
class Choice:
    """The meters that are named, or those that meet all of the other fields."""

    names: tuple[str, ...] = ()
    every: bool = False
    ied: str | None = None
    address_code: str | None = None

    @property
    def single(self) -> str | None:
        """The one meter that is named; None for many; ConfigurationError for a choice that is none."""
        by_field = self.every or self.ied is not None or self.address_code is not None
        if bool(self.names) == by_field:
            what = "METER or --all, --ied, --address-code, not both" if by_field else "which METER, or --all"
            raise ConfigurationError(f"say {what}")
        return self.names[0] if len(self.names) == 1 else None

    async def meters(self, client: aiomqtt.Client, topics: Topics) -> list[Known]:
        """The meters by name; NotFoundError when there is none."""
        everybody = await directory.everybody(client, topics)
        if self.names:
            names = {meter_id: known.name for meter_id, known in everybody.items()}
            chosen = {
                await directory.of_device(client, topics, name) or directory.chosen(name, names)
                for name in self.names
            }
        else:
            chosen = await directory.meters_of(client, topics, self.ied) if self.ied else set(everybody)
        found = [known for meter_id, known in everybody.items() if meter_id in chosen]
        if self.address_code is not None:
            found = [m for m in found if m.birth and m.birth.address_code == self.address_code]
        if not found:
            raise NotFoundError("this selects no meter: `meter61850 meters list` shows all")
        return sorted(found, key=lambda known: by_name(known.name, known.meter_id))


def run(
    choice: Choice, position: Position, settings: MqttSettings, *, rate: float, yes: bool, as_json: bool
) -> None:
    """Ask, send, wait, show; ends with typer.Exit and `FanOut.exit_code`."""
    settings, meters = asyncio.run(_look(choice, settings))
    _confirm(meters, position, rate=rate, yes=yes)
    meter_ids = [meter.meter_id for meter in meters]
    raise typer.Exit(asyncio.run(_switch(meter_ids, position, settings, rate=rate, as_json=as_json)))


async def _look(choice: Choice, settings: MqttSettings) -> tuple[MqttSettings, list[Known]]:
    settings = await mqtt.speaking(settings)
    async with mqtt.connected(settings) as client:
        return settings, await choice.meters(client, settings.topics)


def _confirm(meters: Sequence[Known], position: Position, *, rate: float, yes: bool) -> None:
    """List the meters and ask; RefusedError if the answer is no, ConfigurationError without a terminal."""
    in_vain = sum(against_switching(meter, position) is not None for meter in meters)
    verb = "Open" if position is Position.OPEN else "Close"
    what = f"{verb} the relays of {len(meters)} meters"
    note(f"{what}{f', of which {in_vain} would be refused' if in_vain else ''}, {rate:g} a second")
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError("there is no terminal for the confirmation: use --yes")
    stderr.print(table([_line(meter, position) for meter in meters[:SHOWN]]))
    if len(meters) > SHOWN:
        note(f"… and {len(meters) - SHOWN} more")
    if not typer.confirm(f"{what}?", err=True):
        raise RefusedError("nothing was sent")


def _line(meter: Known, position: Position) -> dict[str, object]:
    birth, objection = meter.birth, against_switching(meter, position)
    return {
        "meter": meter.name,
        "address": birth.address if birth else "",
        "relay": meter.position,
        "refused because": objection.reason if objection else "",
    }


async def _switch(
    meter_ids: Sequence[str], position: Position, settings: MqttSettings, *, rate: float, as_json: bool
) -> ExitCode:
    """The fan-out with what is known now: the question may have waited for an hour."""
    stop = asyncio.Event()
    fan_out: FanOut | None = None
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, _stop, stop)
    try:
        async with mqtt.connected(settings) as client:
            known = await directory.everybody(client, settings.topics)
            meters = [known.get(meter_id, Known(meter_id)) for meter_id in meter_ids]
            fan_out = FanOut(client, settings, position, meters)
            columns = (TextColumn("sent"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
                task = bar.add_task("sent", total=len(meters))
                await fan_out.run(rate=rate, stop=stop, sent=lambda: bar.advance(task))
    except UnavailableError as error:
        note(f"error: {error}")
        _show(fan_out, position, as_json=as_json)
        return ExitCode.UNAVAILABLE
    _show(fan_out, position, as_json=as_json)
    return ExitCode.INTERRUPTED if stop.is_set() else fan_out.exit_code


def _stop(stop: asyncio.Event) -> None:
    """The first Ctrl-C stops the sending; another one ends the waiting, too."""
    note("stopping: no further commands; waiting for the answers to the sent ones")
    stop.set()
    asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)


def _show(fan_out: FanOut | None, position: Position, *, as_json: bool) -> None:
    orders = fan_out.orders if fan_out else []
    show([order.row(position) for order in orders], as_json=as_json, empty="nothing was sent")
    outcomes = [order.outcome for order in orders]
    counts = [f"{outcomes.count(outcome)} {outcome}" for outcome in sorted(set(outcomes) - {NOT_SENT})]
    if NOT_SENT in outcomes:
        counts.append(f"{outcomes.count(NOT_SENT)} {NOT_SENT}")
    note(", ".join(counts))
