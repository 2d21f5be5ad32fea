"""Which faults strike when: a pure function of the seed.

Faults of one target never overlap (a dead process cannot be stopped); those of different targets do.
The kinds come from a deck that is shuffled and dealt again and again, so none is left out for long.

>>> plan(7, seconds=60, targets=targets(2)) == plan(7, seconds=60, targets=targets(2))
True
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random

KEEPALIVE = 2
"""Seconds; all clients of the chain. Mosquitto gives a silent one up after 1.5 times this."""
GAP = 3.0
"""Mean seconds from one fault to the next."""
LONG_RUN = 120.0
"""Seconds; in a run of this length one fault in twelve lasts eight times longer: backlogs build up."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault: on which roles, for how long (s), in which variants."""

    name: str
    roles: tuple[str, ...]
    seconds: tuple[float, float]
    variants: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Fault:
    """At ``at`` seconds ``target`` is hurt, and healed ``seconds`` later."""

    at: float
    kind: str
    target: str
    seconds: float
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.at:7.2f} s  {self.kind:<12} {self.target:<14} {self.seconds:5.2f} s  {self.variant}"


PROCESSES = ("bridge", "broker", "meters", "registrar", "registrar's broker")
LINKS = ("bridge link", "meters link")

# fmt: off
KINDS: tuple[Kind, ...] = (
    Kind("kill",       PROCESSES,    (0.1, 4.0)),
    Kind("stop",       PROCESSES[:3], (1.6 * KEEPALIVE, 3.0 * KEEPALIVE)),
    Kind("cut",        LINKS,        (0.0, 4.0)),
    Kind("stall",      LINKS,        (1.0, 3.0 * KEEPALIVE), ("up", "down", "both")),
    Kind("half-close", LINKS,        (1.0, 4.0), ("up", "down")),
    Kind("delay",      LINKS,        (2.0, 6.0), ("0.05", "0.3", "1.0")),
    Kind("disk full",  ("disk",),    (2.0, 6.0)),
    Kind("read-only",  ("file",),    (2.0, 6.0)),
    Kind("empty",      ("broker",),  (0.1, 4.0)),
    Kind("older",      ("broker",),  (1.0, 6.0)),
    Kind("clock",      ("clock",),   (1.0, 6.0),
         ("-864000", "-3600", "-2", "2", "60", "240", "400", "86400", "-1700000000")),
    Kind("bridge clock", ("bridge clock",), (1.0, 6.0), ("-3600", "-2", "2", "60", "3600", "86400")),
    Kind("older card", ("meters",),  (1.0, 6.0)),
    Kind("twin",       ("meters",),  (2.0, 8.0)),
    Kind("restart",    ("database",), (0.1, 4.0)),
)
# fmt: on
"""Variants: the way that is stalled or closed (up: to the broker), the delay and the step in seconds;
the last step is a clock that was never set, the two before it are readings of the future. A bridge that is
struck by ``read-only`` starts anew while the disk of its file refuses to be written; a broker comes back
``empty``, or with the ``older`` file of as many seconds ago. The meters of a process come back with the
``older card`` of as many seconds ago, or run a second time, on copies of their cards, as their ``twin``."""


def targets(
    processes: int, *, disk: bool = True, file: bool = False, restart: bool = False, office: bool = True
) -> dict[str, tuple[str, ...]]:
    """The targets of each role in a chain with so many meter processes; ``restart``: of a server.

    ``file``: the disk is the bridge's alone, and can be made read-only.
    """
    names = tuple(f"meters{number}" for number in range(1, processes + 1))
    return {
        "bridge": ("bridge",),
        "broker": ("broker",),
        "meters": names,
        "bridge link": ("bridge link",),
        "meters link": tuple(f"{name} link" for name in names),
        "clock": tuple(f"{name} clock" for name in names),
        "bridge clock": ("bridge clock",),
        "disk": ("disk",) if disk else (),
        "file": ("disk",) if file else (),
        "registrar": ("registrar",) if office else (),
        "registrar's broker": ("registrar's broker",) if office else (),
        "database": ("database",) if restart else (),
    }


def plan(
    seed: int, *, seconds: float, targets: Mapping[str, tuple[str, ...]], gap: float = GAP
) -> tuple[Fault, ...]:
    """The faults of a run of ``seconds``, in the order of their time; the last is healed before the end."""
    draw = Random(f"faults {seed}")
    kinds = [kind for kind in KINDS if any(targets[role] for role in kind.roles)]
    deck: list[Kind] = []
    free = dict.fromkeys((name for names in targets.values() for name in names), 0.0)
    faults, at = [], 0.0
    while at < seconds:
        at += draw.uniform(0.1, 1.9) * gap
        deck = deck or draw.sample(kinds, len(kinds))
        stretch = 8.0 if draw.random() < 1 / 12 and seconds >= LONG_RUN else 1.0
        fault = _drawn(draw, deck.pop(), targets, at=at, free=free)
        fault = replace(fault, seconds=fault.seconds * stretch)
        if fault.at + fault.seconds <= seconds:
            free[fault.target] = fault.at + fault.seconds + 0.1
            faults.append(fault)
    return tuple(sorted(faults, key=lambda fault: fault.at))


def _drawn(
    draw: Random, kind: Kind, targets: Mapping[str, tuple[str, ...]], *, at: float, free: Mapping[str, float]
) -> Fault:
    """A fault of ``kind``, as soon after ``at`` as its target is free."""
    role = draw.choice([role for role in kind.roles if targets[role]])
    target = draw.choice(targets[role])
    begin = max(at, free[target])
    return Fault(
        round(begin, 3), kind.name, target, round(draw.uniform(*kind.seconds), 3), draw.choice(kind.variants)
    )
