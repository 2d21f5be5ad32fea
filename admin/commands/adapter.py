"""``meter61850 adapter``: other makers' devices as meters."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from adapters import acceptance, discovery, points
from adapters import run as adapter
from adapters.acceptance import Rule
from adapters.discovery import Discovery
from adapters.enrolling import Admission, Entrance, enrol_accepted
from adapters.families.registry import families as all_families
from adapters.settings import AdapterSettings
from adapters.sites import Known, read_sites
from admin.commands.adapter_places import place_of, places_of
from admin.commands.adapter_simulate import simulate
from admin.enrolment_place import EnrolmentBroker, EnrolmentCa, EnrolmentPlace, folder_of, nearest
from admin.exits import NotFoundError
from admin.lazy import new_app
from admin.options import (
    METRICS_ADDRESS,
    Json,
    MetricsAddress,
    duration,
    metrics_option,
    metrics_place,
)
from admin.output import note, print_json, show
from broker.contract.enrolment_codes import EnrolmentCode
from broker.contract.errors import ConfigurationError

app = new_app(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Devices of other makers, on MQTT, as meters.\n\n\b\nmeter61850 adapter discover",
)

MetricsPort = Annotated[int | None, metrics_option("METER61850_ADAPTER_METRICS_PORT")]
Config = Annotated[
    Path, typer.Option(help="The adapter's settings; adapters/adapters.example.toml explains each.")
]
Seconds = Annotated[float, typer.Option(min=0.1, max=3600, help="How long to listen to the brokers.")]
Code = Annotated[str | None, typer.Option(show_default=False, help="Enrol new meters with this code.")]
Between = typer.Option(min=0.05, show_default=False, help="Seconds between its messages.")
Interval = Annotated[float | None, Between]
Reverse = Annotated[bool, typer.Option("--reverse", help="It is wired the other way: import is export.")]
SPARE = ("model", "meter_id", "quantities")
"""Columns of `discover` that a narrow terminal does without."""


@app.command()
def run(
    ctx: typer.Context,
    config: Config = Path("adapters.toml"),
    code: Code = None,
    broker: EnrolmentBroker = None,
    ca: EnrolmentCa = None,
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = METRICS_ADDRESS,
) -> None:
    """Run the meters of all accepted devices, until Ctrl-C or SIGTERM.

    A device that is accepted while it runs becomes a meter at once.

    \b
    cp adapters/adapters.example.toml adapters.toml    # then edit it
    meter61850 adapter run --config adapters.toml
    """
    settings = AdapterSettings.load(config)
    entrance = _entrance(settings, code, nearest(folder_of(ctx), broker, ca), wait="0s") if code else None
    adapter.main(settings, entrance=entrance, metrics=metrics_place(metrics_port, metrics_address))


@app.command()
def discover(config: Config = Path("adapters.toml"), seconds: Seconds = 5.0, as_json: Json = False) -> None:
    """Show the devices on the brokers, and the meter that each of them is or would be.

    It accepts nothing and switches nothing. `relay` is "switch" where commands may switch it. Devices that
    publish rarely need more --seconds to show what they measure. Exit 4: a broker does not answer.

    \b
    meter61850 adapter discover
    meter61850 adapter discover --seconds 30 --json
    """
    settings = AdapterSettings.load(config)
    found = asyncio.run(discovery.discover(settings, seconds=seconds))
    rows = [device.row() for device in found.devices]
    if as_json:
        print_json({"devices": rows, "findings": found.findings, "unreachable": found.unreachable})
    else:
        show([_for_people(row) for row in rows], as_json=False, empty="no device was found", spare=SPARE)
        _tell_findings(found, settings)
    if found.unreachable:
        note(f"no connection to the broker of the source {', '.join(found.unreachable)}")
        raise typer.Exit(4)


@app.command()
def accept(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="FAMILY/KEY, a key, or a name that only one device has."),
    ],
    config: Config = Path("adapters.toml"),
    name: Annotated[str, typer.Option(help="Name of the meter; default: the device's.")] = "",
    owner: Annotated[str, typer.Option(help="Its owner.")] = "",
    address: Annotated[str, typer.Option(help="Its street address.")] = "",
    address_code: Annotated[str, typer.Option(help="Its postal code.")] = "",
    switch: Annotated[bool, typer.Option("--switch", help="Let commands switch its relay.")] = False,
    reverse: Reverse = False,
    interval: Interval = None,
    source: Annotated[
        str, typer.Option(help="Name of the source that has them, where several have such devices.")
    ] = "",
    seconds: Seconds = 5.0,
) -> None:
    """Accept devices: each becomes a meter. Called again, it replaces what was said before.

    \b
    meter61850 adapter accept tasmota/a0b0c0d0e0f4 --name "Hall" --switch
    meter61850 adapter accept plug-kitchen plug-cellar
    """
    if name and len(names) > 1:
        raise ConfigurationError(
            f"--name {name!r} would be that of {len(names)} meters: accept them one by one"
        )
    settings = AdapterSettings.load(config)
    told: dict[str, Any] = {"owner": owner, "address": address, "address_code": address_code}
    told |= {"name": name, "switch": switch, "reverse": reverse, "interval": interval, "source": source}
    places = places_of(settings, names, source=source, seconds=seconds)
    for family, _ in places:
        if why := settings.no_source(source, family):
            raise ConfigurationError(why)
    rules = [Rule(family=family, key=key, **told) for family, key in places]
    acceptance.change(settings.data_dir, add=rules)
    for rule in rules:
        note(f"accepted: {rule.family}/{rule.key} is meter {points.meter_id_of(rule.family, rule.key)}")


@app.command()
def dismiss(
    devices: Annotated[list[str], typer.Argument(metavar="FAMILY/KEY...", help="As `discover` shows them.")],
    config: Config = Path("adapters.toml"),
) -> None:
    """Take back what `accept` or `import` did: the meter goes offline; its readings stay.

    A rule in the settings that takes the device stays in force.

    \b
    meter61850 adapter dismiss tasmota/a0b0c0d0e0f4
    """
    settings = AdapterSettings.load(config)
    known = {rule.place for rule in acceptance.read(settings.data_dir)}
    places = [place_of(device) for device in devices]
    for place, device in zip(places, devices, strict=True):
        if place is None or (place[0], place[1].casefold()) not in known:
            raise NotFoundError(f"{device!r} was not accepted by command; `discover` shows what is")
    acceptance.change(settings.data_dir, remove=[place for place in places if place])
    note(f"no longer accepted by command: {', '.join(devices)}")


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="SITES.CSV", help="A CSV file with a line of column names.")
    ],
    config: Config = Path("adapters.toml"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the file.")] = False,
) -> None:
    """Accept many devices, with names and addresses, from a CSV file: all of them or none.

    Columns: family, key, and as far as needed source (the name of one, where several have such devices),
    name, owner, address, address_code, switch (yes or no), reverse, interval. Every fault of every line is
    named. Exit 2: there are faults, and nothing was changed.

    \b
    meter61850 adapter import sites.csv --dry-run
    meter61850 adapter import sites.csv
    """
    settings = AdapterSettings.load(config)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise NotFoundError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} is not UTF-8 ({error.reason}): save it as CSV UTF-8") from error
    rules, troubles = read_sites(text, Known(all_families().keys(), settings.no_source))
    for trouble in troubles:
        note(f"{file}: {trouble}")
    if troubles:
        raise ConfigurationError(f"{file}: {len(troubles)} faults, nothing was changed")
    if not dry_run:
        acceptance.change(settings.data_dir, add=rules)
    note(f"{len(rules)} devices {'would be ' if dry_run else ''}accepted")


@app.command()
def enrol(
    ctx: typer.Context,
    code: Annotated[str, typer.Option(help="The enrolment code; it must allow as many meters.")],
    broker: EnrolmentBroker = None,
    ca: EnrolmentCa = None,
    config: Config = Path("adapters.toml"),
    wait: Annotated[
        str, typer.Option(metavar="TIME", help="Time to wait for the approvals: 10m, 8h.")
    ] = "0s",
    seconds: Seconds = 5.0,
) -> None:
    """Enrol the meter of every accepted device in a deployment, each with an identity of its own.

    If you call it again, it continues. Exit 6: an administrator has not decided yet; 5: refused.

    \b
    meter61850 adapter enrol --broker broker.example --ca ca.crt --code K7QM-2N4H-8XWE-55TD-RHGC-9PLJ
    """
    settings = AdapterSettings.load(config)
    admission = Admission(_entrance(settings, code, nearest(folder_of(ctx), broker, ca), wait=wait))
    done = asyncio.run(enrol_accepted(settings, admission, seconds=seconds))
    note(f"{done} meters are enrolled; now meter61850 adapter run --config {config}")


@app.command()
def families(as_json: Json = False) -> None:
    """List the families of devices, as `family` in the settings names them.

    \b
    meter61850 adapter families
    """
    rows = [
        {"family": kind.name, "title": kind.title, "options": ", ".join(kind.options.model_fields)}
        for kind in all_families().values()
    ]
    show(rows, as_json=as_json, empty="there is no family")


def _entrance(settings: AdapterSettings, code: str, place: EnrolmentPlace, *, wait: str) -> Entrance:
    seconds = duration(wait, option="--wait").total_seconds()
    prefix = settings.mqtt.prefix
    return Entrance(
        place.host, place.ca, EnrolmentCode.parse(code), port=place.port, prefix=prefix, wait=seconds
    )


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    names = ("device", "name", "model", "meter_id", "accepted", "relay", "online")
    shown = {name: row[name] for name in names}
    shown["quantities"] = ", ".join(row["quantities"]) or "none yet"
    shown["doubts"] = "; ".join(row["doubts"])
    return shown


def _tell_findings(found: Discovery, settings: AdapterSettings) -> None:
    for source, counts in found.findings.items():
        for cause, count in sorted(counts.items()):
            note(f"{source}: {cause}: {count} times; {settings.data_dir / 'aside' / source}.jsonl has some")


app.command()(simulate)
