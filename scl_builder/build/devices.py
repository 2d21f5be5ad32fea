"""LDevice elements (IEC 61850-6, 9.3.4 to 9.3.8): a meter's, and the gateway's with its group data sets.

One line is one meter. What describes many meters of an IED alike (vendor, model, firmware) stands once, in
an LNodeType that they share; its id comes from what it says, so that the same plate has the same id in
every file.

>>> from scl_builder.build.project import Meter
>>> meter = Meter("3f2504e0-4f89-41d3-9a0c-0305e82c3301", "M17", name="House 17")
>>> meter_device(meter, frozenset())[:67]
'<LDevice inst="M17" desc="House 17"><Private type="meter61850:meter'
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from scl_builder.build.project import GATEWAY_INST, Ied, Meter
from scl_builder.build.render_cache import Remembered
from scl_builder.build.text import digest, escape, unicode, visible
from scl_builder.model import logical_devices
from scl_builder.model.billing_nodes import DEFAULTS, Bills
from scl_builder.model.data_object import DataObject, LogicalNode
from scl_builder.model.logical_devices import METER_PRIVATE, Group, Member, Profile, meter_nodes
from scl_builder.model.tariff_in_force import IN_FORCE, gateway_nodes

VAL_LIMIT = 255
"""Length of VisString255 and Unicode255."""

SHARED_BY = 6
"""Meters of one IED that say the same: from here on a shared type is shorter than to say it in each."""

Plate = tuple[tuple[str, str], ...]
"""Attributes of PhyNam and their values."""
Plates = frozenset[Plate]


def in_order(meters: Iterable[Meter]) -> list[Meter]:
    """Meters by the number in their inst: one that joins comes last, in devices and in data sets."""
    return sorted(meters, key=lambda meter: (len(meter.inst), meter.inst))


def _plate(meter: Meter) -> Plate:
    """What a maker writes on many meters alike."""
    told = (("vendor", meter.vendor), ("swRev", meter.firmware), ("model", meter.model))
    return tuple((name, plain) for name, text in told if (plain := visible(text, VAL_LIMIT)))


@Remembered
def shared_plates(ied: Ied) -> Plates:
    """The plates for which the meters of ``ied`` have a common type."""
    counts = Counter(map(_plate, ied.meters))
    return frozenset(plate for plate, count in counts.items() if plate and count >= SHARED_BY)


def plate_node(plate: Plate) -> LogicalNode:
    """LPHD with ``plate`` in its type."""
    (node,) = (node for node in logical_devices.PLATES if node.ln_class == "LPHD")
    objects = tuple(replace(do, values=plate) if do.name == "PhyNam" else do for do in node.objects)
    return replace(node, type_id=f"{node.type_id}_{digest(plate)}", objects=objects)


def meter_device(
    meter: Meter,
    shared: Plates,
    revision: str = logical_devices.MODEL_REVISION,
    *,
    domain: str = "",
    bills: Bills = DEFAULTS,
) -> str:
    """A meter's LDevice, whose name in MMS is ``domain``; ``revision``: what its configRev begins with."""
    plate = _plate(meter)
    own = _own_plate(meter)
    nodes = meter_nodes(meter.profile, relay=meter.relay, bills=bills)
    if plate in shared:
        nodes = tuple(plate_node(plate) if node.ln_class == "LPHD" else node for node in nodes)
    else:
        own = dict(plate) | own
    plate_texts = _exactly("d", meter.name)
    if meter.profile.shape:
        mark = digest((("", meter.profile.shape),))
        plate_texts["configRev"] = f"{revision}.{mark}"
    instances = {("LLN0", "NamPlt"): plate_texts, ("LPHD1", "PhyNam"): own}
    for node in nodes:
        for do in node.objects:
            if do.refers:
                instances[node.name, do.name] = {"setSrcRef": f"{domain}/{do.refers}"}
    return _device(_names(meter), nodes, instances, "")


def _names(meter: Meter) -> str:
    """The start tag of a meter's LDevice, and whose it is."""
    told = {"inst": meter.inst, "ldName": meter.ld_name, "desc": unicode(meter.name, VAL_LIMIT)}
    names = "".join(f' {attribute}="{escape(text)}"' for attribute, text in told.items() if text)
    private = f'<Private type="{METER_PRIVATE}">{meter.meter_id}</Private>' if meter.meter_id else ""
    return f"<LDevice{names}>{private}"


def _own_plate(meter: Meter) -> dict[str, str]:
    where = [meter.address, *([meter.address_code] if meter.address_code not in meter.address else [])]
    location = ", ".join(filter(None, where))
    exact = _exactly("d", location)
    described = exact if exact["dU"] else {}  # location says it already
    own = {"serNum": visible(meter.serial, VAL_LIMIT), "location": exact["d"], "mRID": meter.meter_id}
    return own | described


