"""What a control object moves: found in the model's tables by its logical node and name.

>>> target_of("3f2504e0-4f89-41d3-9a0c-0305e82c3301", "CSWI1", "Pos", normal=False).source
'relay.position'
"""

from __future__ import annotations

from typing import NamedTuple

from scl_builder.model.logical_devices import METER_LD

POSITION, BLOCK_OPEN, BLOCK_CLOSE = "relay.position", "relay.block_open", "relay.block_close"
_SOURCES = {(node.name, obj.name): obj.source for node in METER_LD for obj in node.objects}


Place = tuple[str, str, str]
"""MMS domain, logical node, data object."""


class Target(NamedTuple):
    """``source`` of a meter; empty where a CID lets something be operated that is not ours to move."""

    meter_id: str = ""
    source: str = ""
    normal: bool = False
    """Normal security: the response to Oper waits, there is no termination."""
    limit: float | None = None
    """Seconds that an operate may take by the file (operTimeout); None where it does not say."""
    select_limit: float | None = None
    """Seconds that a selection holds by the file (sboTimeout)."""
    place: Place = ("", "", "")


def target_of(meter_id: str, node: str, name: str, *, normal: bool, limit: float | None = None) -> Target:
    """The target of a control object by its meter (empty: the device is none's), logical node and name."""
    return Target(meter_id, _SOURCES.get((node, name), ""), normal, limit)


class Targets:
    """The numbers by which handlers are told their target; 0, NULL in C, is none."""

    def __init__(self) -> None:
        self._targets = [Target()]
        self._numbers: dict[Target, int] = {}

    def __getitem__(self, number: int) -> Target:
        return self._targets[number]

    def number(self, target: Target) -> int:
        """The number of ``target``, always the same."""
        if target not in self._numbers:
            self._numbers[target] = len(self._targets)
            self._targets.append(target)
        return self._numbers[target]
