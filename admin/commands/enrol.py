"""``meter61850 enrol``: codes for new meters, the registrar's service, and who asks to be let in."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated, Any

import typer

from admin.lazy import new_app
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
from bridge.audit import Kind
from registrar import codes, requests
from registrar.deployment import Deployment
from registrar.post import deliver_now
from registrar.service import run as serve
from registrar.trail import Trail

app = new_app(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="New meters: codes, requests, the registrar.\n\n\b\nmeter61850 enrol new --count 20 --for 2d",
)
MeterId = Annotated[str, typer.Argument(metavar="METER", help="meter_id of the meter that asks.")]


@app.command()
def run(
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = METRICS_ADDRESS,
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """Be the registrar until Ctrl-C or SIGTERM: take requests, answer them, renew certificates.

    Certificates of servers and services are renewed at two thirds of their life. What ends within 30 days
    and was not renewed is in the log, the metrics, the page and `doctor`.

    \b
    meter61850 --dir /var/lib/meter61850 enrol run
    """
    deployment = Deployment.open(folder)
    asyncio.run(serve(deployment, metrics_port=metrics_port, metrics_address=metrics_address))


@app.command()
def new(
    count: Annotated[int, typer.Option(min=1, max=1000, help="For so many meters, each once.")] = 1,
    valid: Annotated[
        str, typer.Option("--for", metavar="TIME", help="It expires after this time: 8h, 2d; at most 90d.")
    ] = "2d",
    automatic: Annotated[
        bool, typer.Option("--automatic", help="Let its meters in without `enrol approve`.")
    ] = False,
    as_json: Json = False,
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """Make an enrolment code, and print it once: only its hash is kept.

    Whoever has it may ask, and nothing else: a meter that is enrolled cannot be replaced with it.

    \b
    meter61850 enrol new --count 20 --for 2d
    """
    deployment = Deployment.open(folder)
    span = duration(valid, option="--for")
    who = user_name()
    code = codes.make(deployment.register, count=count, valid=span, automatic=automatic, who=who)
    deployment.publish()
    Trail(deployment).note(
        Kind.ENROLMENT_CODE_MADE, who=who, code=code.id, count=count, automatic=automatic, hours=span / HOUR
    )
    if as_json:
        print_json({"code": str(code), "id": code.id, "count": count, "automatic": automatic})
    else:
        typer.echo(str(code))
        note(f"for {count} meter{'s' * (count != 1)}, {valid} from now; it is not shown again")


HOUR = timedelta(hours=1)


@app.command("list")
def list_(as_json: Json = False, folder: DeploymentDir = DATA_DIR) -> None:
    """Show codes, and who has asked with them.

    The key of a request is what the meter shows too: compare before `enrol approve`.

    \b
    meter61850 enrol list
    meter61850 enrol list --json | jq '.requests[] | select(.verdict == "pending").meter_id'
    """
    deployment = Deployment.open(folder)
    made = [_code(code) for code in codes.listed(deployment.register)]
    asked = [_request(request) for request in requests.listed(deployment)]
    if as_json:
        print_json({"codes": made, "requests": asked})
        return
    show(made, as_json=False, empty="no code was made: meter61850 enrol new")
    show(asked, as_json=False, empty="nobody has asked")


@app.command()
def approve(meter: MeterId, folder: DeploymentDir = DATA_DIR) -> None:
    """Let in a meter that waits: it gets its certificate, or its login.

    \b
    meter61850 enrol approve 3f2504e0-4f89-41d3-9a0c-0305e82c3301
    """
    deployment = Deployment.open(folder)
    request = requests.approve(deployment, meter, who=user_name())
    deployment.publish()
    _told(deployment, Kind.ENROLMENT_APPROVED, request)
    _told(deployment, Kind.CREDENTIALS_ISSUED, request)
    _deliver(deployment)


@app.command()
def refuse(
    meter: MeterId,
    reason: Annotated[
        str, typer.Option(help="The meter's installer reads it.")
    ] = "an administrator refused it",
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """Keep out a meter that waits; its slot of the code is used up.

    \b
    meter61850 enrol refuse 3f2504e0-4f89-41d3-9a0c-0305e82c3301 --reason "not one of ours"
    """
    deployment = Deployment.open(folder)
    request = requests.refuse(deployment, meter, reason=reason, who=user_name())
    _told(deployment, Kind.ENROLMENT_REFUSED, request)
    _deliver(deployment)


@app.command()
def withdraw(
    code: Annotated[str, typer.Argument(metavar="CODE", help="The code, or its first four characters.")],
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """Make a code worthless at once; who waits with it is refused, who is enrolled stays.

    \b
    meter61850 enrol withdraw K7QM
    """
    deployment = Deployment.open(folder)
    waited = codes.withdraw(deployment.register, code)
    deployment.publish()
    Trail(deployment).note(
        Kind.ENROLMENT_REFUSED, who=user_name(), outcome="withdrawn", code=code[:4].upper(), waited=waited
    )
    note(f"{code[:4].upper()} is withdrawn; {waited} waited with it")


def _told(deployment: Deployment, kind: Kind, request: requests.Request) -> None:
    Trail(deployment).note(
        kind,
        who=user_name(),
        meter_id=request.meter_id,
        outcome=str(request.verdict),
        reason=request.reason,
        slot=request.slot,
        serial=request.ask.hardware.serial,
        key=request.key,
    )


def _deliver(deployment: Deployment) -> None:
    if not asyncio.run(deliver_now(deployment)):
        note("the broker is not there: the registrar will tell the meter (meter61850 enrol run)")


def _code(code: codes.Code) -> dict[str, Any]:
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
        "meter_id": request.meter_id,
        "verdict": str(request.verdict),
        "name": ask.name,
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
