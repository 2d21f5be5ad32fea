"""``meter61850 init``: make a deployment."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from admin import questions
from admin.chain.parts import enlist_simulated, make_deployment
from admin.lazy import new_app
from admin.output import note
from broker.contract.errors import ConfigurationError
from meter_firmware.settings import SimulateSettings
from registrar import layout
from registrar.deployment import Deployment
from registrar.init_deployment import NewDeployment

app = new_app(rich_markup_mode=None)
Port = Annotated[
    int, typer.Option(min=1, max=65535, help="The broker's listener for meters and people: certificates.")
]
PasswordPort = Annotated[
    int,
    typer.Option(
        min=1, max=65535, help="Its listener for enrolment, and for meters with a token: passwords."
    ),
]
ServicesPort = Annotated[
    int, typer.Option(min=1, max=65535, help="Its listener for our services, on loopback.")
]


Host = Annotated[
    list[str] | None,
    typer.Option(
        help="Name or address of the broker for meters; repeatable.",
        show_default=False,
    ),
]
Bind = Annotated[
    str | None,
    typer.Option(
        metavar="IP",
        show_default=False,
        help="Address on which the broker listens; default: every address with --host, else loopback.",
    ),
]
MmsHost = Annotated[
    str | None,
    typer.Option(
        metavar="IP",
        show_default=False,
        help="Address of the MMS servers for SCADA, or one for each IED: 10.0.0.10-10.0.0.19; default: the "
        "first address of --host.",
    ),
]
MmsPort = Annotated[
    int,
    typer.Option(min=1, max=65535, help="MMS without TLS: port of the first IED; 102 needs root or systemd."),
]
MmsTlsPort = Annotated[
    int,
    typer.Option(
        min=1,
        max=65535,
        help="MMS over TLS: port of the first IED; each further IED has the next port, or the same with an "
        "address for each.",
    ),
]
Ca = Annotated[Path | None, typer.Option(help="Certificate of your own authority.", show_default=False)]
CaKey = Annotated[Path | None, typer.Option(help="Its private key; both are copied.", show_default=False)]
IfMissing = Annotated[
    bool, typer.Option("--if-missing", help="Leave an existing deployment as it is, and end with 0.")
]
UserPrefix = Annotated[
    str | None,
    typer.Option(
        metavar="PREFIX",
        show_default=False,
        help="As root: the users are PREFIX-broker and so on; default: meter61850 if these users exist.",
    ),
]
Simulated = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=0,
        max=1000,
        show_default=False,
        help="For a trial: make identities for N meters of `meter simulate`, on this machine.",
    ),
]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or ./data.")],
    host: Host = None,
    bind: Bind = None,
    port: Port = 8883,
    password_port: PasswordPort = 8884,
    services_port: ServicesPort = 8882,
    mms_host: MmsHost = None,
    mms_port: MmsPort = 102,
    mms_tls_port: MmsTlsPort = 3782,
    prefix: Annotated[str, typer.Option(help="Prefix of all topics.")] = "sm/v1",
    ca: Ca = None,
    ca_key: CaKey = None,
    if_missing: IfMissing = False,
    user_prefix: UserPrefix = None,
    simulated: Simulated = 0,
) -> None:
    """Make a deployment: authority, certificates, identities of the services, broker's rights, settings.

    At a terminal and without options it asks for hosts, MMS address and MMS port.

    All later commands take --dir DIR (or METER61850_DIR, or ./data). Clients need a certificate of this
    authority, or an enrolment code. As root it gives each service's files to that service's user, if
    these users exist; with --if-missing also in an existing deployment.

    \b
    meter61850 init /var/lib/meter61850
    meter61850 init /var/lib/meter61850 --host broker.example --host 192.0.2.7
    meter61850 init scada --host broker.example --mms-host 10.0.0.10-10.0.0.19

    \b
    meter61850 init trial --if-missing --simulated 10
    meter61850 meter simulate -n 10 --identities trial/identities --data-dir trial/meters
    """
    plan = NewDeployment(
        hosts=tuple(host or ["localhost"]),
        bind=bind or ("0.0.0.0" if host else "127.0.0.1"),
        mms_port=mms_port,
        port=port,
        password_port=password_port,
        services_port=services_port,
        mms_host=mms_host or "",
        mms_tls_port=mms_tls_port,
        prefix=prefix,
        authority=_authority(ca, ca_key),
    )
    asked = plan == NewDeployment() and not (if_missing or simulated or user_prefix)
    deployment = _deployment(folder.absolute(), plan, if_missing=if_missing, asked=asked)
    _add_simulated(deployment, simulated)
    _give_to_services(deployment, user_prefix)


def _authority(ca: Path | None, ca_key: Path | None) -> tuple[Path, Path] | None:
    if (ca is None) is not (ca_key is None):
        raise ConfigurationError("--ca and --ca-key belong together")
    return (ca, ca_key) if ca and ca_key else None


def _add_simulated(deployment: Deployment, count: int) -> None:
    if count:
        enlist_simulated(deployment, SimulateSettings(n=count))
        note(f"{count} simulated meters have an identity in {deployment.folder / 'identities'}")


def _give_to_services(deployment: Deployment, prefix: str | None) -> None:
    """Each file to the user of its service, if we are root and there are such users."""
    users = layout.users(prefix or layout.PREFIX) if os.geteuid() == 0 else None
    if users is not None and layout.is_apart(deployment.folder):
        layout.hand_over(deployment.folder, users)
        return
    if prefix is None:
        return
    if os.geteuid() != 0:
        why = "only root can give files away"
    elif users is None:
        why = f"this machine has no user {prefix}-{layout.REGISTRAR}"
    else:
        why = f"an earlier version made {deployment.folder} for one user: make a new deployment"
    raise ConfigurationError(f"--user-prefix {prefix}: {why}")


def _deployment(folder: Path, plan: NewDeployment, *, if_missing: bool, asked: bool) -> Deployment:
    """The one in ``folder``, made unless it is there and may be; ``asked``: with the answers of a person."""
    if if_missing and Deployment(folder).exists:
        deployment = Deployment.open(folder)
        hosts = deployment.environment["METER61850_BROKER_HOSTS"]
        note(f"{folder} is a deployment already, for the broker at {hosts}: left as it is")
        return deployment
    asked = asked and questions.at_a_terminal() and not Deployment(folder).exists
    if asked:
        answers = questions.ask()
        plan = replace(
            plan,
            hosts=answers.hosts,
            bind=answers.bind,
            mms_host=answers.mms_host,
            mms_port=answers.mms_port,
        )
    deployment = make_deployment(folder, plan)
    made = f"made {folder}: settings in meter61850.env; keep a copy of ca/ in a safe place."
    note(
        f"{made}\n{questions.next_commands(folder)}"
        if asked
        else f"{made} Next: meter61850 --dir {folder} broker run"
    )
    return deployment
