"""Which process is killed when, and how long it stays away: all of it from a seed.

>>> kills(7, seconds=60) == kills(7, seconds=60)
True
"""

from __future__ import annotations

import random
from dataclasses import dataclass

TARGETS = ("adapter", "devices' broker", "meters' broker", "bridge")
SHORTEST, LONGEST = 0.3, 8.0
"""Seconds that a process is away."""


@dataclass(frozen=True)
class Kill:
    """``kill -9`` at ``at`` seconds, and the start again ``away`` seconds later."""

    at: float
    target: str
    away: float


def kills(seed: int, *, seconds: float, gap: float = 15.0) -> tuple[Kill, ...]:
    """About one in ``gap`` seconds; several may be away at once, and each target has its turn."""
    draw = random.Random(f"town {seed}")
    found: list[Kill] = []
    back = dict.fromkeys(TARGETS, 0.0)
    turn: list[str] = []
    at = draw.uniform(0.2, 1.0) * gap
    while at < seconds:
        turn = turn or draw.sample(TARGETS, len(TARGETS))
        target = turn.pop()
        if back[target] < at:
            away = min(draw.uniform(SHORTEST, LONGEST), gap)
            found.append(Kill(at, target, away))
            back[target] = at + away
        at += draw.uniform(0.3, 1.7) * gap
    return tuple(found)
