"""``meter61850 mms compare``: an SCL file against the servers that it describes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from open61850.mms import OBJECT_CLASS_DOMAIN, MmsClient

from admin.exits import ExitCode, NotFoundError
from admin.mms.association import TlsCa, TlsCert, TlsKey, association, endpoint, identity
from admin.mms.comparison import Devices, Difference, device_differences, in_use
from admin.mms.scl_model import Scl, read_scl
from admin.mms.served_model import read_device
from admin.mms.tls_client import ClientCertificate
from admin.options import Json
from admin.output import note, print_json, progress, show
from broker.contract.errors import ConfigurationError, Meter61850Error


@dataclass
class Result:
    """One IED, compared."""

    ied: str
    server: str
    logical_devices: int = 0
    attributes: int = 0
    values: int = 0
    data_sets: int = 0
    report_blocks: int = 0
    blocks_in_use: int = 0
    seconds: float = 0.0
    differences: list[Difference] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    """MMS domain → name of the house, by the file; of devices that differ."""
    not_tested: list[str] = field(default_factory=list)


def compare(
    file: Annotated[
        Path, typer.Argument(metavar="SCD", help="The file that SCADA imported: an SCD or a CID.")
    ],
    server: Annotated[
        str | None,
        typer.Argument(metavar="HOST[:PORT]", help="The server; default port: 102.", show_default=False),
    ] = None,
    ied: Annotated[
        str | None,
        typer.Option(
            help="IED of the file; default: the one with this address, else the one with these logical "
            "devices.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every IED of the file, each at its address in the file.")
    ] = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
    as_json: Json = False,
) -> None:
    """Compare a file with a server, attribute by attribute, both ways; exit 1 if anything differs.

    Names, functional constraints and types of all attributes, data sets with their members, report
    control blocks, control models, constants (Val), ordinals of enumerations, the endpoint. Blocks
    that a client has reserved are counted and left out, because the client may have changed them.

    \b
    meter61850 scl export -o town.scd
    meter61850 mms compare town.scd 10.0.0.5:10102
    meter61850 mms compare town.scd 127.0.0.1:10102 --ied SMGW001 --json
    meter61850 mms compare town.scd --all
    """
    if every and (server or ied):
        raise ConfigurationError("--all takes every IED at its own address: without HOST and --ied")
    scl, tls = _scl(file), identity(tls_cert, tls_key, tls_ca)
    results = list(_every(scl, tls)) if every else [_one(scl, server, ied, tls)]
    if as_json:
        print_json([asdict(result) for result in results])
    else:
        _report(results)
    differs = any(result.differences for result in results)
    raise typer.Exit(ExitCode.FAILURE if differs else ExitCode.OK)


def _scl(file: Path) -> Scl:
    try:
        return read_scl(file.read_bytes())
    except OSError as error:
        raise NotFoundError(f"{file}: {error.strerror}") from error


def _every(scl: Scl, tls: ClientCertificate | None) -> Iterator[Result]:
    """Each IED at its address; one that does not answer is a difference too."""
    for name in progress(scl.names, what="IEDs", total=len(scl.names)):
        host, port = scl.endpoint(name, tls=tls is not None) or ("", 0)
        result = Result(name, f"{host}:{port}" if host else "")
        try:
            if not host:
                raise ConfigurationError("no ConnectedAP with an IP")
            with association(result.server, tls=tls) as client:
                _compare(result, client, scl, bar=False)
        except Meter61850Error as error:
            result.differences.append(Difference("association", name, result.server, str(error)))
        yield result


def _one(scl: Scl, server: str | None, ied: str | None, tls: ClientCertificate | None) -> Result:
    if server is None:
        raise ConfigurationError("say HOST[:PORT], or --all for every IED at its own address")
    if ied is not None and ied not in scl.names:
        raise NotFoundError(f"the file has no IED {ied}: it has {', '.join(scl.names[:20])}")
    with association(server, tls=tls) as client:
        name = ied or _find(scl, server, client, tls)
        result = Result(name, server)
        _compare(result, client, scl, bar=True)
    _compare_endpoint(result, scl, tls)
    return result


def _find(scl: Scl, server: str, client: MmsClient, tls: ClientCertificate | None) -> str:
    """The IED with this address, else the one that shares most logical devices with the server."""
    addresses = _addresses(server, tls)
    for name in scl.names:
        if scl.endpoint(name, tls=tls is not None) in addresses:
            return name
    shown = set(client.get_name_list(OBJECT_CLASS_DOMAIN))
    shared = {name: len(shown & scl.domains(name)) for name in scl.names}
    best = max(shared, key=lambda name: shared[name])
    if not shared[best]:
        raise NotFoundError(f"no IED of the file is at {server}, or has its logical devices: say --ied NAME")
    return best


def _addresses(server: str, tls: ClientCertificate | None) -> set[tuple[str, int]]:
    """The server's address as it was given, and what its name stands for."""
    host, port = endpoint(server, tls=tls is not None)
    try:
        told = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        told = []
    return {(host, port), *((str(address[0]), port) for *_, address in told)}


