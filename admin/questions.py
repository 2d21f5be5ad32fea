"""What ``meter61850 init`` asks a person at a terminal, with a default for each answer.

A wrong answer is asked for again. Without a terminal, or with an option, nothing is asked.

>>> checked_hosts("broker.example 192.0.2.7")
('broker.example', '192.0.2.7')
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import typer

from admin.output import note
from bridge.scl.hosts import hosts_of
from broker.contract.errors import ConfigurationError
from broker.daemon.ports import LOOPBACK
from registrar.init_deployment import check_host, first_address

T = TypeVar("T")

STANDARD_PORT = 102
HIGH_PORT = 10102
ELSEWHERE = ("192.0.2.1", 9)
"""No packet goes there: it shows which of our addresses others reach."""


@dataclass(frozen=True)
class Answers:
    """What a person has answered."""

    hosts: tuple[str, ...]
    mms_host: str
    mms_port: int

    @property
    def bind(self) -> str:
        """Loopback only if nothing else was named."""
        return "127.0.0.1" if set(self.hosts) <= set(LOOPBACK) else "0.0.0.0"


def at_a_terminal() -> bool:
    """Whether there is a person who can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask() -> Answers:
    """Ask for hosts, MMS address and MMS port."""
    note("Enter takes the answer in brackets. `meter61850 init --help` has all options.\n")
    note("Names and addresses of this machine for meters and people, the usual one first.")
    hosts = _asked("Hosts", " ".join(_own_hosts()), checked_hosts)
    note("\nIP address at which SCADA finds the MMS servers; or one for each IED: 10.0.0.10-10.0.0.19.")
    mms_host = _asked("MMS address", first_address(hosts), _checked_addresses)
    note(
        "\nMMS port of the first IED. 102 is the port of the standard, and some SCADA systems know no other; "
        "without root or systemd choose a high one."
    )
    mms_port = _asked("MMS port", str(_usual_port()), _checked_port)
    return Answers(hosts, mms_host, mms_port)


def next_commands(folder: Path) -> str:
    """What to do after `init`, in three commands."""
    here = f"meter61850 --dir {folder}"
    rows = (
        (f"{here} broker run", "then bridge, mms, enrol and web run, each in a terminal; or deploy/systemd"),
        (f"{here} web user add NAME --role administrator", "your login for the page"),
        (f"{here} enrol new --count 20", "a code for new meters"),
    )
    width = max(len(command) for command, _ in rows)
    return "Next:\n" + "\n".join(f"  {command:{width}}  # {why}" for command, why in rows)


def checked_hosts(text: str) -> tuple[str, ...]:
    """Names and addresses, apart by spaces or commas; ConfigurationError names a wrong one."""
    hosts = tuple(dict.fromkeys(text.replace(",", " ").split()))
    if not hosts:
        raise ConfigurationError("at least one name or address")
    for host in hosts:
        check_host(host)
    return hosts


def _checked_addresses(text: str) -> str:
    try:
        return str(hosts_of(text))
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _checked_port(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) < 65536):
        raise ConfigurationError(f"{text[:20]!r} is no port: 1 to 65535")
    return int(text)


def _asked(what: str, default: str, checked: Callable[[str], T]) -> T:
    while True:
        try:
            return checked(typer.prompt(what, default=default, err=True).strip())
        except ConfigurationError as error:
            note(f"{error}")


def _own_hosts() -> tuple[str, ...]:
    """Our name and the address that others reach; localhost without a network."""
    name = socket.gethostname()
    try:
        check_host(name)
    except ConfigurationError:
        name = "localhost"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(ELSEWHERE)
        except OSError:  # no network
            return (name,)
        address = str(probe.getsockname()[0])
    return tuple(dict.fromkeys((name, address)))


def _usual_port() -> int:
    """102 if we may listen there."""
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except (OSError, ValueError):
        first = 1024
    return STANDARD_PORT if os.geteuid() == 0 or first <= STANDARD_PORT else HIGH_PORT