def _exactly(attribute: str, text: str) -> dict[str, str]:
    """``attribute``: the text in ASCII; dU: as it was given, where ASCII cannot say it."""
    plain, exact = visible(text, VAL_LIMIT), unicode(text, VAL_LIMIT)
    return {attribute: plain, "dU": exact if exact != plain else ""}


def gateway_device(ied: Ied, *, enabled: str, tool_version: str, bills: Bills = DEFAULTS) -> str:
    """The IED's own LDevice, with the group data sets if there is a meter; ``enabled``: each RptEnabled."""
    own = {"vendor": logical_devices.VENDOR, "swRev": visible(tool_version, VAL_LIMIT)}
    instances = {("LPHD1", "PhyNam"): own}
    controls = ""
    if ied.meters:
        conf_rev = logical_devices.GROUP_REVISION + ied.changes + bool(bills.tariffs)
        told = ((group, _members(group, ied, bills.tariffs)) for group in logical_devices.GROUPS)
        groups = [(group, insts) for group, insts in told if insts]
        controls = "\n" + "".join(_data_set(group, insts) for group, insts in groups)
        controls += "".join(_report(group, conf_rev, enabled) for group, _ in groups)
    return _device(
        f'<LDevice inst="{GATEWAY_INST}">', gateway_nodes(tariffs=bills.tariffs), instances, controls
    )


def _device(
    head: str,
    nodes: Iterable[LogicalNode],
    instances: Mapping[tuple[str, str], Mapping[str, str]],
    controls: str,
) -> str:
    """An LDevice that begins with ``head``.

    ``instances``: node and data object → attribute → Val; ``controls`` goes into LLN0.
    """
    rows = [head]
    for node in nodes:
        tag = "LN0" if node.ln_class == "LLN0" else "LN"
        prefix = f' prefix="{node.prefix}"' if node.prefix else ""
        start = f'<{tag}{prefix} lnClass="{node.ln_class}" inst="{node.inst}" lnType="{node.type_id}"'
        body = controls if tag == "LN0" else ""
        body += "".join(
            _doi(do, instances[key]) for do in node.objects if (key := (node.name, do.name)) in instances
        )
        rows.append(f"{start}>{body}</{tag}>" if body else f"{start}/>")
    rows.append("</LDevice>\n")
    return "".join(rows)


def _doi(do: DataObject, values: Mapping[str, str]) -> str:
    rows = "".join(
        f'<DAI name="{attribute}"><Val>{escape(value)}</Val></DAI>'
        for attribute, value in values.items()
        if value
    )
    return f'<DOI name="{do.name}">{rows}</DOI>' if rows else ""


def _members(group: Group, ied: Ied, tariffs: int) -> list[tuple[str, Member]]:
    """The insts of the meters that have a member of the group, each with that member."""
    if group.of_gateway:
        more = [IN_FORCE] if tariffs else []
        return [(GATEWAY_INST, member) for member in (*group.members, *more)]
    found = ((m.inst, _member(group, m.profile, relay=m.relay)) for m in in_order(ied.meters))
    return [(inst, member) for inst, member in found if member is not None]


@lru_cache(maxsize=1024)
def _member(group: Group, profile: Profile, *, relay: bool) -> Member | None:
    there = {(node.name, do.name) for node in meter_nodes(profile, relay=relay) for do in node.objects}
    found = (member for member in group.members if (member.ln_class + member.inst, member.do) in there)
    return next(found, None)


def _data_set(group: Group, members: Iterable[tuple[str, Member]]) -> str:
    rows = "".join(map(_fcda, members))
    return f'<DataSet name="{group.data_set}">\n{rows}</DataSet>\n'


def _fcda(found: tuple[str, Member]) -> str:
    inst, member = found
    node = f'lnClass="{member.ln_class}"' + (f' lnInst="{member.inst}"' if member.inst else "")
    return f'<FCDA ldInst="{inst}" {node} doName="{member.do}" fc="{member.fc}"/>\n'


def _report(group: Group, conf_rev: int, enabled: str) -> str:
    buffered = ' buffered="true"' if group.buffered else ""
    integrity = f' intgPd="{group.integrity}"' if group.integrity else ""
    triggers = "".join(f' {name}="true"' for name in logical_devices.TRIGGERS)
    fields = logical_devices.BUFFERED_FIELDS if group.buffered else logical_devices.FIELDS
    options = "".join(f' {name}="true"' for name in fields)
    return (
        f'<ReportControl name="{group.report}" datSet="{group.data_set}" confRev="{conf_rev}"'
        f'{buffered} bufTime="{group.buffer_time}"{integrity} indexed="true">'
        f"<TrgOps{triggers}/><OptFields{options}/>"
        f"{enabled}</ReportControl>\n"
    )
