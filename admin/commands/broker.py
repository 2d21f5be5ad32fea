"""``meter61850 broker``: start the broker, or print Mosquitto's configuration."""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from admin.lazy import load, new_app
from admin.options import DATA_DIR, BrokerKind
from broker.daemon import reloader
from broker.daemon.mosquitto import LISTENERS, BrokerSettings, command, find, render
from broker.daemon.ports import check_free
from broker.descriptors import raise_limit

log = logging.getLogger(__name__)
app = new_app(no_args_is_help=True, rich_markup_mode=None, help="The MQTT broker.")


Port = Annotated[int, typer.Option(min=1, max=65535, envvar="METER61850_BROKER_PORT", help="MQTT port.")]
Bind = Annotated[
    str,
    typer.Option(
        metavar="IP",
        envvar="METER61850_BROKER_BIND",
        help="Address to listen on; without a deployment all but loopback need --password-file.",
    ),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        envvar="METER61850_BROKER_PASSWORD_FILE",
        help="File from mosquitto_passwd; then every client needs a login.",
        show_default=False,
    ),
]


def chosen(kind: BrokerKind) -> BrokerKind:
    """What ``auto`` means here: Mosquitto when it is installed, else the embedded broker."""
    if kind is BrokerKind.AUTO:
        return BrokerKind.MOSQUITTO if find() else BrokerKind.EMBEDDED
    return kind


@app.command()
def run(
    kind: Annotated[
        BrokerKind, typer.Option("--broker", help="auto: Mosquitto if it is installed.")
    ] = BrokerKind.AUTO,
    port: Port = 1883,
    bind: Bind = "127.0.0.1",
    password_file: PasswordFile = None,
    data_dir: Annotated[
        Path,
        typer.Option(
            envvar="METER61850_DATA_DIR",
            readable=False,
            help="Mosquitto's data is in its folder broker/.",
        ),
    ] = DATA_DIR,
) -> None:
    """Run the broker until Ctrl-C or SIGTERM.

    Mosquitto gets our configuration. With a deployment (--dir) it uses TLS only, and reads identities
    and rights again when they change. The embedded broker (amqtt) is for a trial: loopback only,
    MQTT 3.1.1, everything in memory.

    \b
    meter61850 broker run
    meter61850 broker run --port 1884 --broker embedded
    """
    settings = BrokerSettings(
        port=port,
        bind=bind,
        password_file=password_file,
        data_dir=data_dir / "broker",
        user=getpass.getuser(),
    )
    if settings.security is not None:
        for name in LISTENERS:
            check_free(settings.bind, getattr(settings, name), option=f"--{name.replace('_', '-')}")
        raise typer.Exit(reloader.run(settings))
    if chosen(kind) is BrokerKind.EMBEDDED:
        if kind is BrokerKind.AUTO:
            log.warning("Mosquitto is not installed: the embedded broker starts instead, for a trial")
        asyncio.run(load("broker.daemon.embedded").run(settings))
        return
    check_free(bind, port, option="--port")
    line = command(settings)
    raise_limit()
    os.execv(line[0], line)  # signals and the exit code are Mosquitto's own


@app.command()
def config(
    port: Port = 1883,
    bind: Bind = "127.0.0.1",
    password_file: PasswordFile = None,
) -> None:
    """Print our configuration of Mosquitto, with the reason for each option.

    \b
    meter61850 broker config > /etc/mosquitto/conf.d/meter61850.conf
    """
    settings = BrokerSettings(port=port, bind=bind, password_file=password_file)
    typer.echo(render(settings), nl=False)
