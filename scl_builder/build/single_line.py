"""The Substation sections that a topology asks for (IEC 61850-6, 9.2), from which diagrams are drawn.

Infeed, high-voltage winding, low-voltage winding, busbar, feeder, meters: connectivity nodes join them. A
meter with a relay is a switch (DIS, as XSWI asks), one without is a current transformer (CTR). On a phase its
logical nodes are in a SubEquipment of that phase. LNodes name them, with their types.

>>> from scl_builder.build.project import Ied, Meter
>>> from scl_builder.model.topology import By, Choice, Feeder, Site, Topology, Transformer
>>> feeder = Feeder("F1", meters=(("A", (Choice(By.NAME, "House 1"),)),))
>>> town = Topology((Site("Mill", transformers=(Transformer("T1", feeders=(feeder,)),)),))
>>> meter = Meter("3f2504e0-4f89-41d3-9a0c-0305e82c3301", "M1", name="House 1")
>>> houses = Ied("SMGW001", "192.0.2.1", 102, (meter, Meter("", "M2")))
>>> {str(place.phase): [meter.inst for meter in found] for place, found in placed(town, [houses]).items()}
{'A': ['M1']}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from scl_builder.build.devices import VAL_LIMIT, in_order
from scl_builder.build.project import Ied, Meter
from scl_builder.build.render_cache import Remembered
from scl_builder.build.text import escape, unicode
from scl_builder.model.logical_devices import Profile, meter_nodes
from scl_builder.model.topology import (
    Choice,
    Feeder,
    Place,
    Site,
    Topology,
    Transformer,
    choice,
    names_of,
)

HIGH, LOW = "HV", "LV"
"""VoltageLevels, and the windings of a transformer."""
_END = "</ConductingEquipment>\n"
BUSBAR, END, INFEED, LINE = "Busbar", "Node", "Infeed", "Line"


class Drawn(NamedTuple):
    """A meter, as it is drawn wherever it is."""

    ied: str
    inst: str
    named: tuple[str, ...]  # as `names_of`
    head: str
    nodes: str


Placed = Mapping[Place, Sequence[Drawn]]


def placed(topology: Topology, ieds: Iterable[Ied]) -> dict[Place, list[Drawn]]:
    """The houses that ``topology`` names, by place and in the order of their numbers."""
    places: dict[str, Place | None] = {str(choice): place for choice, place in topology.choices()}
    places |= dict.fromkeys(topology.own_meters())  # no house, also if its code is that of the houses
    found: dict[Place, list[Drawn]] = {}
    for ied in ieds:
        for meter in drawn(ied):
            place = next((places[name] for name in meter.named if name in places), None)
            if place is not None:
                found.setdefault(place, []).append(meter)
    return found


def unmet(topology: Topology, ieds: Iterable[Ied]) -> list[Choice]:
    """What ``topology`` names and no meter fits: a slip of the pen, or a meter that is still to come."""
    met = {name for ied in ieds for meter in drawn(ied) for name in meter.named}
    own = map(choice, topology.own_meters() - met)
    return [one for one, _ in topology.choices() if str(one) not in met] + sorted(own, key=str)


@Remembered
def drawn(ied: Ied) -> tuple[Drawn, ...]:
    """The meters of one IED, in order."""
    return tuple(_drawn(ied.name, meter) for meter in in_order(ied.owned))


def _drawn(ied_name: str, meter: Meter) -> Drawn:
    named = names_of(ied_name, meter.inst, name=meter.name, code=meter.address_code)
    where = f'<LNode iedName="{ied_name}" ldInst="{meter.inst}"'
    nodes = "".join(f"{where}{node}/>" for node in _lnodes(meter.profile, relay=meter.relay))
    head = _head(f"{ied_name}{meter.inst}", "DIS" if meter.relay else "CTR", desc=meter.name)
    return Drawn(ied_name, meter.inst, named, head, nodes)


def substations(topology: Topology, found: Placed) -> str:
    """The Substation elements of ``topology`` with the meters of :func:`placed`."""
    return "".join(_substation(site, found) for site in topology.sites)


def _substation(site: Site, found: Placed) -> str:
    transformers = "".join(_transformer(site, one) for one in site.transformers)
    high = "".join(_infeed(site, one) for one in site.transformers)
    low = "".join(_busbar(site, one) + _feeders(site, one, found) for one in site.transformers)
    levels = _level(HIGH, site.high_kv, high) + _level(LOW, site.low_kv, low)
    return f'<Substation name="{site.name}"{_desc(site.desc)}>\n{transformers}{levels}</Substation>\n'


def _transformer(site: Site, transformer: Transformer) -> str:
    ends = ((HIGH, END), (LOW, BUSBAR))
    windings = "".join(
        f'<TransformerWinding name="{level}" type="PTW">'
        f"{_terminal(site.name, level, transformer.name, node)}</TransformerWinding>\n"
        for level, node in ends
    )
    name = f'name="{transformer.name}"{_desc(transformer.desc)} type="PTR"'
    return f"<PowerTransformer {name}>\n{windings}</PowerTransformer>\n"


def _level(name: str, kilovolts: float | None, bays: str) -> str:
    unit = 'unit="V" multiplier="k"'
    voltage = "" if kilovolts is None else f"<Voltage {unit}>{kilovolts:g}</Voltage>\n"
    return f'<VoltageLevel name="{name}">\n{voltage}{bays}</VoltageLevel>\n'


def _bay(site: Site, level: str, name: str, node: str, *, desc: str = "", equipment: str = "") -> str:
    path = f"{site.name}/{level}/{name}/{node}"
    return (
        f'<Bay name="{name}"{_desc(desc)}>\n{equipment}'
        f'<ConnectivityNode name="{node}" pathName="{path}"/>\n</Bay>\n'
    )


def _infeed(site: Site, transformer: Transformer) -> str:
    terminal = _terminal(site.name, HIGH, transformer.name, END)
    line = _equipment(INFEED, "IFL", terminal)
    return _bay(site, HIGH, transformer.name, END, equipment=line)


def _busbar(site: Site, transformer: Transformer) -> str:
    return _bay(site, LOW, transformer.name, BUSBAR, desc=transformer.desc)


def _feeders(site: Site, transformer: Transformer, found: Placed) -> str:
    return "".join(_feeder(site, transformer, feeder, found) for feeder in transformer.feeders)


def _feeder(site: Site, transformer: Transformer, feeder: Feeder, found: Placed) -> str:
    name = f"{transformer.name}_{feeder.name}"  # neither has a _, so no two are alike
    end = _terminal(site.name, LOW, name, END)
    line = _terminal(site.name, LOW, transformer.name, BUSBAR) + end
    rows = [_equipment(LINE, "CAB" if feeder.cable else "LIN", line)]
    for phase, _ in feeder.meters:
        place = Place(site.name, transformer.name, feeder.name, phase)
        rows += (_meter(meter, phase, end) for meter in found.get(place, ()))
    return _bay(site, LOW, name, END, desc=feeder.desc, equipment="".join(rows))


def _meter(meter: Drawn, phase: str, terminal: str) -> str:
    if not phase:
        return f"{meter.head}{meter.nodes}{terminal}{_END}"
    part = f'<SubEquipment name="{phase}" phase="{phase}">{meter.nodes}</SubEquipment>'
    return f"{meter.head}{terminal}{part}{_END}"


@lru_cache(maxsize=1024)
def _lnodes(profile: Profile, *, relay: bool) -> tuple[str, ...]:
    """What of a meter's LNodes its IED and number do not say: measurement, control and switch."""
    return tuple(
        (f' prefix="{node.prefix}"' if node.prefix else "")
        + f' lnClass="{node.ln_class}" lnInst="{node.inst}" lnType="{node.type_id}"'
        for node in meter_nodes(profile, relay=relay)
        if node.ln_class not in ("LLN0", "LPHD") and not node.any_of
    )


def _equipment(name: str, kind: str, content: str) -> str:
    return f"{_head(name, kind)}{content}{_END}"


def _head(name: str, kind: str, *, desc: str = "") -> str:
    return f'<ConductingEquipment name="{name}"{_desc(desc)} type="{kind}">'


def _terminal(site: str, level: str, bay: str, node: str) -> str:
    return (
        f'<Terminal connectivityNode="{site}/{level}/{bay}/{node}" substationName="{site}"'
        f' voltageLevelName="{level}" bayName="{bay}" cNodeName="{node}"/>'
    )


def _desc(text: str) -> str:
    desc = escape(unicode(text, VAL_LIMIT))
    return f' desc="{desc}"' if desc else ""
