"""``meter61850 web``: the HTTP API and the live page, and the accounts that may use them."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from admin.lazy import new_app
from admin.options import DATABASE, Database, Json, Mqtt, MqttVersion, Prefix, mqtt_settings
from admin.output import note, show
from broker.contract.errors import ConfigurationError
from web import run as web
from web.auth.accounts import Accounts, Role
from web.settings import WebSettings

app = new_app(no_args_is_help=True, rich_markup_mode=None, help="The HTTP API and the live page.")
user = new_app(no_args_is_help=True, rich_markup_mode=None, help="Accounts and their roles.")
app.add_typer(user, name="user")

PASSWORD = "METER61850_WEB_PASSWORD"
USERS = Path("data/web-users.json")

Users = Annotated[
    Path,
    typer.Option(
        envvar="METER61850_WEB_USERS", metavar="FILE", help="Accounts with their scrypt hashes; mode 0600."
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the account.")]


Host = Annotated[
    str | None,
    typer.Option(metavar="IP", show_default=False, help="Address to listen on; default: 127.0.0.1."),
]
Port = Annotated[
    int | None, typer.Option(min=1, max=65535, show_default=False, help="TCP port; default: 8061.")
]
Certificate = Annotated[
    Path | None, typer.Option(metavar="PEM", show_default=False, help="Certificate chain for HTTPS.")
]
Key = Annotated[Path | None, typer.Option(metavar="PEM", show_default=False, help="Its private key.")]
RootPath = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        show_default=False,
        help="Path at which a reverse proxy publishes the service, such as /meters; default: /.",
    ),
]
Thesis = Annotated[
    bool, typer.Option("--thesis", help="Accept meters that use plain HTTP (POST /SmartMeter).")
]


@app.command()
def run(
    host: Host = None,
    port: Port = None,
    certificate: Certificate = None,
    key: Key = None,
    root_path: RootPath = None,
    thesis: Thesis = False,
    users: Users = USERS,
    mqtt: Mqtt = None,
    prefix: Prefix = None,
    mqtt_version: MqttVersion = None,
    database: Database = DATABASE,
) -> None:
    """Serve the HTTP API (/docs describes it) and the live page, until Ctrl-C or SIGTERM.

    Other addresses than loopback need a certificate, or a reverse proxy with one
    (METER61850_WEB_BEHIND_PROXY=true; docs/web.md shows nginx and Caddy). docs/settings.md lists
    all other settings.

    \b
    meter61850 web user add anna --role operator
    meter61850 web run
    meter61850 web run --host 0.0.0.0 --port 443 --certificate web.pem --key web.key
    """
    given: dict[str, Any] = {
        "host": host,
        "port": port,
        "certificate": certificate,
        "key": key,
        "root_path": root_path,
        "thesis": thesis or None,
    }
    settings = WebSettings.model_validate(
        {name: value for name, value in given.items() if value is not None}
        | {"mqtt": mqtt_settings(mqtt, prefix, mqtt_version), "database_url": database, "users": users}
    )
    if not Accounts(users).all():
        note(f"no account in {users} yet: meter61850 web user add NAME --role administrator")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(web.run(settings))


@user.command()
def add(
    name: Name,
    role: Annotated[
        Role,
        typer.Option(
            help="observer: read; operator: also switch; administrator: also retire meters, and administer."
        ),
    ],
    token: Annotated[
        bool,
        typer.Option("--token", help="For a program: print a bearer token instead of asking for a password."),
    ] = False,
    users: Users = USERS,
) -> None:
    """Make an account, or change its role and its password.

    The command asks for the password, or takes it from METER61850_WEB_PASSWORD, or from the first line of
    stdin if that is not a terminal. A token is shown only once.

    \b
    meter61850 web user add anna --role operator
    meter61850 web user add billing --role observer --token
    """
    accounts = Accounts(users)
    if token:
        typer.echo(accounts.add_token(name, role))
        note(f"{name} is {role}: send it as Authorization: Bearer TOKEN; it is not told again")
        return
    accounts.add(name, role, password=_password())
    note(f"{name} is {role}")


def _password() -> str:
    if (told := os.environ.get(PASSWORD)) is not None:
        return told
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first, again = getpass.getpass("Password: "), getpass.getpass("Again: ")
    if first != again:
        raise ConfigurationError("the two passwords are not the same")
    return first


@user.command("list")
def list_(as_json: Json = False, users: Users = USERS) -> None:
    """List the accounts.

    \b
    meter61850 web user list
    """
    rows = [
        {"name": account.name, "role": account.role.value, "kind": account.kind, "since": account.since}
        for account in Accounts(users).all()
    ]
    show(rows, as_json=as_json, empty=f"no account in {users}")


@user.command()
def remove(name: Name, users: Users = USERS) -> None:
    """Remove an account; it has no access from its next request on.

    \b
    meter61850 web user remove anna
    """
    Accounts(users).remove(name)
    note(f"{name} is removed")
