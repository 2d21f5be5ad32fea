"""The programs beside the chain (adapter, Home Assistant, Sparkplug B), as ``doctor`` sees them.

They have no status on the broker: an adapter has only the identities of its meters. So doctor asks their
metrics on this machine. One that does not answer is a fault only where its port is in the environment; where
another sign shows that it is set up it is a note, and else nothing.

>>> seen({"meter61850_adapter_heard_timestamp_seconds": {"home": 90.0, "shop": 0.0}}, now=100.0)
['home: last heard 10 s ago', 'shop: nothing heard yet']
"""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from time import time

from admin.doctor.findings import Finding, Verdict

HOST = "127.0.0.1"
SECONDS = 3.0
LARGEST = 1 << 20
ETC = Path("/etc/meter61850")
_SAMPLE = re.compile(r'^(meter61850_\w+)(?:\{\w+="([^"]*)"\})? ([-+.\deE]+)$', re.M)
_HEARD = "_heard_timestamp_seconds"
Metrics = Mapping[str, Mapping[str, float]]
"""Name → value of its label, or empty → value."""


@dataclass(frozen=True)
class Program:
    """One of them."""

    name: str
    """Of its command, and in its metrics."""
    port: int
    """Of its metrics, where the environment has no other."""
    counts: str
    """Its metric of what it serves."""
    served: str
    """That, for people."""
    signs: tuple[str, ...]
    """Files that show that it is set up, in the deployment, in /etc/meter61850, or here."""

    @property
    def variable(self) -> str:
        """Environment variable of its metrics' port."""
        return f"METER61850_{self.name.upper()}_METRICS_PORT"

    @property
    def cure(self) -> str:
        """How to start it."""
        return f"meter61850 {self.name} run --metrics-port {self.port}"


# fmt: off
PROGRAMS = (
    Program("adapter", 9853, "adapter_meters", "meters", ("adapters.toml",)),
    Program("homeassistant", 9854, "homeassistant_meters", "meters announced",
            ("identities/homeassistant", "homeassistant.env")),
    Program("sparkplug", 9855, "sparkplug_devices", "devices", ("identities/sparkplug", "sparkplug.env")),
)
# fmt: on


def look() -> Iterator[Finding]:
    """What is found of each; nothing of one that is not set up."""
    for program in PROGRAMS:
        given = os.environ.get(program.variable, "")
        port = int(given) if given.isdigit() else program.port
        finding = _answering(program, port)
        if finding is not None:
            yield finding
        elif given or _is_set_up(program):
            verdict = Verdict.FAIL if given else Verdict.NOTE
            detail = f"does not answer on {HOST}:{port}: it is not running, or without --metrics-port"
            yield Finding(verdict, program.name, detail, program.cure)


def _answering(program: Program, port: int) -> Finding | None:
    """What the program at this port says; None if it is not there."""
    try:
        found = parsed(_get(port, "metrics")[1])
        counted = found.get(f"meter61850_{program.counts}")
        if not counted:  # something else has the port
            return None
        status, said = _get(port, "healthz")
    except (OSError, HTTPException, ValueError):
        return None
    if status != 200:
        return Finding(Verdict.FAIL, program.name, f"is running, but: {said.strip()}", program.cure)
    told = [f"{counted.get('', 0.0):.0f} {program.served}", *seen(found, now=time())]
    return Finding(Verdict.OK, program.name, f"is running and connected; {', '.join(told)}")


def _is_set_up(program: Program) -> bool:
    deployment = os.environ.get("METER61850_DIR")
    places = [Path(deployment)] if deployment else []
    return any(os.path.exists(place / sign) for place in (*places, ETC, Path()) for sign in program.signs)


def _get(port: int, path: str) -> tuple[int, str]:
    """Status and text; OSError, HTTPException or ValueError without an answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{HOST}:{port}/{path}", timeout=SECONDS) as answer:
            return answer.status, answer.read(LARGEST).decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(LARGEST).decode()


def parsed(text: str) -> Metrics:
    """Samples of Prometheus's text format, those with one label or none.

    >>> parsed('# HELP x\\nmeter61850_a 3.0\\nmeter61850_b{source="home"} 1.0')
    {'meter61850_a': {'': 3.0}, 'meter61850_b': {'home': 1.0}}
    """
    found: dict[str, dict[str, float]] = {}
    for name, label, value in _SAMPLE.findall(text):
        found.setdefault(name, {})[label] = float(value)
    return found


def seen(found: Metrics, *, now: float) -> list[str]:
    """When each source was heard last, in words."""
    told = []
    for name, sources in found.items():
        for source, at in sources.items() if name.endswith(_HEARD) else ():
            age = f"last heard {max(0.0, now - at):.0f} s ago" if at else "nothing heard yet"
            told.append(f"{source}: {age}" if source else age)
    return told
