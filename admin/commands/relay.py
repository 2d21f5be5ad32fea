"""``meter61850 relay``: open, close or block the relays of one meter or of many, over MQTT."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from admin.lazy import new_app
from admin.options import Json, Meter, Mqtt, Prefix, meter_names, mqtt_settings
from admin.output import show_one
from admin.switching import fan_out_command, switching
from admin.switching.fan_out_command import Choice
from broker.contract.relay import Position
from broker.mqtt.settings import MqttSettings

app = new_app(
    no_args_is_help=True, rich_markup_mode=None, help="Open, close or block the relay of a meter, or of many."
)

Meters = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="METER",
        help="meter_id, SMGW001M17, or a name that only one meter has; several are switched in turn.",
        show_default=False,
        autocompletion=meter_names,
    ),
]
Wait = Annotated[
    bool,
    typer.Option(
        "--wait",
        help="Wait until the meter has answered and the relay is in position; always on for many meters.",
    ),
]
All = Annotated[bool, typer.Option("--all", help="Every meter.")]
IedName = Annotated[
    str | None, typer.Option("--ied", metavar="IED", help="Every meter of this IED.", show_default=False)
]
Code = Annotated[
    str | None,
    typer.Option(metavar="CODE", help="Every meter with this address code.", show_default=False),
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Do not ask for confirmation; required without a terminal.")
]
Rate = Annotated[
    float,
    typer.Option(
        min=0.01,
        max=1000,
        help="Commands per second, for many meters: this spreads the inrush current of a neighbourhood.",
    ),
]


@app.command("open")
def open_(
    meters: Meters = None,
    every: All = False,
    ied: IedName = None,
    address_code: Code = None,
    rate: Rate = 2.0,
    yes: Yes = False,
    wait: Wait = False,
    as_json: Json = False,
    mqtt: Mqtt = None,
    prefix: Prefix = None,
) -> None:
    """Open the relay: the house loses power.

    The command is valid for 5 s. Exit 5 if it is refused (here: the meter is offline, its relay is
    unknown, blocked, or open already; or by the meter), 6 if --wait got no answer.

    Many meters: lists the meters and asks for confirmation. Then it sends one command after the other,
    shows the outcome of each, and ends with 6 if a meter did not answer, 5 if a command was refused. Each
    command has its own record in `meter61850 commands`. Ctrl-C stops the sending; it cancels no command
    that was already sent.

    \b
    meter61850 relay open "House 1" --wait
    meter61850 relay open 3f2504e0-4f89-41d3-9a0c-0305e82c3301 --json
    meter61850 relay open "House 1" "House 2" "House 7"
    meter61850 relay open --address-code 7530
    meter61850 relay open --ied SMGW001 --rate 0.5 --yes --json
    """
    choice = Choice(tuple(meters or ()), every=every, ied=ied, address_code=address_code)
    settings = mqtt_settings(mqtt, prefix)
    _run(choice, Position.OPEN, settings, rate=rate, yes=yes, wait=wait, as_json=as_json)


@app.command("close")
def close(
    meters: Meters = None,
    every: All = False,
    ied: IedName = None,
    address_code: Code = None,
    rate: Rate = 2.0,
    yes: Yes = False,
    wait: Wait = False,
    as_json: Json = False,
    mqtt: Mqtt = None,
    prefix: Prefix = None,
) -> None:
    """Close the relay: the house has power again.

    The options and exit codes are those of `meter61850 relay open`. After an outage limit the inrush
    current with --rate: the default is 2 houses per second.

    \b
    meter61850 relay close "House 1" --wait
    meter61850 relay close --all --rate 0.2
    """
    choice = Choice(tuple(meters or ()), every=every, ied=ied, address_code=address_code)
    settings = mqtt_settings(mqtt, prefix)
    _run(choice, Position.CLOSED, settings, rate=rate, yes=yes, wait=wait, as_json=as_json)


def _run(
    choice: Choice,
    position: Position,
    settings: MqttSettings,
    *,
    rate: float,
    yes: bool,
    wait: bool,
    as_json: bool,
) -> None:
    if (single := choice.single) is not None:
        show_one(asyncio.run(switching.switch(single, position, settings, wait=wait)), as_json=as_json)
    else:
        fan_out_command.run(choice, position, settings, rate=rate, yes=yes, as_json=as_json)


@app.command()
def block(
    meter: Meter,
    opening: Annotated[bool, typer.Option("--opening", help="Block opening (XSWI1.BlkOpn).")] = False,
    closing: Annotated[bool, typer.Option("--closing", help="Block closing (XSWI1.BlkCls).")] = False,
    release: Annotated[bool, typer.Option("--release", help="Release the named block, or both.")] = False,
    as_json: Json = False,
    mqtt: Mqtt = None,
    prefix: Prefix = None,
) -> None:
    """Block opening or closing of a meter's relay, release the block, or show it.

    Block closing before work on a house's installation. A block stays until it is released and survives
    all restarts: the broker keeps it, and the meter on its disk. The meter refuses every command against it,
    from SCADA or from here. An offline meter receives it when it is back. `meter61850 commands` lists each
    change with its issuer and time; this command ends when the change is there. Exit 6 if no bridge has
    confirmed this within 10 s: the change is made, but a broker that is killed may lose it.

    \b
    meter61850 relay block "House 1"                      # what is blocked?
    meter61850 relay block "House 1" --closing            # no power until it is released
    meter61850 relay block "House 1" --opening --release  # opening is free again, closing stays
    meter61850 relay block "House 1" --release            # both are free
    """
    settings = mqtt_settings(mqtt, prefix)
    both = release and not (opening or closing)
    change = switching.Change(opening=opening or both, closing=closing or both, blocked=not release)
    told: dict[str, Any] = asyncio.run(switching.block(meter, change, settings))
    show_one(told, as_json=as_json)
