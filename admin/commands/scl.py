"""``meter61850 scl``: the current SCD and CIDs, the check of any SCL file, and the difference of two."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from admin import mqtt
from admin.commands.scl_topology import topology
from admin.exits import ExitCode, NotFoundError
from admin.lazy import new_app
from admin.options import Json, Mqtt, Prefix, mqtt_settings
from admin.output import line, note, print_json, show
from broker.contract.commands import parsed
from broker.contract.compressed import unpacked
from broker.contract.errors import ConfigurationError, ContractError
from broker.contract.status import Revision
from broker.mqtt.settings import MqttSettings
from scl_builder.check.checker import Finding
from scl_builder.check.checker import check as findings_in
from scl_builder.check.diff import condensed, diff
from scl_builder.check.document import Document
from scl_builder.check.outline import parse
from scl_builder.read.cid import Cid, CidError, read_cid
from scl_builder.read.findings import Severity

app = new_app(no_args_is_help=True, rich_markup_mode=None, help="The SCD and the CIDs (IEC 61850-6).")
app.command()(topology)


@app.command("show")
def show_(as_json: Json = False, mqtt: Mqtt = None, prefix: Prefix = None) -> None:
    """Show the current revision, and each IED with its endpoint and number of meters.

    \b
    meter61850 scl show
    """
    revision, cids = asyncio.run(_current(mqtt_settings(mqtt, prefix)))
    ieds = [
        {"ied": cid.ied, "host": cid.endpoint[0], "port": cid.endpoint[1], "meters": len(cid.meters)}
        for cid in cids
    ]
    if as_json:
        print_json({**revision.model_dump(mode="json"), "endpoints": ieds})
        return
    note(
        f"revision {revision.revision} of {revision.ts.astimezone():%Y-%m-%d %H:%M:%S}, "
        f"{revision.meters} meters, sha256 {revision.sha256}"
    )
    show(ieds, as_json=False, empty="no IED")


@app.command()
def export(
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File to write; default: stdout.", show_default=False),
    ] = None,
    ied: Annotated[
        str | None,
        typer.Option(help="The CID of this IED, such as SMGW001; default: the SCD.", show_default=False),
    ] = None,
    mqtt: Mqtt = None,
    prefix: Prefix = None,
) -> None:
    """Write the current SCD, or the CID of one IED, for SCADA.

    \b
    meter61850 scl export -o town.scd
    meter61850 scl export --ied SMGW001 -o SMGW001.cid
    """
    document = asyncio.run(_document(mqtt_settings(mqtt, prefix), ied))
    if output is None:
        sys.stdout.buffer.write(document)
    else:
        output.write_bytes(document)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="An SCL file: an SCD, CID, ICD or IID.")],
    as_json: Json = False,
) -> None:
    """Check an SCL file: the 2007B4 schema, and rules beyond the schema; exit 1 on an error.

    References, mandatory objects and attributes, enumerations, control models, data sets, report
    blocks, Communication. Each finding has its line and a remedy. An error violates the standard of the
    file's edition; a warning is allowed, or cannot be judged for certain, but some tools fail on it; a hint
    is allowed and could be better. In files of Edition 1 and of releases after 2007B4 a violation of the
    2007B4 schema and tables alone is not an error.

    \b
    meter61850 scl check town.scd
    """
    try:
        found = findings_in(file.read_bytes())
    except OSError as error:
        raise NotFoundError(f"{file}: {error.strerror}") from error
    if as_json:
        print_json(
            [
                {
                    "severity": fault.severity,
                    "line": fault.line,
                    "rule": fault.rule,
                    "message": fault.message,
                    "cure": fault.cure,
                }
                for fault in found
            ]
        )
    else:
        for fault in found:
            line(f"{file}: {fault}")
        note(f"{file}: {_summary(found)}")
    is_wrong = any(fault.severity is Severity.ERROR for fault in found)
    raise typer.Exit(ExitCode.FAILURE if is_wrong else ExitCode.OK)


def _summary(found: list[Finding]) -> str:
    """How many findings of each severity, and of which rules: ``1 errors (1 enum), 2 hints (2 address)``."""
    words = []
    for severity in Severity:
        rules = Counter(fault.rule for fault in found if fault.severity is severity)
        if rules or severity is Severity.ERROR:
            listed = ", ".join(f"{count} {rule}" for rule, count in rules.most_common())
            words.append(f"{rules.total()} {severity}s{f' ({listed})' if listed else ''}")
    return ", ".join(words)


@app.command("diff")
def diff_(
    before: Annotated[str, typer.Argument(help="An SCL file; - for the current SCD of the broker.")],
    after: Annotated[str, typer.Argument(help="The other one; - for the current SCD of the broker.")],
    as_json: Json = False,
    mqtt: Mqtt = None,
    prefix: Prefix = None,
) -> None:
    """Describe the differences between two SCL files; exit 1 if there are any.

    IEDs, endpoints, services, logical devices, data objects, values, data sets, report control blocks,
    places in the substation. Logical devices are compared by IED name and inst. With --json each change is
    a separate entry; else a change that is the same in many devices is one line.

    \b
    meter61850 scl diff imported.scd -
    """
    documents = (_read(name, mqtt_settings(mqtt, prefix)) for name in (before, after))
    try:
        changes = diff(*documents)
    except ValueError as error:
        raise ConfigurationError(f"no SCL files that can be compared: {error}") from error
    if as_json:
        print_json([{"ied": c.ied, "device": c.device, "what": c.what} for c in changes])
    else:
        for change in condensed(changes):
            line(str(change))
        note(f"{len(changes)} differences" if changes else "no difference")
    raise typer.Exit(ExitCode.FAILURE if changes else ExitCode.OK)


def _read(name: str, settings: MqttSettings) -> Document:
    """The file called ``name``; ConfigurationError if it is no SCL."""
    try:
        return parse(asyncio.run(_document(settings, None)) if name == "-" else Path(name).read_bytes())
    except OSError as error:
        raise NotFoundError(f"{name}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{name}: {error}") from error


async def _current(settings: MqttSettings) -> tuple[Revision, list[Cid]]:
    """The current revision and the IEDs; NotFoundError before the first one."""
    settings = await mqtt.speaking(settings)
    topics = settings.topics
    async with mqtt.connected(settings) as client:
        found = await mqtt.retained(
            client, topics.revision, topics.filter("cid"), barrier=topics.service_status(mqtt.NAME)
        )
    revision = parsed(Revision, found.pop(topics.revision, None))
    if revision is None:
        raise NotFoundError("no SCD is published: is the bridge running, and has a meter been born?")
    try:
        return revision, [read_cid(found[topic]) for topic in sorted(found)]
    except CidError as error:
        raise ContractError(str(error)) from error


async def _document(settings: MqttSettings, ied: str | None) -> bytes:
    """The SCD, or one CID."""
    settings = await mqtt.speaking(settings)
    topic = settings.topics.cid(ied) if ied else settings.topics.scd
    async with mqtt.connected(settings) as client:
        found = await mqtt.retained(client, topic, barrier=settings.topics.service_status(mqtt.NAME))
    if topic not in found:
        raise NotFoundError(
            f"no {f'IED {ied}' if ied else 'SCD'} is published: `meter61850 scl show` shows what is"
        )
    return unpacked(found[topic])
