"""A row of the logical device tables: a data object, its class, and what feeds it (IEC 61850-7-4).

>>> [(fed.name, fed.source) for fed in DataObject("PhV", "WYE", parts=(("phsA", "reading.voltage"),)).fed]
[('PhV.phsA', 'reading.voltage')]
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from scl_builder.model.cdc import SERVED_CDCS, Cdc, Path, ProcessValue

FILE = "scl"
"""Source of what the file alone says."""
READING = "reading."
"""How sources begin that are quantities of a reading: ``reading.voltage``."""
BILLING = "billing."
"""The same of registers that were frozen: ``billing.energy``."""
DEMAND = "demand."
"""The same of what the bridge computes from a load profile: ``demand.mean``."""


class Fed(NamedTuple):
    """A value of a data object, and what feeds it."""

    path: Path
    """Of the data object or sub data object: ``("PhV", "phsA")``."""
    source: str
    cdc: Cdc
    value: ProcessValue

    @property
    def name(self) -> str:
        """``Vol``, ``PhV.phsA``, ``DmdWh.frVal``."""
        return self.value.called(self.path)


@dataclass(frozen=True)
class DataObject:
    """One data object; ``unit``, ``enum`` and ``value`` are fixed in its type."""

    name: str
    cdc: str
    source: str = ""
    """Empty where only ``parts`` have values."""
    unit: str | None = None
    """SIUnitKind literal of MV, BCR, CMV and of sub data objects; '' is dimensionless."""
    enum: str = ""
    """Enumeration of stVal of ENS and ENC."""
    value: str = ""
    """stVal that never changes."""
    description: str = ""
    """d, when it is the same in every IED."""
    values: tuple[tuple[str, str], ...] = ()
    """Attributes and the Val that many instances share; the type's id tells them apart."""
    control: Literal["", "project", "direct-with-normal-security"] = ""
    """``project`` takes the project's control model, a CtlModelKind literal is fixed; empty: status-only."""
    parts: tuple[tuple[str, str], ...] = ()
    """Sub data objects (phsA) and further values (frVal), each with its source: these are served."""
    leaves_out: tuple[str, ...] = ()
    """Attributes that its class serves elsewhere, and not here."""
    beside: tuple[str, ...] = ()
    """It is only there with one of these data objects of its logical node."""
    times: float = 1.0
    """Its nominal value is so many times that of one phase (``deadbands``)."""
    part_values: tuple[tuple[str, str], ...] = ()
    """``values`` of its sub data objects."""
    needs: str = ""
    """Quantity without which a meter does not have it, of what is computed."""
    refers: str = ""
    """Logical node of the same device that setSrcRef names."""

    def __post_init__(self) -> None:
        if self.cdc not in SERVED_CDCS:
            raise ValueError(f"{self.name}: no row for the common data class {self.cdc}")
        own = SERVED_CDCS[self.cdc]
        known = {*own.parts, *(value.name for value in own.values)}
        if unknown := [name for name, _ in self.parts if name not in known]:
            raise ValueError(f"{self.name}: {self.cdc} has no {', '.join(unknown)}")

    @property
    def fed(self) -> tuple[Fed, ...]:
        """The values that something feeds, those of sub data objects included."""
        own, sources = SERVED_CDCS[self.cdc], {"": self.source, **dict(self.parts)}
        found = [
            Fed((self.name,), sources[value.name], own, value)
            for value in own.values
            if sources.get(value.name)
        ]
        for part in self.sub_objects.values():
            found += [each._replace(path=(self.name, *each.path)) for each in part.fed]
        return tuple(found)

    @property
    def sub_objects(self) -> dict[str, DataObject]:
        """The sub data objects that are served."""
        kinds = SERVED_CDCS[self.cdc].parts
        return {
            name: DataObject(name, kinds[name], source, unit=self.unit, values=self.part_values)
            for name, source in self.parts
            if name in kinds
        }

    @property
    def controllable(self) -> bool:
        """Whether a client may operate it."""
        return bool(self.control)


@dataclass(frozen=True)
class LogicalNode:
    """One logical node of a logical device, and the LNodeType that it has."""

    ln_class: str
    inst: str
    type_id: str
    objects: tuple[DataObject, ...]
    prefix: str = ""
    needs: frozenset[str] = frozenset()
    """Quantities without which a meter does not have it."""
    any_of: frozenset[str] = frozenset()
    """The bridge computes it, from one of these quantities; empty: it is of readings."""

    @cached_property
    def name(self) -> str:
        """MMS name: prefix, class and instance."""
        return self.prefix + self.ln_class + self.inst


BEH = DataObject("Beh", "ENS", "service.beh", enum="BehaviourModeKind")
"""Of every logical node but LPHD."""


def setting(name: str, enum: str, literal: str, *beside: str) -> DataObject:
    """A setting that the file alone gives; ``beside`` as in `DataObject`."""
    return DataObject(name, "ENG", FILE, enum=enum, values=(("setVal", literal),), beside=beside)


def plate(text: str) -> DataObject:
    """The NamPlt of a logical node that needs a description."""
    return DataObject("NamPlt", "LPL", FILE, values=(("d", text),), leaves_out=("ldNs", "configRev", "dU"))