def _compare_endpoint(result: Result, scl: Scl, tls: ClientCertificate | None) -> None:
    said = scl.endpoint(result.ied, tls=tls is not None)
    if said not in _addresses(result.server, tls):
        text = f"{said[0]}:{said[1]}" if said else None
        result.differences.append(Difference("endpoint", result.ied, text, result.server))


def _compare(result: Result, client: MmsClient, scl: Scl, *, bar: bool) -> None:
    """Fill ``result``, device by device."""
    begin = time.monotonic()
    file = scl.devices(result.ied)
    shown = client.get_name_list(OBJECT_CLASS_DOMAIN)
    result.differences += [
        Difference("logical device", name, name if name in file else None, name if name in shown else None)
        for name in (*file, *shown)
        if name not in file or name not in shown
    ]
    both = [name for name in file if name in shown]
    for domain in progress(both, what="logical devices", total=len(both)) if bar else both:
        _compare_device(result, client, domain, file)
    houses = scl.houses(result.ied)
    differing = {found.reference.partition("/")[0] for found in result.differences}
    result.names = {domain: house for domain, house in houses.items() if domain in differing}
    limit = scl.associations(result.ied)
    if limit is not None:
        result.not_tested.append(f"DynAssociation max {limit}: it would take the places of other clients")
    result.seconds = round(time.monotonic() - begin, 3)


def _compare_device(result: Result, client: MmsClient, domain: str, file: Devices) -> None:
    nodes = read_device(client, domain, wanted=file[domain])
    result.differences += device_differences(domain, file[domain], nodes)
    result.logical_devices += 1
    result.attributes += sum(len(node.types) for node in nodes.values())
    result.values += sum(len(node.values) for node in nodes.values())
    result.data_sets += sum(len(node.data_sets) for node in nodes.values())
    result.report_blocks += sum(len(node.blocks) for node in nodes.values())
    result.blocks_in_use += in_use(nodes.values())


def _report(results: list[Result]) -> None:
    rows: list[dict[str, Any]] = [
        {
            "what": found.what,
            "reference": found.reference,
            "name": result.names.get(found.reference.partition("/")[0], ""),
            "file": found.file,
            "server": found.server,
        }
        for result in results
        for found in result.differences
    ]
    if rows:
        show(rows, as_json=False)
    used = sum(result.blocks_in_use for result in results)
    untested = {text for result in results for text in result.not_tested}
    untested |= {f"{used} report blocks that clients have in use"} if used else set()
    if untested:
        note(f"not tested: {'; '.join(sorted(untested))}")
    looked_at = ", ".join(
        f"{sum(getattr(result, name) for result in results)} {name.replace('_', ' ')}"
        for name in ("logical_devices", "attributes", "values", "data_sets", "report_blocks")
    )
    where = f"{results[0].ied} at {results[0].server}" if len(results) == 1 else f"{len(results)} IEDs"
    seconds = sum(result.seconds for result in results)
    note(f"{where}: {len(rows)} differences in {looked_at} ({seconds:.1f} s)")
