"""Where a meter on the deployment's own machine enrols: listener, authority and prefix of the deployment.

>>> nearest(Path("/nowhere"), "broker.example:8884", Path("ca.crt"))
EnrolmentPlace(host='broker.example', port=8884, ca=PosixPath('ca.crt'), prefix=None)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from admin.deployments import DIR
from admin.options import DATA_DIR, enrolment_place
from broker.daemon.ports import LOOPBACK
from broker.environment import ENV, read
from broker.no_deployment import no_deployment
from meter_firmware.enrolment.enrol import PORT

EnrolmentBroker = Annotated[
    str | None,
    typer.Option(
        "--broker",
        metavar="HOST[:PORT]",
        show_default=False,
        help="With --code: the broker's listener for enrolment; default: that of the deployment (--dir).",
    ),
]
EnrolmentCa = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        show_default=False,
        help="With --code: the authority's certificate; default: that of the deployment.",
    ),
]
EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True)
class EnrolmentPlace:
    """Who is asked, and how it proves itself."""

    host: str
    port: int
    ca: Path
    prefix: str | None = None
    """Of the topics; None if it is not known."""


def folder_of(ctx: typer.Context) -> Path:
    """The deployment that --dir, METER61850_DIR or the current folder names."""
    return Path(ctx.find_root().params.get("folder") or os.environ.get(DIR) or DATA_DIR)


def nearest(folder: Path, broker: str | None, ca: Path | None) -> EnrolmentPlace:
    """What is given; the rest is of the deployment in ``folder``; ConfigurationError if that is none."""
    if ca is not None and broker is not None:
        return EnrolmentPlace(*enrolment_place(broker, PORT), ca)
    if not (folder / ENV).exists():
        raise no_deployment(folder)
    told = {**read(folder / ENV), **os.environ}
    bind, hosts = told["METER61850_BROKER_BIND"], told["METER61850_BROKER_HOSTS"].split()
    near = "localhost" if bind in (*EVERYWHERE, *LOOPBACK) else hosts[0]
    own = int(told["METER61850_BROKER_PASSWORD_PORT"])
    host, port = (near, own) if broker is None else enrolment_place(broker, own)
    return EnrolmentPlace(host, port, ca or folder / "ca" / "ca.crt", told["METER61850_MQTT_PREFIX"])
