"""A made-up profile with every common data class that has sub data objects, and a BCR with both groups.

Its logical nodes are classes of IEC 61850-7-4, so that the checker knows them; what feeds them is a
single-phase meter's reading, so that a test sees every value change.
"""

from __future__ import annotations

from scl_builder.model.data_object import DataObject, LogicalNode
from scl_builder.model.logical_devices import SINGLE_PHASE, Profile

_BEH = DataObject("Beh", "ENS", "service.beh", enum="BehaviourModeKind")
_FROZEN = (("frEna", "true"), ("frPd", "900000"), ("frRs", "false"))


def _each(source: str, *names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, source) for name in names)


# fmt: off
THREE_PHASES = Profile("made-up", (
    *SINGLE_PHASE.measuring,
    LogicalNode("MMXU", "1", "MMXU", (
        _BEH,
        DataObject("PhV", "WYE", unit="V", values=(("phsToNeut", "true"),),
                   parts=_each("reading.voltage", "phsA", "phsB", "phsC", "neut", "net", "res")),
        DataObject("A", "WYE", unit="A", parts=_each("reading.current", "phsA", "neut")),
        DataObject("PPV", "DEL", unit="V", parts=_each("reading.voltage", "phsAB", "phsBC", "phsCA")),
        DataObject("Hz", "MV", "reading.frequency", unit="Hz"),
    )),
    LogicalNode("MSQI", "1", "MSQI", (
        _BEH,
        DataObject("SeqV", "SEQ", unit="V", values=(("seqT", "pos-neg-zero"),),
                   parts=_each("reading.voltage", "c1", "c2", "c3")),
    )),
    LogicalNode("MMTR", "1", "MMTR", (
        _BEH,
        DataObject("DmdWh", "BCR", "reading.energy", unit="Wh", values=_FROZEN,
                   parts=(("frVal", "reading.energy"),)),
        DataObject("SupWh", "BCR", unit="Wh", values=_FROZEN, parts=(("frVal", "reading.energy"),)),
    )),
))
# fmt: on
