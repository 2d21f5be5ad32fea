"""This machine: its clock, its disks, and the ports of a deployment.

>>> [one.verdict.value for one in clock()][0] in ("ok", "note")
True
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from admin.doctor.findings import Finding, Verdict
from broker.host_clock import ClockSettings
from broker.mqtt.connecting import connect

LOW_DISK = 1_000_000_000
FULL_DISK = 50_000_000
"""Bytes; below it nothing more may be stored soon."""
CONNECT_SECONDS = 2.0
LISTENERS = {
    "services": ("METER61850_BROKER_SERVICES_BIND", "METER61850_BROKER_SERVICES_PORT"),
    "certificates": ("METER61850_BROKER_BIND", "METER61850_BROKER_PORT"),
    "passwords": ("METER61850_BROKER_BIND", "METER61850_BROKER_PASSWORD_PORT"),
}
"""Listener of the broker → the settings of its address and its port."""
EVERYWHERE = ("", "0.0.0.0", "::")


def clock() -> Iterator[Finding]:
    """Whether NTP keeps the time: certificates, commands and readings depend on it."""
    if ClockSettings().kept():
        yield Finding(Verdict.OK, "clock", "is kept by NTP")
    else:
        yield Finding(
            Verdict.NOTE,
            "clock",
            "NTP does not keep this machine's clock, or the kernel cannot tell",
            "timedatectl set-ntp true; if the time is right all the same: METER61850_CLOCK_SYNCHRONIZED=true",
        )


def disks(database: str, folder: Path | None) -> Iterator[Finding]:
    """Room where we are, and where database and deployment are; each file system once."""
    file = database.removeprefix("sqlite:///")
    places = {"here": Path.cwd()}
    places |= {"of the database": Path(file).absolute().parent} if file != database else {}
    places |= {"of the deployment": folder} if folder else {}
    seen: set[int] = set()
    for where, place in places.items():
        try:
            device, free = os.stat(place).st_dev, shutil.disk_usage(place).free
        except OSError:  # the database's own finding names a folder that is not there
            continue
        if device not in seen:
            seen.add(device)
            yield _disk(where, free)


def _disk(where: str, free: int) -> Finding:
    verdict = Verdict.FAIL if free < FULL_DISK else Verdict.NOTE if free < LOW_DISK else Verdict.OK
    cure = (
        "" if verdict is Verdict.OK else "make room (a reading needs about 80 bytes), or set METER61850_KEEP"
    )
    return Finding(verdict, "disk", f"{free / 1e9:.1f} GB free {where}", cure)


def ports(told: Mapping[str, str], *, broker: bool) -> Iterator[Finding]:
    """The listeners of the deployment's broker; ``told``: its settings, empty without one.

    ``broker``: whether it answers. If not, another program may have a port that is in use.
    """
    found = {
        f"{listener} {told[port]}": _accepts(told.get(bind, ""), int(told[port]))
        for listener, (bind, port) in LISTENERS.items()
        if told.get(port, "").isdecimal()
    }
    wrong = [name for name, accepts in found.items() if accepts != broker]
    if wrong and broker:
        cure = "meter61850 broker run, with the settings of this deployment"
        yield Finding(Verdict.FAIL, "ports", f"the broker does not listen on: {', '.join(wrong)}", cure)
    elif wrong:
        taken = [name.rpartition(" ")[2] for name in wrong]
        used = f"in use, although the broker does not answer: {', '.join(taken)}"
        cure = (
            f"ss -ltnp 'sport = :{taken[0]}' shows the program: if it is not the broker, stop it, or make "
            "the deployment with other ports"
        )
        yield Finding(Verdict.FAIL, "ports", used, cure)
    elif found:
        yield Finding(Verdict.OK, "ports", f"{', '.join(found)}: {'answer' if broker else 'free'}")


def _accepts(bind: str, port: int) -> bool:
    try:
        connect("127.0.0.1" if bind in EVERYWHERE else bind, port, timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
