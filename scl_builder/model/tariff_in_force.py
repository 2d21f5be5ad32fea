"""The gateway's own logical device in a deployment with tariffs: it says which one is in force.

>>> gateway_nodes(tariffs=0) is GATEWAY_LD
True
>>> gateway_nodes(tariffs=2)[-1].objects[-1].name
'IntIn5'
"""

from __future__ import annotations

from dataclasses import replace

from scl_builder.model.data_object import DataObject, LogicalNode
from scl_builder.model.logical_devices import GATEWAY_LD, Member

IN_FORCE = Member("GGIO", "1", "IntIn5", "ST")
"""In the gateway's data set, where there are tariffs."""
_OBJECT = DataObject("IntIn5", "INS", "tariff.in_force", description="Number of the tariff in force")


def gateway_nodes(*, tariffs: int) -> tuple[LogicalNode, ...]:
    """An IED's own logical device, without or with tariffs."""
    if not tariffs:
        return GATEWAY_LD
    *others, signals = GATEWAY_LD
    objects = (*signals.objects, _OBJECT)
    return (*others, replace(signals, type_id=f"{signals.type_id}_Tariff", objects=objects))
