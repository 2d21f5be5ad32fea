"""``meter61850 enrol``: codes for new meters, the registrar's service, and who asks to be let in."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from admin.lazy import new_app
from admin.meter_ids import waiting
from admin.options import (
    DATA_DIR,
    METRICS_ADDRESS,
    DeploymentDir,
    Json,
    MetricsAddress,
    MetricsPort,
    duration,
    user_name,
)
from admin.output import note, print_json, show
from admin.pending import finished, opened, pending
from registrar import enrolment_codes, requests
from registrar.deployment import Deployment
from registrar.service import run as serve

SPARE = ("slot", "wants", "pending", "connected", "by", "reason", "address", "meter_id")
"""Columns of requests that a narrow terminal does without."""

app = new_app(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="New meters: codes, requests, the registrar.\n\n\b\nmeter61850 enrol new --count 20 --for 2d",
)
Asking = Annotated[
    str,
    typer.Argument(metavar="METER", help="Name, serial number or meter_id of the meter that asks."),
]


@app.command()
def run(
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = METRICS_ADDRESS,
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """Run the registrar until Ctrl-C or SIGTERM: answer enrolment requests, renew certificates.

    It renews certificates of servers and services at two thirds of their life. A certificate that ends within
    30 days and was not renewed is in the log, the metrics, the page and `doctor`.

    \b
    meter61850 --dir /var/lib/meter61850 enrol run
    """
    deployment = Deployment.open(folder)
    asyncio.run(serve(deployment, metrics_port=metrics_port, metrics_address=metrics_address))


@app.command()
def new(
    count: Annotated[
        int, typer.Option(min=1, max=1000, help="Number of meters that can use it, each once.")
    ] = 1,
    valid: Annotated[
        str, typer.Option("--for", metavar="TIME", help="Time until it expires: 8h, 2d; at most 90d.")
    ] = "2d",
    automatic: Annotated[
        bool, typer.Option("--automatic", help="Accept its meters without `enrol approve`.")
    ] = False,
    as_json: Json = False,
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """Make an enrolment code, and print it once: only its hash is kept.

    The code allows enrolment requests and nothing else: it cannot replace an enrolled meter.

    \b
    meter61850 enrol new --count 20 --for 2d
    """
    deployment = opened(folder)
    span = duration(valid, option="--for")
    code = enrolment_codes.make(
        deployment.identity_store, count=count, valid=span, automatic=automatic, who=user_name(), noted=True
    )
    if as_json:
        print_json({"code": str(code), "id": code.id, "count": count, "automatic": automatic})
    else:
        typer.echo(str(code))
        host = deployment.environment["METER61850_BROKER_HOSTS"].split()[0]
        place = f"{host}:{deployment.ports['passwords']}"
        note(f"for {count} meter{'s' * (count != 1)} at {place}, {valid} from now; it is not shown again")
    finished(deployment)


@app.command("list")
def list_(as_json: Json = False, folder: DeploymentDir = DATA_DIR) -> None:
    """List codes and the requests that used them.

    The meter shows the key of its request too: compare before `enrol approve`. Pending: the broker has not
    confirmed the last change yet.

    \b
    meter61850 enrol list
    meter61850 enrol list --json | jq '.requests[] | select(.verdict == "pending").meter_id'
    """
    deployment = opened(folder)
    changing = pending(deployment)
    made = [
        _code(one) | {"pending": one.id in changing}
        for one in enrolment_codes.listed(deployment.identity_store)
    ]
    asked = [_request(one) | {"pending": one.meter_id in changing} for one in requests.listed(deployment)]
    if as_json:
        print_json({"codes": made, "requests": asked})
        return
    show(made, as_json=False, empty="no code was made: meter61850 enrol new")
    show(asked, as_json=False, empty="no requests", spare=SPARE)


@app.command()
def approve(
    meter: Asking,
    key: Annotated[
        str,
        typer.Option(show_default=False, help="The key that `enrol list` and the meter show."),
    ] = "",
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """Approve the request of a meter: it receives its certificate, or its login.

    Refused if another request has replaced the one that was shown: compare the key again.

    \b
    meter61850 enrol approve Garage --key 5b1d8c0e7a2f4913
    """
    deployment = opened(folder)
    meter_id = waiting(deployment, meter)
    requests.approve(deployment, meter_id, who=user_name(), key=key)
    note(f"{meter} ({meter_id}) is approved")
    finished(deployment)


@app.command()
def refuse(
    meter: Asking,
    reason: Annotated[
        str, typer.Option(help="The meter's installer reads it.")
    ] = "an administrator refused it",
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """Refuse the request of a meter; its slot of the code is used up.

    \b
    meter61850 enrol refuse Garage --reason "not one of ours"
    """
    deployment = opened(folder)
    meter_id = waiting(deployment, meter)
    requests.refuse(deployment, meter_id, reason=reason, who=user_name())
    note(f"{meter} ({meter_id}) is refused")
    finished(deployment)


@app.command()
def withdraw(
    code: Annotated[str, typer.Argument(metavar="CODE", help="The code, or its first four characters.")],
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """Withdraw a code at once: waiting requests are refused, enrolled meters stay.

    \b
    meter61850 enrol withdraw K7QM
    """
    deployment = opened(folder)
    waited = enrolment_codes.withdraw(deployment.identity_store, code, who=user_name())
    finished(deployment)
    note(f"{code[:4].upper()} is withdrawn; {waited} waited with it")


def _code(code: enrolment_codes.Code) -> dict[str, Any]:
    return {
        "code": f"{code.id}-…",
        "state": code.state,
        "meters": code.count,
        "asked": code.used,
        "automatic": code.automatic,
        "by": code.who,
        "created": code.created,
        "expires": code.expires,
    }


def _request(request: requests.Request) -> dict[str, Any]:
    ask = request.ask
    return {
        "name": ask.name,
        "verdict": str(request.verdict),
        "meter_id": request.meter_id,
        "address": ask.address,
        "serial": ask.hardware.serial,
        "wants": "certificate" if ask.csr else "token",
        "key": request.key,
        "slot": request.slot,
        "asked": request.asked,
        "by": request.who,
        "reason": request.reason,
        "connected": request.collected,
    }
